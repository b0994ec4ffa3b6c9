"""Participant tokens: ours, those of an issuer, and those of nobody."""

import base64
import contextlib
import hmac
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pytest_django import Settings

from conversations.errors import InvalidRequest, NotAuthenticated, TokenExpired, Unavailable
from fleetlm.auth import tokens
from fleetlm.auth.tokens import LEEWAY_SECONDS, REMEMBERED_CHARACTERS, mint, verify

ISSUER = "https://issuer.example"


def signed(claims: dict[str, Any], key: Any = None, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(
        claims, key or settings.FLEETLM.secret_key, algorithm=algorithm, headers=headers or None
    )


def hmac_signed(head: dict[str, Any], body: dict[str, Any], key: bytes) -> str:
    """A token that no library would sign: with this head, as HMAC with SHA-256."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body)]
    signature = hmac.digest(key, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; a change to None leaves the claim out."""
    found = {"sub": "alice", "exp": int(time.time()) + 60, **changes}
    return {name: value for name, value in found.items() if value is not None}


def test_a_token_stands_for_its_participant() -> None:
    token, ends = mint("alice", 60)
    principal = verify(token)
    assert principal.participant_id == "alice"
    assert principal.scopes == {"read", "write"}
    assert principal.conversations is None
    assert ends == pytest.approx(time.time() + 60, abs=2)
    assert principal.expires_at == ends + LEEWAY_SECONDS
    assert not principal.may_create


def test_a_narrowed_token_holds_canonical_keys() -> None:
    token, _ = mint("alice", 60, ["bob:alice", "team"])
    assert verify(token).conversations == {"alice:bob", "team"}
    assert verify(mint("alice", 60, [])[0]).conversations == frozenset()
    assert verify(signed(claims(conversations=["bob:alice"]))).conversations == {"alice:bob"}


def test_no_token_is_minted_for_what_is_no_id() -> None:
    with pytest.raises(InvalidRequest):
        mint("a:b", 60)
    with pytest.raises(InvalidRequest):
        mint("alice", 60, ["a:b:c"])


def test_a_token_that_has_ended_says_so() -> None:
    with pytest.raises(TokenExpired):
        verify(mint("alice", -LEEWAY_SECONDS - 1)[0])
    assert verify(mint("alice", -1)[0]).participant_id == "alice", "clocks differ a little"


def test_a_token_that_was_good_before_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    token, ends = mint("alice", 60)
    verify(token)
    monkeypatch.setattr(time, "time", lambda: ends + LEEWAY_SECONDS + 1)
    with pytest.raises(TokenExpired):
        verify(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"exp": None},
        {"sub": ""},
        {"sub": "a:b"},
        {"sub": "a b"},
        {"sub": "a\0"},
        {"exp": "soon"},
        {"exp": []},
        {"conversations": "team"},
        {"conversations": {"team": 1}},
        {"conversations": ["a:b:c"]},
        {"conversations": [None, "a b"]},
        {"nbf": 2**40},
        {"iat": "never"},
    ],
    ids=str,
)
def test_a_token_with_claims_that_are_not_right(changes: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        verify(signed(claims(**changes)))


@pytest.mark.parametrize("exp", [10**400, 1e308])
def test_a_token_that_never_ends_is_taken_or_refused(exp: float) -> None:
    with contextlib.suppress(NotAuthenticated):
        assert verify(signed(claims(exp=exp))).participant_id == "alice"


@pytest.mark.parametrize("sub", [7, ["alice"], {"id": "alice"}, True], ids=str)
def test_a_subject_is_a_text(sub: Any) -> None:
    key = settings.FLEETLM.secret_key.encode()
    assert verify(hmac_signed({"alg": "HS256"}, claims(), key)).participant_id == "alice"
    with pytest.raises(NotAuthenticated):
        verify(hmac_signed({"alg": "HS256"}, claims(sub=sub), key))


def test_a_token_of_another_secret_or_of_none_is_refused() -> None:
    for token in (
        signed(claims(), "another-secret-another-secret-another-secret-0123456789"),
        jwt.encode(claims(), None, algorithm="none"),
        signed(claims(), settings.FLEETLM.secret_key + "0123", "HS512"),
        signed(claims())[:-2],
        signed(claims()) + "a",
    ):
        with pytest.raises(NotAuthenticated) as caught:
            verify(token)
        assert caught.value.status == 401


def test_a_body_that_was_changed_is_refused() -> None:
    head, _, signature = signed(claims()).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="root")).encode()).rstrip(b"=").decode()
    with pytest.raises(NotAuthenticated):
        verify(f"{head}.{forged}.{signature}")


