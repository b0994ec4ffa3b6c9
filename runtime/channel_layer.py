"""The Redis channel layer with pipelined group sends.

The stock layer publishes one message at a time under a lock, which limits a process to some 5,000 a second; an append
reaches a conversation and the inbox of each member, so a batch of them is sent in one round trip for each Valkey.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from redis.asyncio import Redis


def group_of(conversation_id: int) -> str:
    """The channel layer group of a conversation."""
    return f"conversation.{conversation_id}"


class PipelinedPubSubChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis has no types
    """`RedisPubSubChannelLayer` and `group_send_many`."""

    async def group_send_many(self, sends: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Send each message to its group, all in one round trip for each shard; raises `redis.RedisError`."""
        layer: RedisPubSubLoopLayer = self._get_layer()
        by_shard: defaultdict[RedisSingleShardConnection, list[tuple[str, bytes]]] = defaultdict(list)
        for group, message in sends:
            name = layer._get_group_channel_name(group)
            by_shard[layer._get_shard(name)].append((name, self.serialize(message)))
        for shard, publishes in by_shard.items():
            shard._ensure_redis()
            pipeline = shard._redis.pipeline(transaction=False)
            for name, payload in publishes:
                pipeline.execute_command("PUBLISH", name, payload)
            await pipeline.execute()

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
