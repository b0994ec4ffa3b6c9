"""A person takes over from the agents, and gives the conversation back."""

from typing import Any

import pytest

from agents.models import DeliveryStream
from fleetlm.auth.keys import make_key
from tests.integration.server import Client, unique

pytestmark = pytest.mark.usefixtures("healthy")

URL = "http://127.0.0.1:9/agent"
NOT_ALLOWED = (403, "not_allowed")


class Desk:
    """A group of a person, an agent, and somebody at the desk."""

    def __init__(self, api: Client) -> None:
        self.api = api
        self.person, self.bob = unique("p"), unique("bob")
        self.agent = api.ok("POST", "/api/agents", {"id": unique("a"), "url": URL})["id"]
        api.ok("POST", "/api/participants", {"id": self.bob})
        self.key = api.group(self.agent, self.person, self.bob)
        api.say(self.key, self.person, "help")
        self.path = f"/api/conversations/{self.key}"

    def hand(self, to: str | None, client: Client | None = None) -> Any:
        return (client or self.api).ok("POST", f"{self.path}/handoff", {"participant_id": to})

    def stream(self) -> DeliveryStream:
        return DeliveryStream.objects.get(agent_id=self.agent)

    def system_messages(self) -> list[dict[str, Any]]:
        messages = self.api.ok("GET", f"{self.path}/messages")["messages"]
        return [message for message in messages if message["kind"] == "system"]


@pytest.fixture
def desk(api: Client) -> Desk:
    return Desk(api)


def test_agents_rest_while_a_person_has_it_and_then_get_what_they_missed(desk: Desk) -> None:
    assert desk.api.ok("GET", desk.path)["handed_to"] is None
    taken = desk.hand(desk.bob)
    assert taken["handed_to"] == desk.bob
    assert taken == desk.api.ok("GET", desk.path) | {
        "updated_at": taken["updated_at"],
        "last_seq": taken["last_seq"],
    }
    assert (desk.stream().handed_over, desk.stream().due_at) == (True, None)
    desk.api.say(desk.key, desk.person, "are you there?")
    assert desk.stream().due_at is None
    shown = desk.api.ok("GET", f"/api/agents/{desk.agent}/streams/{desk.key}")
    assert (shown["state"], shown["handed_over"]) == ("handed_over", True)
    assert desk.hand(None)["handed_to"] is None
    stream = desk.stream()
    assert (stream.handed_over, stream.cursor, stream.wanted_seq) == (False, 0, 3)
    assert stream.due_at is not None


def test_the_log_says_so_once_and_agents_are_not_called_for_it(desk: Desk) -> None:
    DeliveryStream.objects.filter(agent_id=desk.agent).update(cursor=1, due_at=None)
    for to in (desk.bob, desk.bob, None, None):
        desk.hand(to)
    over, back = desk.system_messages()
    assert (over["sender_id"], over["content"]) == (
        "system",
        {"event": "conversation.handed_over", "to": desk.bob},
    )
    assert (back["sender_id"], back["content"]) == ("system", {"event": "conversation.returned"})
    assert over["text"]
    assert back["text"]
    assert desk.stream().due_at is None
    assert desk.api.entry(desk.person, desk.key)["unread_count"] == 0


def test_another_person_may_take_over_from_the_first(desk: Desk) -> None:
    desk.hand(desk.bob)
    assert desk.hand(desk.person)["handed_to"] == desk.person
    assert [message["content"]["to"] for message in desk.system_messages()] == [desk.bob, desk.person]


def test_lists_show_who_has_a_conversation(desk: Desk) -> None:
    desk.hand(desk.bob)
    [listed] = desk.api.ok("GET", "/api/conversations", participant_id=desk.person)["conversations"]
    assert listed["handed_to"] == desk.bob


def test_sockets_see_it_at_once(desk: Desk) -> None:
    with desk.api.token(desk.person).socket() as socket:
        socket.join(f"conversation:{desk.key}")
        desk.hand(desk.bob)
        assert socket.wait_for("message")["content"] == {"event": "conversation.handed_over", "to": desk.bob}


def test_a_closed_conversation_is_handed_over_without_a_word(desk: Desk) -> None:
    desk.api.ok("POST", f"{desk.path}/close")
    assert desk.hand(desk.bob)["handed_to"] == desk.bob
    assert desk.system_messages() == []


