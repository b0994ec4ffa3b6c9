"""The Django admin: every page answers, the log is only looked at, a key is shown once."""

import re
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.message_admin import first_id_of
from conversations.models import Conversation, Membership, Message, Participant
from fleetlm.auth.keys import digest_of
from fleetlm.models import ApiKey
from inbox.models import Mention, ReadCursor

# In development static files come from the apps, and nobody has collected them.
pytestmark = pytest.mark.filterwarnings("ignore:No directory at")


@pytest.fixture
def staff(client: Client) -> Client:
    """A superuser at the admin."""
    client.force_login(get_user_model().objects.create_superuser(f"root-{uuid4().hex}"))
    return client


@pytest.fixture
def conversation() -> Conversation:
    """A dm of two with three messages, and everything that hangs on it."""
    people = [Participant.objects.create(id=f"{name}-{uuid4().hex}") for name in ("alice", "bob")]
    key = ":".join(sorted(person.id for person in people))
    made = Conversation.objects.create(key=key, kind="dm", last_seq=3)
    for person in people:
        Membership.objects.create(conversation=made, participant=person)
        ReadCursor.objects.create(conversation=made, participant=person)
    for seq, text in enumerate(("good morning", "a <b>needle</b>", "good night"), start=1):
        Message.objects.create(
            conversation=made,
            seq=seq,
            countable=seq,
            sender_id=people[0].id,
            text=text,
            created_at=timezone.now(),
        )
    Mention.objects.create(conversation=made, participant=people[1], seq=2)
    return made


def page(staff: Client, name: str, *args: object, **query: object) -> str:
    """The text of an admin page that answers 200."""
    response = staff.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def test_every_list_and_every_page_answers(staff: Client, conversation: Conversation) -> None:
    ApiKey.objects.get_or_create(
        name="one", prefix="flk_12345678", digest=digest_of(uuid4().hex), scopes=["read"]
    )
    for model, options in admin.site._registry.items():
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        page(staff, f"{name}_changelist")
        if options.search_fields:
            for term in ("x", "alice:bob", "a:b:c", str(uuid4()), "%", "\\", "é", "x" * 400):
                page(staff, f"{name}_changelist", q=term)
        newest = model._default_manager.order_by("-pk").first()
        if newest is not None:
            page(staff, f"{name}_change", newest.pk)
        if options.has_add_permission(staff_request(staff)):
            page(staff, f"{name}_add")


def staff_request(staff: Client) -> object:
    return staff.get(reverse("admin:index")).wsgi_request


def test_messages_cannot_be_added_changed_or_deleted(staff: Client, conversation: Conversation) -> None:
    message = conversation.messages.get(seq=1)
    assert staff.get(reverse("admin:conversations_message_add")).status_code == 403
    change = reverse("admin:conversations_message_change", args=[message.pk])
    assert staff.post(change, {"text": "forged"}).status_code == 403
    assert (
        staff.post(
            reverse("admin:conversations_message_delete", args=[message.pk]), {"post": "yes"}
        ).status_code
        == 403
    )
    staff.post(
        reverse("admin:conversations_message_changelist"),
        {"action": "delete_selected", "_selected_action": [str(message.pk)], "post": "yes"},
    )
    message.refresh_from_db()
    assert message.text == "good morning"


def test_messages_are_found_by_key_id_sender_and_text(staff: Client, conversation: Conversation) -> None:
    one, other = conversation.key.split(":")
    sender = conversation.messages.get(seq=1).sender_id
    message = conversation.messages.get(seq=2)
    newest_first = r"good night.*needle.*good morning"
    for term in (conversation.key, f"{other}:{one}", sender):
        assert re.search(newest_first, page(staff, "conversations_message_changelist", q=term), re.DOTALL)
    for term in ("needle", str(message.pk)):
        found = page(
            staff, "conversations_message_changelist", q=term, conversation__id__exact=conversation.pk
        )
        assert "a &lt;b&gt;needle" in found
        assert "good night" not in found
    inside = page(staff, "conversations_message_changelist", conversation__id__exact=conversation.pk)
    assert re.search(newest_first, inside, re.DOTALL)


def test_messages_are_filtered_by_their_time(staff: Client, conversation: Conversation) -> None:
    key = conversation.key
    assert "needle" in page(staff, "conversations_message_changelist", q=key, sent="hour")
    long_ago = first_id_of(timezone.now() - timedelta(days=3))
    Message.objects.filter(conversation=conversation, seq=2).update(id=long_ago)
    assert "needle" not in page(staff, "conversations_message_changelist", q=key, sent="day")
    assert "needle" in page(staff, "conversations_message_changelist", q=key, sent="week")


