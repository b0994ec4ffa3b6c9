"""Who may do what, as far as it does not depend on the database."""

import pytest

from conversations.errors import InvalidRequest, NotAllowed, NotAMember
from fleetlm.auth.principal import OPEN_SERVER, Principal, Scope, open_participant

ALICE = Principal(scopes=frozenset({"read", "write"}), participant_id="alice")
NARROW = Principal(
    scopes=frozenset({"read", "write"}),
    participant_id="alice",
    conversations=frozenset({"alice:bob", "team"}),
)


def server(*scopes: Scope) -> Principal:
    return Principal(scopes=frozenset(scopes))


def test_a_scope_is_held_or_not() -> None:
    server("read").require("read")
    for scope in ("write", "admin"):
        with pytest.raises(NotAllowed) as caught:
            server("read").require(scope)
        assert caught.value.details == {"scope": scope}
    with pytest.raises(NotAllowed):
        server("write").require("read")


def test_admin_includes_the_others() -> None:
    for scope in ("read", "write", "admin"):
        server("admin").require(scope)
        OPEN_SERVER.require(scope)


def test_what_is_for_servers_is_not_for_participants() -> None:
    server("write").require_server("write")
    with pytest.raises(NotAllowed):
        server("read").require_server("write")
    for participant in (ALICE, NARROW, open_participant("alice")):
        assert not participant.is_server
        with pytest.raises(NotAllowed):
            participant.require_server("read")


def test_a_server_speaks_for_anyone_it_names() -> None:
    assert server("write").speak_as("bob") == "bob"
    for nobody in (None, "", "a:b", "a b"):
        with pytest.raises(InvalidRequest):
            server("write").speak_as(nobody)


def test_a_participant_speaks_for_itself_only() -> None:
    assert ALICE.speak_as(None) == ALICE.speak_as("alice") == "alice"
    for other in ("bob", "Alice", "", "alice "):
        with pytest.raises(NotAllowed):
            ALICE.speak_as(other)


def test_a_dm_of_others_is_refused_without_asking_the_database() -> None:
    for key in ("alice:bob", "aaa:alice", "team", "broadcast"):
        ALICE.require_key(key)
        server("read").require_key(key)
    for key in ("bob:carol", "alice2:bob", "bob:malice"):
        with pytest.raises(NotAMember):
            ALICE.require_key(key)
        server("read").require_key(key)


def test_a_narrowed_token_opens_what_it_names_and_never_more() -> None:
    NARROW.require_key("alice:bob")
    NARROW.require_key("team")
    for key in ("alice:carol", "other", "broadcast"):
        with pytest.raises(NotAMember):
            NARROW.require_key(key)
    named = Principal(
        scopes=frozenset({"read"}), participant_id="alice", conversations=frozenset({"bob:carol"})
    )
    with pytest.raises(NotAMember):
        named.require_key("bob:carol")
    nothing = Principal(scopes=frozenset({"read"}), participant_id="alice", conversations=frozenset())
    with pytest.raises(NotAMember):
        nothing.require_key("team")


def test_in_open_mode_a_socket_says_who_it_is() -> None:
    alice = open_participant("alice")
    assert alice.speak_as(None) == "alice"
    assert alice.may_create
    with pytest.raises(NotAllowed):
        alice.require("admin")
    with pytest.raises(InvalidRequest):
        open_participant("a:b")
