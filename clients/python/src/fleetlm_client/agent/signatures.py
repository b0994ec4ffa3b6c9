"""Signatures of calls, as Standard Webhooks 1.0 describes them: https://www.standardwebhooks.com."""

import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping

from .call import Call, CallInvalid

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300

Secrets = str | Iterable[str]
"""One secret, several separated by spaces, or a list of them."""


class SignatureInvalid(Exception):
    """FleetLM did not sign these bytes with one of these secrets, or not lately. Answer 401."""


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: Secrets,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> Call:
    """The call in these raw bytes, if one of the secrets signed them at most `tolerance_seconds` ago (or ahead).

    `headers` may be written in any case; `now` is in seconds since 1970, for tests. Raises `SignatureInvalid`; `CallInvalid`
    for signed bytes that are no call; `ValueError` for a secret that is none.
    """
    check_signature(body, headers, keys(secret), tolerance_seconds, time.time() if now is None else now)
    try:
        return Call.from_json(json.loads(body))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CallInvalid(f"The body is not JSON: {error}") from None


def sign(secret: Secrets, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`, for those who call an agent themselves; `timestamp` is in seconds since 1970."""
    return " ".join(_signature(key, webhook_id, str(timestamp), body) for key in keys(secret))


def keys(secret: Secrets) -> list[bytes]:
    """The keys of these secrets. Raises `ValueError` if there is none, or one that is not base64."""
    secrets = secret.split() if isinstance(secret, str) else list(secret)
    found = [_key(one) for one in secrets]
    if not all(found) or not found:
        raise ValueError("A secret is empty. It is the text whsec_… that registering the agent has given.")
    return found


def check_signature(
    body: bytes,
    headers: Mapping[str, str],
    secret_keys: Iterable[bytes],
    tolerance_seconds: float,
    now: float,
) -> None:
    """Raises `SignatureInvalid` unless one of the keys has signed exactly this, lately."""
    lower = {name.lower(): value for name, value in headers.items()}
    webhook_id, timestamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    if not webhook_id or not _is_seconds(timestamp):
        raise SignatureInvalid("The headers webhook-id and webhook-timestamp are missing or cannot be read.")
    if abs(now - int(timestamp)) > tolerance_seconds:
        raise SignatureInvalid("The call was signed too long ago, or the clocks differ.")
    # As bytes: compare_digest refuses text that is not ASCII, and a header may hold anything.
    given = [one.encode("utf-8", "surrogateescape") for one in lower.get("webhook-signature", "").split()]
    expected = [_signature(key, webhook_id, timestamp, body).encode() for key in secret_keys]
    # Every pair is compared, so that the time taken does not tell which one fits.
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in given]
    if not any(matches):
        raise SignatureInvalid("None of the signatures is by one of our secrets.")


def _signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{webhook_id}.{timestamp}.".encode("utf-8", "surrogateescape") + body
    return "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    text = secret.removeprefix(PREFIX)
    try:
        return b64decode(
            text + "=" * (-len(text) % 4), validate=True
        )  # some write base64 without its padding
    except ValueError:  # binascii.Error is one
        raise ValueError("A secret is not base64. It is the text whsec_… of the agent.") from None


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12
