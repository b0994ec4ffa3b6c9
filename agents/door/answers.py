"""What an agent answers: the head at once, the body as it comes, within limits of size and time."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from agents.door.connections import Response
from agents.door.deadlines import Deadlines
from agents.door.decoding import Decoder, decoder
from agents.errors import AgentUnreachable, AnswerInvalid, CallError, CallTimedOut

SNIPPET_SECONDS: Final = 1.0
"""The longest that a refused call waits for what the agent has to say about it."""

REASON_CHARACTERS: Final = 200

STREAM_TYPES: Final = frozenset(
    {"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl"}
)

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, in seconds."""

    answer: float
    """Until the head of an answer, and for the whole of one that is not streamed."""
    idle: float
    """Between two reads of a streamed answer."""
    stream: float
    """For the whole of a streamed answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before the body."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; the values of a header sent twice are joined by a comma."""

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_stream(self) -> bool:
        """Whether the body comes in parts that are worth something by themselves."""
        return self.content_type in STREAM_TYPES

    @property
    def retry_after(self) -> float | None:
        """Seconds that the agent asks to be left alone, in either form of RFC 9110, 10.2.3; None if it does not."""
        value = self.headers.get("retry-after", "").strip()
        if _SECONDS.fullmatch(value):
            return float(value)
        with suppress(ValueError, OverflowError):
            at = parsedate_to_datetime(value)
            # RFC 9110 knows GMT only; a date without a zone is taken for it.
            return max(
                0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
            )
        return None


class Answer:
    """An answer whose body is read at most once, by one of `chunks`, `read` and `snippet`."""

    __slots__ = (
        "_deadlines",
        "_decoder",
        "_ends",
        "_max_bytes",
        "_patience",
        "_raw",
        "_response",
        "_size",
        "head",
    )

    def __init__(
        self,
        response: Response,
        patience: Patience,
        deadlines: Deadlines,
        started: float,
        max_bytes: int,
    ) -> None:
        self.head = head = Head(response.status, _headers(response))
        self._response = response
        self._patience = patience
        self._deadlines = deadlines
        self._ends = started + (patience.stream if head.is_stream else patience.answer)
        self._max_bytes = max_bytes
        self._decoder: Decoder | None = None
        self._raw = 0
        self._size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, decompressed.

        Raises `CallTimedOut`, `AgentUnreachable` for a connection that breaks, and `AnswerInvalid` for a body that is
        over the limit or cannot be read.
        """
        while data := await self._next():
            for piece in self._decoded(data):
                yield piece
        self._check_whole()

    async def read(self) -> bytes:
        """The whole body. Raises as `chunks` does."""
        pieces: list[bytes] = []
        while data := await self._next():
            pieces.extend(self._decoded(data))
        self._check_whole()
        return b"".join(pieces)

    async def snippet(self, limit: int) -> bytes:
        """The first bytes of the body, at most `limit`, or as many as came soon and could be read."""
        found = bytearray()
        loop = asyncio.get_running_loop()
        self._ends = min(self._ends, loop.time() + SNIPPET_SECONDS)
        with suppress(CallError):
            async with aclosing(self.chunks()) as chunks:
                async for chunk in chunks:
                    found += chunk
                    if len(found) >= limit:
                        break
        return bytes(found[:limit])

    async def _next(self) -> bytes:
        """Some bytes as they are on the wire; none at the end."""
        content = self._response.content
        try:
            data = content.read_nowait() if content.is_eof() else await self._wait_for_more()
        except HttpProcessingError as error:
            raise AnswerInvalid(
                f"The answer's body is not HTTP: {reason(error)}.", status=self.head.status
            ) from None
        except aiohttp.ClientPayloadError as error:
            raise AgentUnreachable(
                f"The answer broke off: {reason(error)}.", status=self.head.status
            ) from None
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise AgentUnreachable(
                f"The connection broke during the answer: {reason(error)}.", status=self.head.status
            ) from None
        self._raw += len(data)
        self._check_size(self._raw)
        return data

    def _decoded(self, data: bytes) -> Iterable[bytes]:
        encoding = self.head.headers.get("content-encoding")
        return (data,) if encoding is None else self._decompressed(encoding, data)

    def _decompressed(self, encoding: str, data: bytes) -> Iterator[bytes]:
        try:
            self._decoder = self._decoder or decoder(encoding)
            for piece in self._decoder.feed(data):
                self._size += len(piece)
                self._check_size(self._size)
                yield piece
        except AnswerInvalid as error:
            error.status = self.head.status
            raise

    def _check_whole(self) -> None:
        if self._decoder is not None and not self._decoder.is_whole:
            raise AnswerInvalid("The compressed answer breaks off.", status=self.head.status)

    async def _wait_for_more(self) -> bytes:
        now = asyncio.get_running_loop().time()
        silent_until = now + self._patience.idle if self.head.is_stream else self._ends
        if now >= self._ends:
            # The agent may send so fast that there is never anything to wait for.
            raise self._too_late()
        try:
            with self._deadlines.until(min(silent_until, self._ends)):
                return await self._response.content.readany()
        except TimeoutError:
            if silent_until < self._ends:
                raise CallTimedOut(
                    f"The agent's stream was silent for {self._patience.idle:g} s.", status=self.head.status
                ) from None
            raise self._too_late() from None

    def _too_late(self) -> CallTimedOut:
        if self.head.is_stream:
            message = f"The agent's stream took longer than {self._patience.stream:g} s in all."
        else:
            message = f"The whole answer was not here within {self._patience.answer:g} s."
        return CallTimedOut(message, status=self.head.status)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise AnswerInvalid(f"The answer is over {self._max_bytes} bytes.", status=self.head.status)


def reason(error: BaseException) -> str:
    """What went wrong, on one short line of printable text, whatever the agent put into it."""
    cause = error.__cause__
    said = cause if isinstance(cause, HttpProcessingError) else error
    text = said.message if isinstance(said, HttpProcessingError) else str(said) or type(said).__name__
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line[:REASON_CHARACTERS].rstrip(" .:")


def _headers(response: Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
