"""Framing of streams: Server-Sent Events and lines of JSON."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dialects.events import EVENT_BYTES_MAX, Decoder, EventStream, LineStream
from agents.errors import AnswerInvalid

DECODERS = [EventStream, LineStream]
BYTES = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"data", b":", b" ", b"x", "é".encode(), b"\xef\xbb\xbf", b": c", b"id: 1"]
    )
).map(b"".join)


def decoded(decoder: Decoder, *pieces: bytes) -> list[str]:
    return [payload for piece in pieces for payload in decoder.feed(piece)] + decoder.end()


@pytest.mark.parametrize(
    ("body", "payloads"),
    [
        (b"data: one\n\ndata:two\n\n", ["one", "two"]),
        (b"data: one\r\rdata: two\r\n\r\n", ["one", "two"]),
        (b"data: a\ndata:  b\ndata\n\n", ["a\n b\n"]),
        (b"\xef\xbb\xbfdata: bom\n\n", ["bom"]),
        (b"data: \xef\xbb\xbfkept\n\n", ["\ufeffkept"]),
        (b": a comment\n\nevent: x\nid: 7\nretry: 10\n\n", []),
        (b"event: x\nid: 7\nretry: 10\ndata: y\n: amid\n\n", ["y"]),
        (b"dat: no\ndatas: no\n data: no\n\n", []),
        (b"data: without an end", ["without an end"]),
        (b"data: without an empty line\n", ["without an empty line"]),
        (b"data: a:b: c\n\n\n\n", ["a:b: c"]),
        (b"", []),
    ],
)
def test_events_are_read_as_browsers_read_them(body: bytes, payloads: list[str]) -> None:
    assert decoded(EventStream(), body) == payloads


@pytest.mark.parametrize(
    ("body", "payloads"),
    [
        (b'{"a":1}\n{"b":2}\n', ['{"a":1}', '{"b":2}']),
        (b"1\r\n\r\n \n2", ["1\r", "2"]),
        (b"\xef\xbb\xbf1\n", ["1"]),
        (b"1\r2\n", ["1\r2"]),
        (b"", []),
    ],
)
def test_lines_are_payloads(body: bytes, payloads: list[str]) -> None:
    assert [text.rstrip("\r") for text in decoded(LineStream(), body)] == [t.rstrip("\r") for t in payloads]


@given(BYTES, st.lists(st.integers(0, 60)), st.sampled_from(DECODERS))
def test_it_does_not_matter_where_the_network_cuts(
    body: bytes, cuts: list[int], decoder: Callable[[], Decoder]
) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]

    def stripped(payloads: list[str]) -> list[str]:
        return [payload.rstrip("\r") for payload in payloads]

    assert stripped(decoded(decoder(), *pieces)) == stripped(decoded(decoder(), body))
    assert decoded(EventStream(), *pieces) == decoded(EventStream(), body)


def test_a_line_break_may_be_cut_in_two() -> None:
    stream = EventStream()
    assert stream.feed(b"data: a\r") == []
    assert stream.feed(b"") == []
    assert stream.feed(b"\ndata: b\r") == []
    assert stream.feed(b"\n\r") == ["a\nb"]
    assert stream.feed(b"\ndata: c\r\r") == ["c"]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=5))
def test_what_was_sent_is_what_comes_out(texts: list[str]) -> None:
    body = "".join(f"data: {text}\n\n" for text in texts).encode()
    pieces = [body[at : at + 1] for at in range(len(body))]
    assert decoded(EventStream(), *pieces) == texts


@pytest.mark.parametrize("body", [b"data: \xff\n\n", b"data: \xc3\n\n", b"data: \xed\xa0\x80\n\n"])
def test_what_is_not_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerInvalid, match="UTF-8"):
        EventStream().feed(body)
    with pytest.raises(AnswerInvalid, match="UTF-8"):
        LineStream().feed(body)


@pytest.mark.parametrize(
    ("decoder", "piece"),
    [
        (EventStream, b"x" * 65_536),
        (EventStream, b"data: " + b"x" * 65_536 + b"\n"),
        (EventStream, b"data\n" * 65_536),
        (LineStream, b"x" * 65_536),
    ],
)
def test_an_event_that_never_ends_is_refused(decoder: Callable[[], Decoder], piece: bytes) -> None:
    pieces = [piece] * (EVENT_BYTES_MAX // 65_536 + 1)
    with pytest.raises(AnswerInvalid, match=str(EVENT_BYTES_MAX)):
        list(map(decoder().feed, pieces))  # while it streams: it has not ended


def test_a_long_line_that_comes_at_once_is_refused_too() -> None:
    with pytest.raises(AnswerInvalid, match=str(EVENT_BYTES_MAX)):
        LineStream().feed(b"x" * (EVENT_BYTES_MAX + 1) + b"\n")
    assert LineStream().feed(b"x" * EVENT_BYTES_MAX + b"\n") == ["x" * EVENT_BYTES_MAX]
