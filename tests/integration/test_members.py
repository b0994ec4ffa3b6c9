"""Who takes part and in what state: each change is whole, raises the version, and leaves no one half in."""

import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections, transaction
from pytest_django import Settings

from agents import registration
from agents.models import DeliveryStream
from conversations import store
from conversations.errors import Conflict, ConversationNotFound, InvalidRequest, ParticipantNotFound
from conversations.models import Conversation, Membership, Participant
from inbox.models import ReadCursor
from runtime import members
from tests.integration.live import unique


def group(*people: str, **options: Any) -> Conversation:
    """A new group of these."""
    return members.create(
        unique("c"), "group", dict.fromkeys(people, "member"), make_participants=True, **options
    )


def roles(conversation: Conversation) -> dict[str, str]:
    return dict(conversation.memberships.values_list("participant_id", "role"))


def version(conversation: Conversation) -> int:
    return Conversation.objects.values_list("version", flat=True).get(pk=conversation.pk)


def test_a_group_is_made_with_its_members_and_their_cursors() -> None:
    one, other, key = unique(), unique(), unique("c")
    made = members.create(
        key, "group", {one: "admin", other: "member"}, title="T", metadata={"a": 1}, make_participants=True
    )
    assert (made.key, made.kind, made.state, made.last_seq) == (key, "group", "open", 0)
    assert (made.title, made.metadata) == ("T", {"a": 1})
    assert roles(made) == {one: "admin", other: "member"}
    assert set(ReadCursor.objects.filter(conversation=made).values_list("participant_id", flat=True)) == {
        one,
        other,
    }
    assert Participant.objects.get(id=one).kind == "user"


def test_a_group_of_unknown_people_is_not_made_at_all() -> None:
    known, unknown, key = unique(), unique(), unique("c")
    Participant.objects.create(id=known)
    with pytest.raises(ParticipantNotFound) as caught:
        members.create(key, "group", {known: "member", unknown: "member"})
    assert caught.value.details == {"participant_ids": [unknown]}
    assert not Conversation.objects.filter(key=key).exists()


def test_a_key_is_taken_once() -> None:
    made = group(unique())
    with pytest.raises(Conflict):
        members.create(made.key, "group", {unique(): "member"}, make_participants=True)
    assert Conversation.objects.get(key=made.key).epoch == made.epoch
    assert len(roles(made)) == 1


def test_a_dm_has_the_members_of_its_key() -> None:
    one, other = sorted((unique(), unique()))
    with pytest.raises(InvalidRequest):
        members.create(f"{one}:{other}", "dm", {one: "member"}, make_participants=True)
    made = members.create(
        f"{one}:{other}", "dm", dict.fromkeys((one, other), "member"), make_participants=True
    )
    with pytest.raises(Conflict):
        members.add(made.key, {group_member(): "member"})
    with pytest.raises(Conflict):
        members.remove(made.key, one)
    assert set(roles(made)) == {one, other}


def group_member() -> str:
    """Somebody who is known."""
    return Participant.objects.create(id=unique()).id


def test_a_dm_is_made_once_however_often_it_is_wanted() -> None:
    one, other = sorted((unique(), unique()))
    members.ensure_dm(f"{one}:{other}")
    made = Conversation.objects.get(key=f"{one}:{other}")
    members.ensure_dm(f"{one}:{other}")
    again = Conversation.objects.get(key=f"{one}:{other}")
    assert (again.epoch, again.version) == (made.epoch, made.version)
    assert set(roles(made)) == {one, other}


def test_many_at_once_make_one_dm() -> None:
    one, other = sorted((unique(), unique()))
    errors: list[BaseException] = []

    def make() -> None:
        try:
            members.ensure_dm(f"{one}:{other}")
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(roles(Conversation.objects.get(key=f"{one}:{other}"))) == {one, other}


def test_new_members_come_in_at_the_end_of_the_log() -> None:
    made = group(unique())
    Conversation.objects.filter(pk=made.pk).update(last_seq=7, countable=5)
    late = group_member()
    changed = members.add(made.key, {late: "admin"})
    assert changed.version == made.version + 1
    assert Membership.objects.get(conversation=made, participant_id=late).joined_seq == 7
    cursor = ReadCursor.objects.get(conversation=made, participant_id=late)
    assert (cursor.last_read_seq, cursor.countable) == (7, 5)


