"""Signatures of calls, as Standard Webhooks 1.0 describes them: https://www.standardwebhooks.com. Pure."""

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def generate_secret() -> str:
    """A new signing secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(signing_secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1,…` for each secret, separated by spaces. `timestamp` is in
    seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(_signature(_key(secret), signed) for secret in signing_secrets)


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()


@lru_cache(maxsize=10_000)
def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(PREFIX), validate=True)


def json_headers(
    signing_secrets: Iterable[str], message_id: str, now: datetime, body: bytes
) -> dict[str, str]:
    """The headers of a signed JSON body; `message_id` is the same at every attempt."""
    timestamp = int(now.timestamp())
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(signing_secrets, message_id, timestamp, body),
    }
