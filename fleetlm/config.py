"""Every setting, typed: its meaning, unit and default. Nothing else reads the environment.

Values come from environment variables, then from `<FLEETLM_DATA>/env` (which `manage.py up` writes), then from the
defaults here. `docs/configuration.md` is generated from this class by `manage.py configuration`.
"""

import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
INSECURE_SECRET_KEY = "insecure-development-key-do-not-use-in-production-0123456789"  # noqa: S105  # refused in production
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

KIB = 1024
MIB = 1024 * KIB


class Config(BaseSettings):
    """The settings of one FleetLM process. Raises `pydantic.ValidationError` for a wrong value."""

    # Django's `LazyObject` asks every value of the settings for this name; pydantic is slow to say that it has none.
    _mask_wrapped: ClassVar[bool] = True

    model_config = SettingsConfigDict(
        env_prefix="FLEETLM_", extra="ignore", frozen=True, populate_by_name=True
    )

    environment: Literal["development", "production"] = Field(
        "production",
        alias="FLEETLM_ENV",
        description="`development` allows open mode and the playground; `production` refuses both.",
    )
    auth: Literal["open", "required"] = Field(
        "required",
        description="`open`: no key or token is needed (development on loopback only). `required`: every call carries one.",
    )
    secret_key: str = Field(
        INSECURE_SECRET_KEY,
        min_length=32,
        description="Signs participant tokens and sessions and encrypts endpoint secrets. 32 characters or more.",
    )
    database_url: str = Field(
        "",
        alias="DATABASE_URL",
        description="Postgres 14 or newer, as a libpq URL: `postgresql://user:password@host:5432/fleetlm`.",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        alias="REDIS_URL",
        description="Valkey or Redis, as a URL. Several, separated by commas, shard the channel layer.",
    )
    host: str = Field("127.0.0.1", alias="HOST", description="The address that the web process listens on.")
    port: int = Field(
        4000, alias="PORT", ge=0, le=65535, description="The port that the web process listens on."
    )
    public_url: str = Field(
        "", description="How agents reach this server, for `reply_url`. Default: `http://HOST:PORT`."
    )
    data_dir: Path = Field(
        PROJECT_ROOT / ".fleetlm",
        alias="FLEETLM_DATA",
        description="Where `manage.py up` keeps the embedded engines, their logs and its generated secrets.",
    )
    web_concurrency: int = Field(
        1,
        alias="WEB_CONCURRENCY",
        ge=1,
        le=64,
        description="Web processes that `manage.py serve` runs behind one port.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["localhost", "127.0.0.1", "[::1]"],
        description="Host names that requests may carry, separated by commas.",
    )
    allowed_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Web origins (`https://app.example.com`) that may call the API from a browser, separated by commas. "
        "In open mode loopback always may.",
    )
    trusted_proxy: bool = Field(
        False, description="Trust `X-Forwarded-Proto` and `X-Forwarded-For` of a proxy in front."
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="The form of log lines on standard error."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="The lowest level logged. `DEBUG` adds a line for each API request that went well.",
    )

    text_bytes: int = Field(32 * KIB, gt=0, description="The longest `text` of a message, in bytes of UTF-8.")
    content_bytes: int = Field(
        64 * KIB, gt=0, description="The largest `content` and `metadata` together, in bytes."
    )
    request_bytes: int = Field(
        256 * KIB, gt=0, description="The largest request body or socket frame, in bytes."
    )
    json_depth: int = Field(32, gt=0, le=200, description="How deeply JSON of a client may nest.")
    batch_messages: int = Field(100, gt=0, description="The most messages of one batch append over REST.")
    search_messages: int = Field(
        10_000,
        gt=0,
        description="The most messages that one search request looks at; its cursor goes on from there.",
    )
    members_max: int = Field(10_000, gt=1, description="The most members of one conversation.")
    topics_per_socket: int = Field(200, gt=0, description="The most topics that one socket may have joined.")
    sends_in_flight_per_socket: int = Field(
        256,
        gt=0,
        description="Sends of one socket that may wait for their commit; more are refused as overloaded.",
    )
    socket_buffer_bytes: int = Field(
        MIB, gt=0, description="A socket with more unsent bytes than this is closed with code 4008."
    )

    append_queue_items: int = Field(
        10_000,
        gt=0,
        description="Appends that may wait in one process; more are refused with 503 overloaded.",
    )
    append_queue_bytes: int = Field(
        64 * MIB,
        gt=0,
        description="Bytes of appends that may wait in one process; more are refused likewise.",
    )
    append_batch_items: int = Field(256, gt=0, description="The most messages of one transaction.")
    database_pool: int = Field(
        10, gt=0, description="Postgres connections of one process for its async work."
    )
    session_tail_messages: int = Field(
        200, ge=0, description="Newest messages kept hot per live conversation."
    )
    session_tail_bytes: int = Field(
        256 * KIB, ge=0, description="Bytes of newest messages kept hot per live conversation."
    )
    tails_bytes: int = Field(
        64 * MIB,
        ge=0,
        description="Bytes of newest messages that one process keeps hot in all; those used longest ago go first.",
    )
    repair_interval: float = Field(
        2.0, gt=0, description="Seconds between comparisons of live conversations with Postgres."
    )
    presence_limit: int = Field(
        500, ge=0, description="Sockets of one conversation beyond which presence is no longer announced."
    )
    inbox_limit: int = Field(1_000, gt=0, description="Newest conversations of an inbox snapshot.")
    inbox_tick: float = Field(
        0.1, gt=0, description="Seconds over which inbox changes are gathered into one tick."
    )
    auth_cache_seconds: float = Field(
        5.0,
        ge=0,
        description="Seconds for which an API key is remembered; the longest a revoked one still works.",
    )
    token_ttl: int = Field(3_600, gt=0, description="Default lifetime of a participant token, in seconds.")
    token_ttl_max: int = Field(
        30 * 86_400, gt=0, description="Longest lifetime of a participant token, in seconds."
    )
    jwt_issuer: str = Field(
        "", description="`iss` that tokens of your own issuer must carry; used with the next one."
    )
    jwt_jwks_url: str = Field(
        "", description="JWKS URL of your own issuer of participant tokens (RS256 or ES256)."
    )
    jwt_audience: str = Field("", description="`aud` that tokens of your own issuer must carry, if set.")
    drain_seconds: float = Field(
        8.0, gt=0, description="Seconds that a stopping process may take to finish its work."
    )

    agent_timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds until an agent begins to answer, and for the whole of an answer that is not streamed.",
    )
    agent_idle_timeout: float = Field(60.0, gt=0, description="Seconds that a streamed answer may pause.")
    agent_stream_timeout: float = Field(
        600.0, gt=0, description="Seconds that a streamed answer may take in all."
    )
    agent_response_bytes: int = Field(MIB, gt=0, description="The largest answer of an agent, in bytes.")
    agent_allowed_networks: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Networks (`10.0.0.0/8`) that agents may be called in although they are private, separated by commas.",
    )
    agent_plain_http: bool = Field(
        False,
        description="Call `http://` URLs in production too: for agents in a network of your own. Development always does.",
    )
    agent_context_messages: int = Field(
        50, gt=0, description="Default number of messages in an agent's context."
    )
    agent_group_debounce_ms: int = Field(
        250,
        ge=0,
        le=60_000,
        description="Milliseconds of quiet in a group before its agents are called, unless an agent says otherwise; in a dm 0.",
    )
    agent_loop_limit: int = Field(
        20,
        ge=0,
        description="Messages of agents in a row, without a person, after which a conversation's agents pause; 0: never.",
    )
    agent_secret_overlap: float = Field(
        86_400, ge=0, description="Seconds for which a rotated secret still signs beside the new one."
    )
    agent_retry_schedule: Annotated[list[float], NoDecode] = Field(
        default_factory=lambda: [1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 10_800.0, 21_600.0],
        description="Seconds to wait after the 1st, 2nd … failed call, separated by commas; the last one repeats.",
    )
    agent_retry_for: float = Field(
        259_200, gt=0, description="Seconds after the first failed call at which a delivery stream is parked."
    )
    breaker_failures: int = Field(
        10, ge=0, description="Failed calls in a row that open an endpoint's breaker; 0: it never opens."
    )
    breaker_pause: float = Field(
        5.0,
        gt=0,
        description="Seconds until an open breaker lets a first call through; each further pause is twice as long.",
    )
    breaker_pause_max: float = Field(
        300.0, gt=0, description="The longest pause between the probes of an open breaker, in seconds."
    )
    dispatch_in_flight: int = Field(
        500, gt=0, description="Agent calls that one dispatcher has under way at once."
    )
    dispatch_lease: float = Field(
        30.0,
        gt=0,
        description="Seconds after which another dispatcher may take over a stream whose dispatcher is silent.",
    )
    dispatch_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="The port on HOST where a dispatcher serves its own `/metrics`; 0: nowhere.",
    )
    dispatch_poll: float = Field(
        1.0, gt=0, description="Seconds between looks at the due streams without a wake-up."
    )
    delivery_gauges_interval: float = Field(
        15.0, gt=0, description="Seconds between looks at how deliveries stand, for `/metrics`."
    )
    attempt_days: int = Field(7, gt=0, description="Days that `manage.py prune` keeps attempts by default.")
    attempt_body_bytes: int = Field(
        2 * KIB,
        ge=0,
        description="Bytes of each request and answer that the log of attempts keeps.",
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        for name, value in values.items():
            if name.lower().removeprefix("fleetlm_") in _LISTS and isinstance(value, str):
                values[name] = [part.strip() for part in value.split(",") if part.strip()]
        return values

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if self.environment != "development" and self.auth == "open":
            raise ValueError(
                "FLEETLM_AUTH=open is for FLEETLM_ENV=development only; use FLEETLM_AUTH=required"
            )
        if self.environment != "development" and self.secret_key == INSECURE_SECRET_KEY:
            raise ValueError("FLEETLM_SECRET_KEY is not set; make one with: openssl rand -hex 32")
        if self.auth == "open" and self.host not in LOOPBACK_HOSTS:
            raise ValueError(f"FLEETLM_AUTH=open listens on loopback only, not on HOST={self.host}")
        for network in self.agent_allowed_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"FLEETLM_AGENT_ALLOWED_NETWORKS: {error}") from None
        return self

    @property
    def base_url(self) -> str:
        """The URL under which agents reach this server, without a trailing slash."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def redis_urls(self) -> list[str]:
        """The Valkey servers of the channel layer."""
        return [url.strip() for url in self.redis_url.split(",") if url.strip()]


_LISTS = {"allowed_hosts", "allowed_origins", "agent_retry_schedule", "agent_allowed_networks"}


def load_config() -> Config:
    """The settings of this process. A wrong one ends it with one clear line per fault and exit code 2."""
    data_dir = Path(os.environ.get("FLEETLM_DATA") or PROJECT_ROOT / ".fleetlm")
    try:
        return Config(_env_file=data_dir / "env")
    except ValidationError as error:
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"])
            message = fault["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"fleetlm: bad setting{f' {name}' if name else ''}: {message}\n")
        raise SystemExit(2) from None
