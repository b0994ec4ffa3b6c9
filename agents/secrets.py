"""Secrets at rest: encrypted with a key that is derived from the server's secret key, never shown again.

Signing secrets, several of them while one is being rotated, and what else an endpoint keeps to itself: its custom
headers and its API key.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import TypedDict
from uuid import uuid4

import orjson
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from agents.signing import generate_secret

KEY_CONTEXT = b"fleetlm endpoint secrets v1"


class SealedSecret(TypedDict):
    """One secret as an endpoint's row holds it. `expires_at` is ISO 8601, or null for one that is here to
    stay."""

    id: str
    sealed: str
    expires_at: str | None


def seal(secret: str) -> SealedSecret:
    """A secret, encrypted, to be stored."""
    return {"id": str(uuid4()), "sealed": _cipher().encrypt(secret.encode()).decode(), "expires_at": None}


def rotate(
    sealed: Sequence[SealedSecret], now: datetime, overlap_seconds: float
) -> tuple[str, list[SealedSecret]]:
    """A new signing secret in plain, and what to store: it signs first, the others beside it until they expire."""
    secret = generate_secret()
    ends = (now + timedelta(seconds=overlap_seconds)).isoformat()
    kept = [_ending(one, ends) for one in sealed if overlap_seconds > 0 and not _expired(one, now)]
    return secret, [seal(secret), *kept]


def _ending(secret: SealedSecret, ends: str) -> SealedSecret:
    return {"id": secret["id"], "sealed": secret["sealed"], "expires_at": secret["expires_at"] or ends}


@dataclass(frozen=True, slots=True)
class Private:
    """What an endpoint sends and never shows: custom headers by name, and the key of `Authorization: Bearer`."""

    headers: Mapping[str, str] = field(default_factory=dict)
    api_key: str | None = None


def seal_private(private: Private) -> str:
    """Headers and key, encrypted together; empty if there are none."""
    if not private.headers and private.api_key is None:
        return ""
    plain = orjson.dumps({"headers": dict(private.headers), "api_key": private.api_key})
    return _cipher().encrypt(plain).decode()


@lru_cache(maxsize=10_000)
def open_private(sealed: str) -> Private:
    """The headers and the key; raises `cryptography.fernet.InvalidToken` as `open_secrets` does."""
    return Private(**orjson.loads(_cipher().decrypt(sealed.encode()))) if sealed else Private()


def open_secrets(sealed: Sequence[SealedSecret], now: datetime) -> list[str]:
    """The secrets that have not expired, in plain.

    Raises `cryptography.fernet.InvalidToken` when the server's secret key is not the one that they were
    sealed with.
    """
    return [_open(one["sealed"]) for one in sealed if not _expired(one, now)]


def _expired(secret: SealedSecret, now: datetime) -> bool:
    return secret["expires_at"] is not None and datetime.fromisoformat(secret["expires_at"]) <= now


@lru_cache(maxsize=10_000)
def _open(sealed: str) -> str:
    return _cipher().decrypt(sealed.encode()).decode()


@cache
def _cipher() -> MultiFernet:
    # The first key seals; all of them open. Former keys of the server go into SECRET_KEY_FALLBACKS.
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _fernet(secret_key: str | bytes) -> Fernet:
    material = secret_key if isinstance(secret_key, bytes) else secret_key.encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=KEY_CONTEXT).derive(material)
    return Fernet(urlsafe_b64encode(derived))