def test_an_agent_that_joins_meanwhile_rests_too(desk: Desk) -> None:
    key = desk.api.group(desk.person, desk.bob)
    desk.api.ok("POST", f"/api/conversations/{key}/handoff", {"participant_id": desk.bob})
    desk.api.ok("POST", f"/api/conversations/{key}/participants", {"participants": [desk.agent]})
    desk.api.say(key, desk.person)
    stream = DeliveryStream.objects.get(agent_id=desk.agent, conversation__key=key)
    assert (stream.handed_over, stream.due_at) == (True, None)


# Who may.


@pytest.fixture
def dm(desk: Desk) -> str:
    """The handover of a dm of the person and the agent."""
    key = desk.api.say(f"{desk.person}:{desk.agent}", desk.person)["conversation"]
    return f"/api/conversations/{key}/handoff"


def test_the_person_of_a_dm_may(desk: Desk, dm: str) -> None:
    token = desk.api.token(desk.person)
    assert token.ok("POST", dm, {"participant_id": desk.person})["handed_to"] == desk.person
    assert token.ok("POST", dm, {"participant_id": None})["handed_to"] is None


def test_the_agent_of_a_dm_may_not_with_a_token_of_its_own(desk: Desk, dm: str) -> None:
    token = desk.api.token(desk.agent)
    assert token.post(dm, {"participant_id": desk.person}).verdict == NOT_ALLOWED


def test_it_is_handed_to_members_only(desk: Desk, dm: str) -> None:
    stranger = desk.api.ok("POST", "/api/participants", {"id": unique("stranger")})["id"]
    for path, somebody, advice in (
        (f"{desk.path}/handoff", stranger, "add it first"),
        (dm, desk.bob, "no room for a third"),
    ):
        refused = desk.api.post(path, {"participant_id": somebody})
        assert refused.verdict == (403, "not_a_member")
        assert refused.json["error"]["details"]["participant_id"] == somebody
        assert advice in refused.json["error"]["message"]
        assert desk.api.ok("GET", path.removesuffix("/handoff"))["handed_to"] is None
    assert desk.system_messages() == []
    desk.api.ok("POST", f"{desk.path}/participants", {"participants": [stranger]})
    assert desk.hand(stranger)["handed_to"] == stranger


def test_of_a_group_its_admins_may_and_its_members_may_not(desk: Desk) -> None:
    admin, member = unique("admin"), unique("member")
    form = {"participants": [{"id": admin, "role": "admin"}, member, desk.agent]}
    path = f"/api/conversations/{desk.api.ok('POST', '/api/conversations', form)['key']}/handoff"
    to = {"participant_id": admin}
    assert desk.api.token(member).post(path, to).verdict == NOT_ALLOWED
    assert desk.api.token(admin).ok("POST", path, to)["handed_to"] == admin
    assert desk.api.token(unique()).post(path, to).verdict == (403, "not_a_member")


def test_of_servers_those_that_write_may(desk: Desk) -> None:
    for scopes, status in ((["read"], 403), (["read", "write"], 200)):
        client = Client(desk.api.server, make_key("tests", scopes)[1])
        assert client.post(f"{desk.path}/handoff", {"participant_id": desk.bob}).status == status


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({}, (400, "invalid_request")),
        ({"participant_id": "a:b"}, (400, "invalid_request")),
        ({"participant_id": "\0"}, (400, "invalid_request")),
        ({"participant_id": 5}, (400, "invalid_request")),
        ({"participant_id": None, "to": "bob"}, (400, "invalid_request")),
        ({"participant_id": "nobody-of-this-name"}, (404, "participant_not_found")),
        ([], (400, "invalid_request")),
        (b"{", (400, "invalid_json")),
    ],
)
def test_what_cannot_be_is_refused(desk: Desk, body: Any, verdict: tuple[int, str]) -> None:
    assert desk.api.post(f"{desk.path}/handoff", body).verdict == verdict
    assert desk.api.ok("GET", desk.path)["handed_to"] is None


def test_it_is_handed_to_people_only(desk: Desk) -> None:
    refused = desk.api.post(f"{desk.path}/handoff", {"participant_id": desk.agent})
    assert refused.verdict == (400, "invalid_request")
    assert desk.api.post("/api/conversations/nothing-here/handoff", {"participant_id": None}).verdict == (
        404,
        "conversation_not_found",
    )
