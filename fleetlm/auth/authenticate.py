"""From a header or connect parameter to a `Principal`."""

import hashlib
import time

from asgiref.sync import sync_to_async
from django.conf import settings

from conversations.errors import NotAuthenticated
from fleetlm.auth import tokens
from fleetlm.auth.principal import OPEN_SERVER, Principal, open_participant
from runtime.core import Runtime

KEY_PREFIX = "flk_"

SELECT_KEY = "SELECT scopes FROM fleetlm_apikey WHERE digest = %s AND revoked_at IS NULL"

_CACHE_LIMIT = 10_000
_known_keys: dict[bytes, tuple[float, Principal]] = {}


def bearer(authorization: str | None) -> str | None:
    """The credential of an `Authorization: Bearer …` header; None without the header. Raises `NotAuthenticated`."""
    if not authorization:
        return None
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise NotAuthenticated("The Authorization header must be: Bearer <API key or participant token>")
    return credential.strip()


async def authenticate(
    runtime: Runtime, credential: str | None, *, participant_id: str | None = None
) -> Principal:
    """Who this credential belongs to.

    Without one, open mode lets the caller be a server, or the participant that it names; otherwise `NotAuthenticated`.
    A server that names a participant (a socket with an API key) acts as that participant.
    """
    if credential is None:
        if settings.FLEETLM.auth != "open":
            raise NotAuthenticated
        return OPEN_SERVER if participant_id is None else open_participant(participant_id)
    if credential.startswith(KEY_PREFIX):
        return await _api_key(runtime, credential)
    if settings.FLEETLM.jwt_jwks_url:
        return await sync_to_async(tokens.verify, thread_sensitive=False)(credential)
    return tokens.verify(credential)


async def _api_key(runtime: Runtime, credential: str) -> Principal:
    """The key's principal, remembered for a few seconds: the longest that a revoked key still works."""
    digest = hashlib.sha256(credential.encode()).digest()
    now = time.monotonic()
    remembered = _known_keys.get(digest)
    if remembered is not None and remembered[0] > now:
        return remembered[1]
    async with runtime.pool.connection() as connection:
        row = await (await connection.execute(SELECT_KEY, (digest,))).fetchone()
    if row is None:
        _known_keys.pop(digest, None)
        raise NotAuthenticated("The API key is not known, or was revoked.")
    principal = Principal(scopes=frozenset(row[0]), may_create="write" in row[0] or "admin" in row[0])
    if len(_known_keys) >= _CACHE_LIMIT:
        _known_keys.clear()
    _known_keys[digest] = (now + settings.FLEETLM.auth_cache_seconds, principal)
    return principal
