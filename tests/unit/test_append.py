"""How a batch of appends is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from conversations.append import (
    Appended,
    AppendRequest,
    DuplicateKey,
    Head,
    Known,
    Message,
    Outcome,
    Plan,
    message_as_dict,
    plan,
    same_body,
    timestamp,
)
from conversations.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    FleetLMError,
    InvalidRequest,
    NotAllowed,
    NotAMember,
    SeqConflict,
)

NOW = datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)
EPOCH = UUID(int=7)


def head(
    key: str = "team", *, number: int = 1, kind: str = "group", state: str = "open", seq: int = 0
) -> Head:
    return Head(number, key, EPOCH, kind, state, seq, seq, 1)


def request(text: str = "hi", sender: str = "alice", key: str = "team", **fields: Any) -> AppendRequest:
    return AppendRequest(key=key, sender_id=sender, text=text, **fields)


def stored(one: AppendRequest, seq: int, **fields: Any) -> Message:
    """A message as it came of this request."""
    return Message(
        id=UUID(int=seq),
        seq=seq,
        conversation_id=1,
        conversation=one.key,
        countable=seq,
        sender_id=one.sender_id,
        **{
            "kind": one.kind,
            "text": one.text,
            "content": one.content,
            "metadata": one.metadata,
            "reply_to": one.reply_to,
            "mentions": [],
            "client_id": one.client_id,
            "created_at": NOW,
            **fields,
        },
    )


def known(
    *heads: Head,
    members: Mapping[str, str] | None = None,
    duplicates: Mapping[DuplicateKey, Message] | None = None,
    senders: Mapping[tuple[str, int], str] | None = None,
) -> Known:
    people = {"alice": "member", "bob": "member", "root": "admin"} if members is None else members
    heads = heads or (head(),)
    return Known(
        heads={one.key: one for one in heads},
        members={one.id: people for one in heads},
        duplicates=duplicates or {},
        senders=senders or {},
    )


def planned(what: Known, *requests: AppendRequest) -> Plan:
    numbers = count(1)
    return plan(requests, what, NOW, lambda: UUID(int=next(numbers)))


def failure(what: Known, one: AppendRequest) -> FleetLMError:
    """What a request alone fails with; nothing is stored of it."""
    before = {key: replace(one) for key, one in what.heads.items()}
    result = planned(what, one)
    (outcome,) = result.outcomes
    assert isinstance(outcome, FleetLMError)
    assert result.messages == []
    assert dict(what.heads) == before
    return outcome


def accepted(what: Known, one: AppendRequest) -> Message:
    """The new message that a request alone becomes."""
    result = planned(what, one)
    (outcome,) = result.outcomes
    assert isinstance(outcome, Appended), outcome
    assert not outcome.deduplicated
    assert result.messages == [outcome.message]
    return outcome.message


def test_a_message_continues_the_log() -> None:
    team = head(seq=41)
    message = accepted(known(team), request("hi @bob", content={"a": 1}, metadata={"b": 2}, client_id="c"))
    assert message == Message(
        id=UUID(int=1),
        seq=42,
        conversation_id=1,
        conversation="team",
        countable=42,
        sender_id="alice",
        kind="text",
        text="hi @bob",
        content={"a": 1},
        metadata={"b": 2},
        reply_to=None,
        mentions=["bob"],
        client_id="c",
        created_at=NOW,
    )
    assert (team.last_seq, team.countable, team.changed) == (42, 42, True)
    assert team.last_message == {
        "seq": 42,
        "sender_id": "alice",
        "text": "hi @bob",
        "created_at": "2026-01-31T12:00:00.000005Z",
    }


def test_a_batch_gives_out_seqs_without_a_hole_around_what_fails() -> None:
    one, other = head(seq=5), head("other", number=2)
    result = planned(
        known(one, other),
        request("a"),
        request("b", key="other"),
        request("c", sender="mallory"),
        request("d", key="nowhere"),
        request("e", sender="bob"),
    )
    codes = [o.code if isinstance(o, FleetLMError) else o.message.seq for o in result.outcomes]
    assert codes == [6, 1, "not_a_member", "conversation_not_found", 7]
    assert [(m.conversation, m.seq) for m in result.messages] == [("team", 6), ("other", 1), ("team", 7)]
    assert (one.last_seq, other.last_seq) == (7, 1)


def test_a_conversation_that_nothing_was_written_to_is_not_changed() -> None:
    one, other = head(), head("other", number=2, state="closed")
    planned(known(one, other), request(), request(key="other"))
    assert (one.changed, other.changed) == (True, False)


def test_each_thing_that_can_be_wrong() -> None:
    assert isinstance(failure(known(), request(key="nowhere")), ConversationNotFound)
    assert isinstance(failure(known(), request(sender="mallory")), NotAMember)
    assert isinstance(failure(known(), request(sender="mallory", privileged=True)), NotAMember)
    for state in ("closed", "archived"):
        error = failure(known(head(state=state)), request(privileged=True))
        assert isinstance(error, ConversationClosed)
        assert error.details == {"key": "team", "state": state}


def test_expected_seq_is_the_last_one() -> None:
    assert accepted(known(head(seq=3)), request(expected_seq=3)).seq == 4
    assert accepted(known(head()), request(expected_seq=0)).seq == 1
    for wrong in (0, 2, 4):
        error = failure(known(head(seq=3)), request(expected_seq=wrong))
        assert isinstance(error, SeqConflict)
        assert error.details == {"expected_seq": wrong, "last_seq": 3}


def test_of_two_who_expect_the_same_seq_one_is_too_late() -> None:
    result = planned(known(head(seq=3)), request(expected_seq=3), request(sender="bob", expected_seq=3))
    assert isinstance(result.outcomes[0], Appended)
    assert isinstance(result.outcomes[1], SeqConflict)


def test_a_reply_is_to_an_earlier_message() -> None:
    assert accepted(known(head(seq=3)), request(reply_to=3)).reply_to == 3
    for wrong in (0, -1, 4):
        error = failure(known(head(seq=3)), request(reply_to=wrong))
        assert isinstance(error, InvalidRequest)
        assert error.details == {"field": "reply_to", "last_seq": 3}


# Retries.


def retry_of(one: AppendRequest, seq: int = 2, **fields: Any) -> Known:
    assert one.client_id is not None
    duplicates = {(one.key, one.sender_id, one.client_id): stored(one, seq, **fields)}
    return known(head(seq=3), duplicates=duplicates)


def test_a_retry_comes_to_what_is_stored() -> None:
    one = request(client_id="c", content={"a": [1]}, metadata={"b": None}, reply_to=1)
    what = retry_of(one)
    result = planned(what, one)
    assert result.outcomes == [Appended(stored(one, 2), deduplicated=True)]
    assert result.messages == []
    assert not what.heads["team"].changed


def test_a_retry_is_answered_when_the_conversation_was_closed_or_has_moved_on() -> None:
    one = request(client_id="c", expected_seq=1)
    what = retry_of(one)
    what.heads["team"].state = "closed"
    assert planned(what, one).outcomes == [Appended(stored(one, 2), deduplicated=True)]


def test_one_who_was_removed_learns_nothing_of_its_retry() -> None:
    one = request(client_id="c")
    what = replace(retry_of(one), members={1: {"bob": "member"}})
    assert isinstance(failure(what, one), NotAMember)


@pytest.mark.parametrize(
    "change",
    [{"text": "other"}, {"kind": "image"}, {"content": {"a": 2}}, {"metadata": {"b": 1}}, {"reply_to": 1}],
)
def test_a_client_id_with_another_body_is_refused(change: dict[str, Any]) -> None:
    one = request(client_id="c", content={"a": 1})
    error = failure(retry_of(one), replace(one, **change))
    assert isinstance(error, ClientIdReused)
    assert error.details == {"client_id": "c", "seq": 2}


def test_a_retry_of_what_was_redacted_meanwhile_is_a_retry() -> None:
    one = request("secret", client_id="c", content={"a": 1})
    blank = {"text": "", "content": {}, "metadata": {"redacted": True}}
    assert same_body(one, stored(one, 2, **blank))
    (outcome,) = planned(retry_of(one, **blank), one).outcomes
    assert isinstance(outcome, Appended)
    assert outcome.deduplicated


def test_a_client_id_belongs_to_its_sender_and_conversation() -> None:
    what = known(head(), head("other", number=2))
    result = planned(
        what,
        request(client_id="c"),
        request(client_id="c", sender="bob"),
        request(client_id="c", key="other"),
        request(client_id="c"),
    )
    assert [o.deduplicated for o in result.outcomes if isinstance(o, Appended)] == [False, False, False, True]


def test_retries_within_a_batch_are_one_message() -> None:
    what = known()
    result = planned(
        what, request(client_id="c"), request(client_id="c"), request("other", client_id="c"), request()
    )
    first, again, reused, last = result.outcomes
    assert isinstance(first, Appended)
    assert again == Appended(first.message, deduplicated=True)
    assert isinstance(reused, ClientIdReused)
    assert isinstance(last, Appended)
    assert [m.seq for m in result.messages] == [1, 2]


def test_a_client_id_whose_first_use_failed_is_free() -> None:
    result = planned(known(), request(client_id="c", expected_seq=9), request(client_id="c"))
    assert isinstance(result.outcomes[0], SeqConflict)
    assert isinstance(result.outcomes[1], Appended)
    assert not result.outcomes[1].deduplicated


# Kinds of messages and of conversations.


def test_system_messages_are_written_by_servers_only_and_count_for_nobody() -> None:
    before = {"seq": 3, "sender_id": "bob", "text": "hi", "created_at": "…"}
    team = head(seq=3)
    team.last_message = before
    message = accepted(known(team), request("bob left", sender="server", kind="system", privileged=True))
    assert (message.seq, message.countable) == (4, 3)
    assert team.last_message == before
    for sender in ("alice", "root"):
        assert isinstance(failure(known(), request(kind="system", sender=sender)), NotAllowed)
    assert isinstance(failure(known(), request(kind="system", sender="mallory")), NotAMember)


def test_a_broadcast_is_written_by_servers_and_its_admins() -> None:
    def news() -> Known:
        return known(head(kind="broadcast"))

    assert accepted(news(), request(sender="anyone", privileged=True)).seq == 1
    assert accepted(news(), request(sender="root")).seq == 1
    for sender in ("alice", "mallory"):
        assert isinstance(failure(news(), request(sender=sender)), NotAllowed)


def redaction(seq: int | None, sender: str = "alice", **fields: Any) -> AppendRequest:
    return request("", sender, kind="redaction", reply_to=seq, **fields)


def test_a_redaction_is_the_right_of_the_sender_an_admin_and_a_server() -> None:
    def team() -> Known:
        return known(head(seq=3), senders={("team", 2): "alice"})

    assert accepted(team(), redaction(2)).countable == 3
    assert accepted(team(), redaction(2, "root")).seq == 4
    assert accepted(team(), redaction(2, "bob", privileged=True)).seq == 4
    assert isinstance(failure(team(), redaction(2, "bob")), NotAllowed)
    assert isinstance(failure(team(), redaction(1)), NotAllowed)
    assert isinstance(failure(team(), redaction(2, "mallory")), NotAMember)
    assert isinstance(failure(team(), redaction(None, privileged=True)), InvalidRequest)
    assert isinstance(failure(team(), redaction(9, privileged=True)), InvalidRequest)


def test_a_redaction_blanks_the_preview_of_its_target_and_no_other() -> None:
    team = head(seq=3)
    team.last_message = {"seq": 3, "sender_id": "bob", "text": "secret", "created_at": "…"}
    what = known(team)
    accepted(what, redaction(2, "root"))
    assert team.last_message["text"] == "secret"
    accepted(what, redaction(3, "root"))
    assert team.last_message == {"seq": 3, "sender_id": "bob", "text": "", "created_at": "…"}


# What is shown.


def test_a_message_as_clients_see_it() -> None:
    message = stored(request("hi", key="alice:bob", client_id="c"), 4)
    assert message_as_dict(message) == {
        "id": "00000000-0000-0000-0000-000000000004",
        "seq": 4,
        "conversation": "alice:bob",
        "dm_key": "alice:bob",
        "sender_id": "alice",
        "kind": "text",
        "text": "hi",
        "content": {},
        "metadata": {},
        "reply_to": None,
        "mentions": [],
        "client_id": "c",
        "created_at": "2026-01-31T12:00:00.000005Z",
    }
    assert message_as_dict(stored(request(), 1))["dm_key"] is None


def test_times_have_microseconds_even_when_there_are_none() -> None:
    assert timestamp(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00.000000Z"


# Any batch.

PEOPLE = ("alice", "bob", "root", "mallory")
REQUESTS = st.builds(
    AppendRequest,
    key=st.sampled_from(["team", "news", "shut", "nowhere"]),
    sender_id=st.sampled_from(PEOPLE),
    text=st.sampled_from(["", "one", "two @bob @alice"]),
    kind=st.sampled_from(["text", "text", "image", "system", "redaction"]),
    client_id=st.none() | st.sampled_from(["c1", "c2"]),
    reply_to=st.none() | st.integers(0, 6),
    expected_seq=st.none() | st.integers(0, 6),
    privileged=st.booleans(),
)


@dataclass
class Model:
    """The rules once more, one request at a time, over plain lists."""

    kind: str
    state: str
    log: list[AppendRequest] = field(default_factory=list)

    def append(self, one: AppendRequest, members: Mapping[str, str]) -> str | int:
        """The seq that the request gets, or the code of what it fails with. Negative: it had this seq already."""
        refusal = self._refusal(one, members)
        if refusal is not None:
            return refusal
        for seq, old in enumerate(self.log, 1):
            if one.client_id is not None and (one.client_id, one.sender_id) == (old.client_id, old.sender_id):
                same = (one.text, one.kind, one.reply_to) == (old.text, old.kind, old.reply_to)
                return -seq if same else "client_id_reused"
        if self.state != "open":
            return "conversation_closed"
        return self._place(one, members)

    def _refusal(self, one: AppendRequest, members: Mapping[str, str]) -> str | None:
        if one.privileged and (one.kind == "system" or self.kind == "broadcast"):
            return None
        if self.kind == "broadcast":
            refused, code = members.get(one.sender_id) != "admin", "not_allowed"
        else:
            refused, code = one.sender_id not in members, "not_a_member"
        if refused:
            return code
        return "not_allowed" if one.kind == "system" else None

    def _place(self, one: AppendRequest, members: Mapping[str, str]) -> str | int:
        if one.expected_seq not in (None, len(self.log)):
            return "seq_conflict"
        if one.reply_to is not None and not 1 <= one.reply_to <= len(self.log):
            return "invalid_request"
        if one.kind == "redaction" and one.reply_to is None:
            return "invalid_request"
        mighty = one.privileged or members.get(one.sender_id) == "admin"
        if one.kind == "redaction" and not mighty:
            target = self.log[(one.reply_to or 0) - 1]
            if target.sender_id != one.sender_id:
                return "not_allowed"
        self.log.append(one)
        return len(self.log)


@dataclass
class Store:
    """Conversations in memory: what `plan` is told, and where its messages go."""

    heads: dict[str, Head] = field(
        default_factory=lambda: {
            "team": head(),
            "news": head("news", number=2, kind="broadcast"),
            "shut": head("shut", number=3, state="closed"),
        }
    )
    messages: list[Message] = field(default_factory=list)
    members: dict[str, str] = field(
        default_factory=lambda: {"alice": "member", "bob": "member", "root": "admin"}
    )

    def commit(self, batch: Sequence[AppendRequest]) -> list[Outcome]:
        numbers = count(len(self.messages) + 1)
        what = known(
            *self.heads.values(),
            members=self.members,
            duplicates={
                (m.conversation, m.sender_id, m.client_id): m
                for m in self.messages
                if m.client_id is not None
            },
            senders={(m.conversation, m.seq): m.sender_id for m in self.messages},
        )
        result = plan(batch, what, NOW, lambda: UUID(int=next(numbers)))
        self.messages += result.messages
        return result.outcomes


def summary(outcome: Outcome) -> str | int:
    if isinstance(outcome, FleetLMError):
        return outcome.code
    return -outcome.message.seq if outcome.deduplicated else outcome.message.seq


@given(st.lists(REQUESTS, max_size=25))
def test_requests_one_by_one_come_to_what_the_rules_say(requests: list[AppendRequest]) -> None:
    store = Store()
    models = {key: Model(one.kind, one.state) for key, one in store.heads.items()}
    for one in requests:
        model = models.get(one.key)
        expected = "conversation_not_found" if model is None else model.append(one, store.members)
        assert [summary(outcome) for outcome in store.commit([one])] == [expected]
    for key, model in models.items():
        log = [m for m in store.messages if m.conversation == key]
        assert [(m.sender_id, m.text, m.kind) for m in log] == [
            (r.sender_id, r.text, r.kind) for r in model.log
        ]
        assert [m.seq for m in log] == list(range(1, len(log) + 1))
        assert store.heads[key].last_seq == len(log)


@given(st.lists(st.lists(REQUESTS, max_size=8), max_size=6))
def test_a_batch_comes_to_the_same_as_its_requests_one_by_one(batches: list[list[AppendRequest]]) -> None:
    """But for a redaction of what came in its own batch: only a server or an admin may know of that already."""
    together, alone = Store(), Store()
    for batch in batches:
        batch = [one for one in batch if one.kind != "redaction" or _mighty(one, alone)]
        at_once = together.commit(batch)
        in_turn = [outcome for one in batch for outcome in alone.commit([one])]
        assert [summary(outcome) for outcome in at_once] == [summary(outcome) for outcome in in_turn]
    assert together.messages == alone.messages
    assert together.heads == alone.heads
    countable = [m for m in together.messages if m.kind not in ("system", "redaction")]
    for one in together.heads.values():
        mine = [m for m in countable if m.conversation == one.key]
        assert one.countable == len(mine)
        assert (one.last_message or {"seq": None})["seq"] == (mine[-1].seq if mine else None)


def _mighty(one: AppendRequest, store: Store) -> bool:
    return one.privileged or store.members.get(one.sender_id) == "admin"
