"""Signing secrets at rest: encrypted with a key that is derived from the server's secret key, never shown again."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import TypedDict
from uuid import uuid4

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

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
