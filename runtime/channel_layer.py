"""The Redis channel layer with pipelined group sends.

The stock layer publishes one message at a time under a lock, which limits a process to some 5,000 a second; an append
reaches a conversation and the inbox of each member, so a batch of them is sent in one round trip for each Valkey.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from redis.asyncio import Redis


def group_of(conversation_id: int) -> str:
    """The channel layer group of a conversation."""
    return f"conversation.{conversation_id}"


PUBLISHES = 256
"""Messages of one round trip: what Valkey does at once, before it serves anyone else."""

# One command and one reply for all of them: a quarter of what redis-py takes for a pipeline of as many PUBLISHes.
PUBLISH_ALL = "for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end"


class PipelinedPubSubChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis has no types
    """`RedisPubSubChannelLayer` and `group_send_many`."""

    async def group_send_many(self, sends: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Send each message to its group, in one round trip for each shard and `PUBLISHES`; raises `redis.RedisError`."""
        layer: RedisPubSubLoopLayer = self._get_layer()
        by_shard: defaultdict[RedisSingleShardConnection, list[tuple[str, bytes]]] = defaultdict(list)
        for group, message in sends:
            name = layer._get_group_channel_name(group)
            by_shard[layer._get_shard(name)].append((name, self.serialize(message)))
        for shard, publishes in by_shard.items():
            shard._ensure_redis()
            for start in range(0, len(publishes), PUBLISHES):
                some = publishes[start : start + PUBLISHES]
                await shard._redis.execute_command("EVAL", PUBLISH_ALL, 0, *chain.from_iterable(some))

    def client_of(self, group: str) -> Redis:
        """The client of the Valkey that carries this group, for what is kept beside its messages."""
        layer: RedisPubSubLoopLayer = self._get_layer()
        shard = layer._get_shard(layer._get_group_channel_name(group))
        shard._ensure_redis()
        client: Redis = shard._redis
        return client

    def publication(self, group: str, message: dict[str, Any]) -> tuple[str, bytes]:
        """The channel and the bytes that one PUBLISH takes to send this message to its group."""
        return self._get_layer()._get_group_channel_name(group), self.serialize(message)
