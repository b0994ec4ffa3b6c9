"""The terminal chat: what is known of a conversation, and what of it is shown."""

from typing import Any

from fleetlm_client.cli.terminal.items import Day, Item, Marker, Said, activity, items_of
from fleetlm_client.cli.terminal.layout import TIME_WIDTH, rows_of
from fleetlm_client.cli.terminal.transcript import Pending, Transcript
from fleetlm_client.records import Member, Run


def message(seq: int, sender: str = "bob", text: str = "", **more: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "sender_id": sender,
        "kind": "text",
        "text": text or f"text {seq}",
        "content": {},
        "reply_to": None,
        "client_id": None,
        "created_at": "2026-01-05T12:00:02Z",
        **more,
    }


MEMBERS = [
    Member("alice", last_read_seq=2),
    Member("bob", display_name="Bob", last_read_seq=4),
    Member("bot", "agent"),
]


def joined(*messages: dict[str, Any]) -> Transcript:
    transcript = Transcript("alice")
    transcript.take_join(MEMBERS, messages[-1]["seq"] if messages else 0)
    for one in messages:
        transcript.take(one)
    return transcript


def texts(transcript: Transcript) -> list[str]:
    return [" ".join(one.lines) for one in items_of(transcript) if isinstance(one, Said)]


def kinds(transcript: Transcript) -> list[type[Item]]:
    return [type(one) for one in items_of(transcript)]


def test_the_marker_stands_above_the_first_unread_message_until_one_writes() -> None:
    transcript = joined(message(1), message(2), message(3, "alice"), message(4))
    assert transcript.unread_from == 4
    assert kinds(transcript) == [Marker, Day, Said, Said, Said, Marker, Said]
    transcript.take(message(5))
    assert transcript.unread_from == 4
    transcript.take(message(6, "alice"))
    assert transcript.unread_from is None
    assert joined(message(1), message(2)).unread_from is None


def test_one_who_looks_away_finds_the_marker_where_reading_ended() -> None:
    transcript = joined(message(1))
    transcript.take_read("alice", 3)
    for seq in (2, 3, 4):
        transcript.take(message(seq))
    transcript.mark_unread()
    assert transcript.unread_from == 4


def test_a_resumed_join_goes_on_without_a_repeat_and_a_new_log_begins_anew() -> None:
    transcript = joined(message(1), message(2))
    transcript.take_join(MEMBERS, 3)
    for seq in (2, 3, 3):
        transcript.take(message(seq))
    assert [one["seq"] for one in transcript.messages] == [1, 2, 3]
    assert transcript.unread_from == 3
    transcript.reset()
    transcript.take_join(MEMBERS, 1)
    transcript.take(message(1, text="other"))
    assert texts(transcript) == ["other"]


def test_older_messages_come_before() -> None:
    transcript = joined(message(5), message(6))
    assert transcript.has_older
    transcript.take_older([message(3), message(4), message(5)])
    assert [one["seq"] for one in transcript.messages] == [3, 4, 5, 6]
    transcript.take_older([message(1), message(2)])
    assert not transcript.has_older


def test_what_is_sent_is_shown_until_it_is_stored() -> None:
    transcript = joined(message(1))
    transcript.pending["c1"] = Pending("c1", "hello")
    transcript.pending["c2"] = Pending("c2", "no", error="too large")
    assert texts(transcript) == ["text 1", "hello", "no"]
    transcript.take(message(2, "alice", "hello", client_id="c1"))
    assert texts(transcript) == ["text 1", "hello", "no"]
    assert list(transcript.pending) == ["c2"]
    transcript.take(message(3, "bob", "same id, other sender", client_id="c2"))
    assert list(transcript.pending) == ["c2"]


def test_an_answer_grows_and_is_replaced_by_its_message() -> None:
    transcript = joined(message(1))
    transcript.take_run(Run("r1", "bot", "started"))
    assert texts(transcript) == ["text 1"]
    assert activity(transcript) == "bot is typing …"
    transcript.take_run(Run("r1", "bot", "streaming", "Hel"))
    transcript.take_run(Run("r1", "bot", "streaming", "Hello"))
    assert texts(transcript) == ["text 1", "Hello"]
    transcript.take_run(Run("r1", "bot", "finished", "Hello"))
    assert texts(transcript) == ["text 1", "Hello"]
    transcript.take(message(2, "bot", "Hello", content={"run_id": "r1"}))
    assert texts(transcript) == ["text 1", "Hello"]
    transcript.take_run(Run("r1", "bot", "finished", "Hello"))
    assert texts(transcript) == ["text 1", "Hello"]
    assert activity(transcript) == ""


def test_an_answer_that_failed_says_so() -> None:
    transcript = joined(message(1))
    transcript.take_run(Run("r1", "bot", "failed", "Hel", error="timed_out"))
    assert texts(transcript) == ["text 1", "no answer: timed_out"]


def test_a_redaction_blanks_its_target() -> None:
    transcript = joined(message(1, text="secret"), message(2))
    transcript.take(message(3, "alice", kind="redaction", reply_to=1))
    assert "secret" not in "".join(texts(transcript))


def test_names_are_said_once_for_what_belongs_together() -> None:
    transcript = joined(
        message(1),
        message(2),
        message(3, created_at="2026-01-05T12:30:00Z"),
        message(4, "bot", created_at="2026-01-05T12:30:01Z"),
        message(5, "bot", reply_to=1, created_at="2026-01-05T12:30:02Z"),
        message(6, "bot", created_at="2026-01-08T12:30:02Z"),
    )
    transcript.unread_from = None
    shown = [one for one in items_of(transcript) if isinstance(one, Said)]
    assert [one.name for one in shown] == ["Bob", "", "Bob", "bot (agent)", "bot (agent)", "bot (agent)"]
    assert shown[4].quote == "bob: text 1"
    assert kinds(transcript).count(Day) == 2


def test_rows_fit_the_screen_and_show_what_was_said() -> None:
    transcript = joined(
        message(1, text="word " * 50 + "\n    indented"), message(2, kind="system", text="x" * 90)
    )
    transcript.closed = "You were removed."
    for width in (1, 20, 60, 200):
        for item in items_of(transcript):
            for row in rows_of(item, width):
                words = [text for text, role in row if role in ("text", "dim", "failed") and text.strip()]
                assert all(len(text) <= max(width - TIME_WIDTH, 1) for text in words)


def test_who_types_is_said_but_not_oneself() -> None:
    transcript = joined()
    transcript.take_typing("alice", True)
    assert activity(transcript) == ""
    for one in ("bob", "bot", "carol", "dave"):
        transcript.take_typing(one, True)
    assert activity(transcript) == "Bob, bot, carol and others are typing …"
    transcript.take_typing("bob", False)
    assert activity(transcript) == "bot, carol, dave are typing …"
