"""Request ids: who asked first may name the request, so that one id can be followed through many services."""

import re
from collections.abc import Iterable
from typing import Final

from uuid_utils import uuid7

HEADER: Final = b"x-request-id"
_valid = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The id in `X-Request-ID` if it is 1 to 128 characters of `A-Z a-z 0-9 . _ -`, or else a new UUIDv7."""
    for name, value in headers:
        if name == HEADER:
            if _valid(value):
                return value
            break
    return str(uuid7()).encode()