def test_ids_are_in_the_order_of_time() -> None:
    made = uuid7()
    now = timezone.now()
    assert first_id_of(now - timedelta(seconds=1)) < made < first_id_of(now + timedelta(seconds=1))


def test_no_list_of_messages_counts_or_scans_the_table(staff: Client, conversation: Conversation) -> None:
    rest = {"conversation": conversation, "sender_id": "x", "text": "needle", "created_at": timezone.now()}
    Message.objects.bulk_create(Message(seq=seq, countable=seq, **rest) for seq in range(4, 80))
    for query in ({}, {"q": "needle"}, {"q": conversation.key}, {"sent": "day"}):
        with CaptureQueriesContext(connection) as queries:
            page(staff, "conversations_message_changelist", **query)
        of_messages = [one["sql"] for one in queries if 'FROM "conversations_message"' in one["sql"]]
        assert of_messages
        assert [sql for sql in of_messages if "LIMIT" not in sql] == []


def test_title_and_metadata_can_be_edited_and_nothing_else(staff: Client, conversation: Conversation) -> None:
    form = {
        "title": "A new title",
        "metadata": '{"a": 1}',
        "state": "closed",
        "last_seq": "99",
        "key": "stolen",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    Conversation.objects.filter(pk=conversation.pk).update(last_seq=4)
    response = staff.post(reverse("admin:conversations_conversation_change", args=[conversation.pk]), form)
    assert response.status_code == 302
    changed = Conversation.objects.get(pk=conversation.pk)
    assert (changed.title, changed.metadata) == ("A new title", {"a": 1})
    assert (changed.state, changed.last_seq, changed.key) == ("open", 4, conversation.key)
    assert changed.version == conversation.version + 1


def test_a_conversation_shows_its_members(staff: Client, conversation: Conversation) -> None:
    shown = page(staff, "conversations_conversation_change", conversation.pk)
    for name in conversation.key.split(":"):
        assert name in shown
    found = page(staff, "conversations_conversation_changelist", q=conversation.key.split(":")[0])
    assert conversation.key in found


def test_people_can_be_added_and_renamed_but_not_made_agents(staff: Client) -> None:
    name = f"carol-{uuid4().hex}"
    add = reverse("admin:conversations_participant_add")
    form = {"id": name, "kind": "user", "display_name": "Carol", "metadata": "{}"}
    assert staff.post(add, {**form, "kind": "agent"}).status_code == 200
    assert not Participant.objects.filter(id=name).exists()
    assert staff.post(add, form).status_code == 302
    change = reverse("admin:conversations_participant_change", args=[name])
    staff.post(change, {**form, "id": "other", "kind": "system", "display_name": "Caroline"})
    assert (Participant.objects.get(id=name).kind, Participant.objects.get(id=name).display_name) == (
        "user",
        "Caroline",
    )


def test_an_id_that_breaks_the_rules_is_refused_in_the_form(staff: Client) -> None:
    form = {"id": "with space", "kind": "user", "display_name": "", "metadata": "{}"}
    assert staff.post(reverse("admin:conversations_participant_add"), form).status_code == 200
    assert not Participant.objects.filter(id="with space").exists()


def test_an_api_key_is_shown_once_and_can_be_revoked(staff: Client) -> None:
    name = f"server-{uuid4().hex}"
    response = staff.post(
        reverse("admin:fleetlm_apikey_add"), {"name": name, "scopes": ["read", "write"]}, follow=True
    )
    (shown,) = re.findall(r"flk_[A-Za-z0-9_-]{43}", response.content.decode())
    key = ApiKey.objects.get(digest=digest_of(shown))
    assert (key.name, key.scopes, key.prefix) == (name, ["read", "write"], shown[:12])

    change = page(staff, "fleetlm_apikey_change", key.pk)
    listed = page(staff, "fleetlm_apikey_changelist")
    assert shown not in change + listed
    assert bytes(key.digest).hex() not in change + listed

    staff.post(
        reverse("admin:fleetlm_apikey_change", args=[key.pk]), {"name": "renamed", "scopes": ["admin"]}
    )
    staff.post(reverse("admin:fleetlm_apikey_changelist"), {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("renamed", ["read", "write"])
    assert key.revoked_at is not None
    assert bytes(key.digest) == digest_of(shown)


def test_a_key_from_the_terminal_is_all_that_is_printed() -> None:
    output = StringIO()
    call_command("createapikey", "ci", "--scope", "write", "--scope", "read", stdout=output)
    (line,) = output.getvalue().splitlines()
    assert ApiKey.objects.get(digest=digest_of(line)).scopes == ["read", "write"]
    with pytest.raises(CommandError):
        call_command("createapikey", "ci", "--scope", "root")
