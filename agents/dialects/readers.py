"""The readers that dialects are made of: an accepted call, a whole JSON answer, a stream. No I/O."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from agents import chunks
from agents.chunks import Chunk
from agents.dialects.events import Decoder, EventStream, LineStream
from agents.door import Head
from agents.errors import AgentFailed, AnswerInvalid, CallRefused
from agents.rules import Draft
from agents.transcript import Transcript
from conversations.rules import Limits

_WRAPPED: Final = 2
"""Levels of JSON that a message's content puts around a chunk's: the content itself and its list of parts."""

_NEED_A_CALL: Final = frozenset(
    {"tool-output-available", "tool-output-error", "tool-output-denied", "tool-approval-request"}
)


class Translator(Protocol):
    """Makes chunks of the payloads of one dialect's streams."""

    done: bool
    """Nothing follows; and what there was is whole."""

    def translate(self, payload: str) -> list[Chunk]:
        """The chunks that a payload means. Not checked yet: they may hold anything that JSON can."""

    def end(self) -> list[Chunk]:
        """The chunks that the end of the body means; a `finish` among them says that the answer is whole."""


class AcceptedReader:
    """Of an agent that has accepted the call and will post its messages itself: there is nothing to read."""

    done = True
    complete = True

    def feed(self, _: bytes) -> list[Chunk]:
        """Nothing."""
        return []

    def end(self) -> list[Chunk]:
        """Nothing."""
        return []

    def result(self) -> None:
        """None: accepted."""

    def said(self) -> None:
        """Nothing."""


class WholeReader:
    """Of an answer that is one JSON text: it waits for the whole, and has `parse` read it."""

    done = False
    complete = False

    def __init__(self, parse: Callable[[bytes], tuple[Draft, ...]], status: int) -> None:
        self._parse = parse
        self._status = status
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Chunk]:
        """Keep it. How much that may be is the door's business."""
        self._pieces.append(data)
        return []

    def end(self) -> list[Chunk]:
        """Nothing: an answer that is not streamed is not followed."""
        return []

    def result(self) -> tuple[Draft, ...]:
        """The messages; raises `AnswerInvalid`."""
        with _noting(self._status):
            return self._parse(b"".join(self._pieces))

    def said(self) -> None:
        """Nothing: half a JSON text says nothing."""


class StreamReader:
    """Of a streamed answer: bytes through a decoder, a dialect's translator and the checks into a transcript."""

    def __init__(self, decoder: Decoder, translator: Translator, limits: Limits, status: int) -> None:
        self._decoder = decoder
        self._translator = translator
        self._depth = limits.depth - _WRAPPED
        self._status = status
        self._transcript = Transcript(limits)
        self._ended = False

    @property
    def done(self) -> bool:
        """The stream's own last word has been read."""
        return self._translator.done

    @property
    def complete(self) -> bool:
        """Whether the agent has said that this is all; a stream that only ends has not."""
        return self._transcript.finished or self._translator.done

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that these bytes complete, each already part of the transcript."""
        with _noting(self._status):
            return self._read(self._decoder.feed(data))

    def end(self) -> list[Chunk]:
        """The chunks that the end of the body completes."""
        if self._ended:
            return []
        self._ended = True
        with _noting(self._status):
            relayed = self._read(self._decoder.end())
            return relayed + self._take(self._translator.end())

    def result(self) -> tuple[Draft, ...]:
        """One message, or none; raises `AnswerInvalid` if the stream broke off."""
        self.end()
        if not self.complete:
            raise AnswerInvalid(
                "The stream ended before the agent said that it was done.", status=self._status
            )
        draft = self.said()
        return () if draft is None else (draft,)

    def said(self) -> Draft | None:
        """The transcript so far."""
        return self._transcript.draft()

    def _read(self, payloads: list[str]) -> list[Chunk]:
        relayed: list[Chunk] = []
        for payload in payloads:
            if self._translator.done:
                break
            relayed += self._take(self._translator.translate(payload))
        return relayed

    def _take(self, translated: list[Chunk]) -> list[Chunk]:
        relayed = []
        for item in translated:
            chunk = chunks.check(item, self._depth)
            if chunk is None:
                continue
            if chunk["type"] in _NEED_A_CALL and not self._transcript.knows_tool(chunk["toolCallId"]):
                self._transcript.add(call := _call_of_an_earlier_run(chunk))
                relayed.append(call)
            if self._transcript.add(chunk):
                relayed.append(chunk)
        return relayed


def check_status(head: Head, *taken: int) -> None:
    """Raise `CallRefused` for any status but these, with how long the agent wants to be left alone."""
    if head.status not in taken:
        raise CallRefused(
            f"The agent answered with status {head.status}.",
            status=head.status,
            retry_after=head.retry_after,
        )


def decoder_for(head: Head) -> Decoder:
    """What frames a streamed answer of this type."""
    return EventStream() if head.content_type == "text/event-stream" else LineStream()


def _call_of_an_earlier_run(chunk: Chunk) -> Chunk:
    # A run may go on with what an earlier one has asked for: its result comes without its call.
    return {
        "type": "tool-input-available",
        "toolCallId": chunk["toolCallId"],
        "toolName": "earlier",
        "input": None,
        "dynamic": True,
    }


@contextmanager
def _noting(status: int) -> Iterator[None]:
    try:
        yield
    except (AgentFailed, AnswerInvalid) as error:
        error.status = status
        raise