@given(
    st.text()
    | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True)
)
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        verify(text)


@given(
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku"]),
        st.none() | st.booleans() | st.integers() | st.sampled_from(["HS256", "none", "RS256", "JWT", "x"]),
    ),
    st.binary(max_size=30),
)
def test_any_head_and_body_are_no_token(head: dict[str, Any], body: bytes) -> None:
    parts = [
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (json.dumps(head).encode(), body)
    ]
    with pytest.raises(NotAuthenticated):
        verify(".".join([*parts, "c2ln"]))


class Issuer:
    """Someone else who signs, and publishes its keys."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.url = ""

    def published(self) -> bytes:
        keys = [
            RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True) | {"kid": "rsa", "alg": "RS256"},
            ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True) | {"kid": "ec", "alg": "ES256"},
        ]
        return json.dumps({"keys": keys}).encode()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer whose keys are served on loopback."""
    issuer = Issuer()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.published()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
        yield issuer
        server.shutdown()
        thread.join()


@pytest.fixture
def trusted(issuer: Issuer, settings: Settings) -> Iterator[Issuer]:
    """The server takes tokens of this issuer."""
    settings.FLEETLM = settings.FLEETLM.model_copy(
        update={"jwt_jwks_url": issuer.url, "jwt_issuer": ISSUER, "jwt_audience": "chat"}
    )
    tokens._issuer_keys.cache_clear()
    yield issuer
    tokens._issuer_keys.cache_clear()


def theirs(**changes: Any) -> dict[str, Any]:
    return claims(**{"iss": ISSUER, "aud": "chat", **changes})


def test_tokens_of_the_issuer_are_taken(trusted: Issuer) -> None:
    assert verify(signed(theirs(), trusted.rsa, "RS256", kid="rsa")).participant_id == "alice"
    assert verify(signed(theirs(sub="bob"), trusted.ec, "ES256", kid="ec")).participant_id == "bob"
    assert verify(mint("carol", 60)[0]).participant_id == "carol", "one's own are taken beside them"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": 1},
        {"sub": None},
    ],
    ids=str,
)
def test_tokens_of_the_issuer_that_are_not_for_us(trusted: Issuer, changes: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        verify(signed(theirs(**changes), trusted.rsa, "RS256", kid="rsa"))


def test_a_token_cannot_choose_its_algorithm(trusted: Issuer) -> None:
    """Least of all an HMAC with the issuer's public key, which everybody knows."""
    public = trusted.rsa.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for token in (
        hmac_signed({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, theirs(), public),
        hmac_signed({"alg": "RS256", "typ": "JWT", "kid": "rsa"}, theirs(), public),
        signed(theirs(), trusted.rsa, "RS512", kid="rsa"),
        signed(theirs(), trusted.rsa, "RS256", kid="ec"),
        signed(theirs(), trusted.rsa, "RS256", kid="unknown"),
        signed(theirs(), Issuer().rsa, "RS256", kid="rsa"),
    ):
        with pytest.raises(NotAuthenticated):
            verify(token)


def test_without_an_issuer_its_tokens_are_refused(issuer: Issuer) -> None:
    with pytest.raises(NotAuthenticated):
        verify(signed(theirs(sub="dave"), issuer.rsa, "RS256", kid="rsa"))


def test_an_issuer_that_cannot_be_reached_is_not_the_tokens_fault(
    trusted: Issuer, settings: Settings
) -> None:
    settings.FLEETLM = settings.FLEETLM.model_copy(update={"jwt_jwks_url": "http://127.0.0.1:1/keys"})
    tokens._issuer_keys.cache_clear()
    with pytest.raises(Unavailable):
        verify(signed(theirs(sub="dave"), trusted.rsa, "RS256", kid="rsa"))


def test_a_long_token_is_not_kept_in_memory() -> None:
    """Those that are narrowed to very many conversations could fill it."""
    short, _ = mint("alice", 60, ["a:b"])
    long, _ = mint("alice", 60, [f"group-{number}" for number in range(1_000)])
    assert len(short) < REMEMBERED_CHARACTERS < len(long)
    before = tokens._remembered.cache_info().currsize
    assert verify(long).conversations == {f"group-{number}" for number in range(1_000)}
    assert tokens._remembered.cache_info().currsize == before
    assert verify(short) is verify(short)
    assert tokens._remembered.cache_info().currsize == before + 1
