"""The cached inbox of a participant. The cache saves the building of entries, never the asking whether they still hold.

A snapshot reads from Postgres what every entry depends on (three numbers a conversation) and builds only those entries anew
whose numbers differ from the cached ones: it is as fresh as an uncached one.
"""

from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.core.cache import cache

from conversations.connection import Runner
from inbox import queries

CACHE_SECONDS = 86_400

WORTH_CACHING = 20
"""Below so many conversations building the entries costs less than asking the cache."""

_Cached = dict[str, tuple[list[int], Any]]


async def snapshot(runner: Runner, participant_id: str, limit: int) -> bytes:
    """The participant's newest `limit` entries, newest first, as a JSON array."""
    versions = await queries.versions(runner, participant_id, limit)
    if len(versions) < WORTH_CACHING:
        built = await _build(runner, participant_id, list(versions))
        return orjson.dumps([built[one] for one in versions if one in built])
    cached = await _load(participant_id)
    stale = [one for one, version in versions.items() if cached.get(str(one), (None,))[0] != version]
    built = await _build(runner, participant_id, stale)
    fresh: _Cached = {}
    for one, version in versions.items():
        if one in built:
            fresh[str(one)] = (version, built[one])
        elif str(one) in cached:
            fresh[str(one)] = cached[str(one)]
    if stale:
        await _save(participant_id, fresh)
    return orjson.dumps([entry for _, entry in fresh.values()])


async def _build(
    runner: Runner, participant_id: str, conversation_ids: list[int]
) -> dict[int, dict[str, Any]]:
    if not conversation_ids:
        return {}
    entries = await queries.entries(runner, [(participant_id, one) for one in conversation_ids])
    return {conversation_id: entry for (_, conversation_id), entry in entries.items()}


@sync_to_async(thread_sensitive=False)
def _load(participant_id: str) -> _Cached:
    raw = cache.get(_cache_key(participant_id))
    return orjson.loads(raw) if raw else {}


@sync_to_async(thread_sensitive=False)
def _save(participant_id: str, entries: _Cached) -> None:
    cache.set(_cache_key(participant_id), orjson.dumps(entries), CACHE_SECONDS)


def _cache_key(participant_id: str) -> str:
    return f"inbox.{participant_id}"
