"""The Python SDK's runs: what agents say adds up to what their messages will say."""

import contextlib
import random
from typing import Any

import pytest
from fleetlm_client.chunks import merge, missing, said_in, text_of
from fleetlm_client.events import DeltaEvent, RunEvent
from fleetlm_client.runs import Gap, Runs
from hypothesis import given
from hypothesis import strategies as st

from agents.chunks import merge as merge_of_the_server
from agents.errors import AgentFailed, AnswerInvalid
from agents.transcript import Transcript
from conversations.rules import Limits

Chunk = dict[str, Any]


def said(text: str, name: str = "1") -> Chunk:
    return {"type": "text-delta", "id": name, "delta": text}


def run(status: str, run_id: str = "r", **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "agent_id": "bot",
        "status": status,
        "seq": None,
        "error": None,
        "retry": False,
        **more,
    }


def delta(start: int, *chunks: Chunk) -> dict[str, Any]:
    return {"run_id": "r", "from": start, "to": start + len(chunks), "chunks": list(chunks)}


def state(to: int, *chunks: Chunk, run_id: str = "r", status: str = "streaming") -> dict[str, Any]:
    return {"run_id": run_id, "agent_id": "bot", "status": status, "to": to, "chunks": list(chunks)}


START = {"type": "text-start", "id": "1"}


def test_a_run_from_its_start_to_its_end() -> None:
    runs = Runs()
    assert runs.change(run("started")).run.live
    assert runs.change(run("streaming")).run.status == "streaming"
    assert runs.grow(delta(0, START, said("Your "))) is not None
    grown = runs.grow(delta(2, said("parcel")))
    assert grown is not None
    assert (grown.text, grown.start, grown.to, grown.run.text) == ("parcel", 2, 3, "Your parcel")
    assert grown.run.chunks == (START, said("Your parcel"))
    assert runs.live == (grown.run,)
    assert runs.grow(delta(0, START)) is None
    end = runs.change(run("finished", seq=7)).run
    assert (end.status, end.seq, end.text, end.live) == ("finished", 7, "Your parcel", False)
    assert runs.live == ()
    assert runs.grow(delta(3, said("?"))) is None


def test_a_hole_is_noticed() -> None:
    runs = Runs()
    runs.change(run("streaming"))
    with pytest.raises(Gap):
        runs.grow(delta(2, said("x")))


def test_one_that_begins_again_begins_anew() -> None:
    runs = Runs()
    runs.change(run("streaming"))
    runs.grow(delta(0, START, said("half")))
    runs.change(run("failed", error="lost", retry=True))
    assert runs.change(run("started")).run.text == ""
    assert runs.grow(delta(0, START, said("whole"))) is not None
    assert runs.live[0].text == "whole"


def test_a_join_tells_what_was_missed() -> None:
    runs = Runs()
    (told,) = runs.join([state(2, START, said("Once "))])
    assert isinstance(told, RunEvent)
    assert told.run.text == "Once "
    assert runs.join([state(2, START, said("Once "))]) == []
    (missed,) = runs.join([state(4, START, said("Once upon a"))])
    assert isinstance(missed, DeltaEvent)
    assert (missed.text, missed.start, missed.to, missed.chunks) == ("upon a", 2, 4, (said("upon a"),))
    # It may be cut before what was known, where it is very large: then it is told anew.
    (again,) = runs.join([state(1, START)])
    assert isinstance(again, RunEvent)
    new, over = runs.join([state(0, run_id="other", status="started")])
    assert isinstance(new, RunEvent)
    assert isinstance(over, RunEvent)
    assert (new.run.run_id, over.run.run_id, over.run.status) == ("other", "r", "finished")


CHUNKS = [
    START,
    {"type": "text-start", "id": "2"},
    *(said(text, name) for text in ("a", "b\n", "\n\nc", " ") for name in ("1", "2")),
    {"type": "text-end", "id": "1"},
    {"type": "reasoning-start", "id": "1"},
    {"type": "reasoning-delta", "id": "1", "delta": "hm"},
    {"type": "tool-input-start", "toolCallId": "t", "toolName": "look"},
    {"type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": "{"},
    {"type": "tool-input-available", "toolCallId": "t", "toolName": "look", "input": {}},
    {"type": "tool-output-available", "toolCallId": "t", "output": 1},
    {"type": "source-url", "sourceId": "s", "url": "https://example.com"},
    {"type": "file", "url": "https://example.com", "mediaType": "image/png"},
    {"type": "data-mood", "data": 1},
    {"type": "custom", "kind": "x"},
    {"type": "start-step"},
    {"type": "finish-step"},
    {"type": "reset-step"},
    {**said("signed"), "providerMetadata": {"s": 1}},
]


def streams(chunks: list[Chunk]) -> list[Chunk]:
    """Those of these chunks that an agent may send in this order."""
    transcript, allowed = Transcript(Limits(10_000, 10_000, 32)), []
    for chunk in chunks:
        with contextlib.suppress(AnswerInvalid, AgentFailed):
            transcript.add(chunk)
            allowed.append(chunk)
    return allowed


@given(st.lists(st.sampled_from(CHUNKS), max_size=40), st.integers(0, 40))
def test_it_says_what_the_server_says(chunks: list[Chunk], cut: int) -> None:
    chunks = streams(chunks)
    transcript = Transcript(Limits(10_000, 10_000, 32))
    for chunk in chunks:
        transcript.add(chunk)
    assert text_of(chunks) == transcript.text
    merged = merge((), chunks)
    assert list(merged) == merge_of_the_server(chunks)
    assert text_of(merged) == transcript.text
    # However it is cut, and whether it is told or missed, it adds up.
    before = merge((), chunks[:cut])
    assert merge(before, chunks[cut:]) == merged
    assert merge(before, missing(before, merged)) == merged
    assert said_in(before) + said_in(missing(before, merged)) == said_in(merged)


def test_random_cuts_of_one_text() -> None:
    chunks = [START, *(said(str(number)) for number in range(100))]
    whole = merge((), chunks)
    for _ in range(20):
        place = random.randint(0, 100)
        assert said_in(missing(merge((), chunks[:place]), whole)) == "".join(
            map(str, range(max(place - 1, 0), 100))
        )