def test_who_is_a_member_already_stays_as_it_is() -> None:
    one = unique()
    made = group(one)
    before = version(made)
    members.add(made.key, {one: "admin"})
    assert roles(made) == {one: "member"}
    assert version(made) == before


def test_a_conversation_has_an_end_of_members(settings: Settings) -> None:
    made = group(unique(), unique())
    newcomers = [group_member() for _ in range(2)]
    settings.FLEETLM = django_settings.FLEETLM.model_copy(update={"members_max": 3})
    with pytest.raises(InvalidRequest) as caught:
        members.add(made.key, dict.fromkeys(newcomers, "member"))
    assert caught.value.details["limit"] == 3
    assert len(roles(made)) == 2
    members.add(made.key, {newcomers[0]: "member"})
    assert len(roles(made)) == 3


def test_every_change_raises_the_version() -> None:
    one, other = unique(), unique()
    made = group(one, other)
    versions = [version(made)]
    for change in (
        lambda: members.change(made.key, one, role="admin", muted=None),
        lambda: members.change(made.key, one, role=None, muted=True),
        lambda: members.describe(made.key, title="T", metadata=None),
        lambda: members.describe(made.key, title=None, metadata={"a": 1}),
        lambda: members.set_state(made.key, "closed"),
        lambda: members.set_state(made.key, "open"),
        lambda: members.remove(made.key, other),
        lambda: members.add(made.key, {other: "member"}),
    ):
        assert change().version == version(made)
        versions.append(version(made))
    assert versions == sorted(set(versions))
    made.refresh_from_db()
    assert (made.title, made.metadata, made.state) == ("T", {"a": 1}, "open")
    member = made.memberships.get(participant_id=one)
    assert (member.role, member.muted) == ("admin", True)


def test_what_is_not_there_cannot_be_changed() -> None:
    made, nobody = group(unique()), unique()
    with pytest.raises(ParticipantNotFound):
        members.change(made.key, nobody, role="admin", muted=None)
    with pytest.raises(ParticipantNotFound):
        members.change(made.key, nobody, role=None, muted=None)
    with pytest.raises(ParticipantNotFound):
        members.remove(made.key, nobody)
    assert version(made) == made.version
    for change in (
        lambda: members.add(unique(), {}),
        lambda: members.remove(unique(), nobody),
        lambda: members.set_state(unique(), "closed"),
        lambda: members.describe(unique(), title="", metadata=None),
        lambda: members.change(unique(), nobody, role=None, muted=True),
    ):
        with pytest.raises(ConversationNotFound):
            change()
    with pytest.raises(ParticipantNotFound):
        members.delete_participant(nobody)


def test_an_agent_that_is_removed_is_called_no_more_and_one_that_comes_back_is() -> None:
    one, agent = unique(), unique("a")
    registration.register_agent(agent, "http://127.0.0.1:9/agent")
    made = members.create(unique("c"), "group", {one: "member", agent: "member"}, make_participants=True)

    def streams() -> Any:
        return DeliveryStream.objects.filter(conversation=made, agent_id=agent)

    assert streams().get().enabled
    members.remove(made.key, agent)
    assert not streams().filter(enabled=True).exists()
    members.add(made.key, {agent: "member"})
    assert streams().get().enabled


def test_a_deleted_participant_is_out_of_every_conversation() -> None:
    one, other = unique(), unique()
    both = [group(one, other), group(one, other), group(other)]
    versions = [version(made) for made in both]
    assert sorted(members.delete_participant(one)) == sorted(made.key for made in both[:2])
    assert [roles(made) for made in both] == [{other: "member"}] * 3
    assert [version(made) for made in both] == [versions[0] + 1, versions[1] + 1, versions[2]]
    assert not ReadCursor.objects.filter(participant_id=one).exists()
    assert not Participant.objects.filter(id=one).exists()


def test_a_change_waits_for_the_row_that_an_append_holds() -> None:
    """So that an append sees all of it or nothing."""
    one, other = unique(), unique()
    made = group(one, other)
    done = threading.Event()

    def remove() -> None:
        members.remove(made.key, other)
        connections.close_all()
        done.set()

    with transaction.atomic():
        store.lock_conversation(made.key)
        thread = threading.Thread(target=remove)
        thread.start()
        assert not done.wait(0.2)
        assert other in roles(made)
    assert done.wait(5)
    thread.join()
    assert other not in roles(made)
