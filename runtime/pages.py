"""Messages as the bytes that every client gets, and pages of them that fit into one reply."""

from itertools import accumulate

import orjson

from conversations.append import Message, message_as_dict

PAGE_BYTES = 256 * 1024
"""Bytes of messages in one reply, well below what a socket may leave unsent; one message may be larger."""


def encode(message: Message) -> bytes:
    """A message as JSON, the bytes that every client gets."""
    return orjson.dumps(message_as_dict(message))


def first_bytes(page: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The oldest messages of a page, up to `PAGE_BYTES` of them, at least one."""
    sizes = accumulate(len(payload) for _, payload in page)
    return page[: max(1, sum(size <= PAGE_BYTES for size in sizes))]


def last_bytes(page: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The newest messages of a page, up to `PAGE_BYTES` of them, at least one; oldest first, as they came."""
    return first_bytes(page[::-1])[::-1]
