"""API keys: made from 32 random bytes, shown once, kept as a digest.

A plain SHA-256 is enough: there is nothing to guess in 256 random bits, so that a slow hash would only slow
every request.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

from fleetlm.models import ApiKey

MARK: Final = "flk_"
PREFIX_CHARACTERS: Final = 12


def make_key(name: str, scopes: Sequence[str]) -> tuple[ApiKey, str]:
    """Store a new key; the row, and the key itself: `flk_` and 43 URL-safe characters. Told once.

    Raises `ValueError` for an unknown scope or none.
    """
    key = ApiKey(name=name, scopes=check_scopes(scopes))
    shown_once = fill_key(key)
    key.save()
    return key, shown_once


def fill_key(key: ApiKey) -> str:
    """Give an unsaved row a new key's digest and prefix; the key itself."""
    text = MARK + secrets.token_urlsafe(32)
    key.digest = digest_of(text)
    key.prefix = text[:PREFIX_CHARACTERS]
    return text


def digest_of(text: str) -> bytes:
    """What is stored of a key, and what one that is presented is looked up by. Any text has one."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def check_scopes(scopes: Sequence[str]) -> list[str]:
    """The scopes themselves, each once, in their order; raises `ValueError` for an unknown one or none."""
    if unknown := set(scopes) - set(ApiKey.SCOPES):
        raise ValueError(f"unknown scope: {', '.join(sorted(unknown))}; there are {', '.join(ApiKey.SCOPES)}")
    if not scopes:
        raise ValueError(f"a key has at least one scope of {', '.join(ApiKey.SCOPES)}")
    return [scope for scope in ApiKey.SCOPES if scope in scopes]
