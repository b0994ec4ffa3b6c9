"""`fleetlm mcp`, asked by the official client of the Model Context Protocol over stdio."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from runtime.ports import free_port
from tests.e2e.rest import Api
from tests.e2e.stack import HOST, ROOT, Stack

PATIENCE = 30.0
READS = {
    "list_conversations",
    "read_conversation",
    "wait_for_messages",
    "search_messages",
    "get_conversation",
}
WRITES = {"send_message", "mark_read", "hand_off"}


class Model:
    """What a model does with the tools."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What the tool gives; its text is the same as JSON."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        value: Any = result.structured_content
        assert json.loads(text_of(result)) == (value["result"] if set(value) == {"result"} else value)
        return value

    async def fails(self, tool: str, **arguments: Any) -> str:
        """What the tool says of its failure."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error
        return text_of(result)


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def command(url: str, *more: str) -> list[str]:
    return ["-m", "fleetlm_client.cli", "mcp", "--url", url, *more]


@asynccontextmanager
async def model(url: str, *more: str, mode: str = "auto", **environment: str) -> AsyncIterator[Model]:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=command(url, *more),
        cwd=ROOT,
        env={"HOME": "/nonexistent", **environment},
    )
    async with Client(parameters, mode=mode, read_timeout_seconds=PATIENCE) as client:
        yield Model(client)


As = Callable[..., AbstractAsyncContextManager[Model]]


@pytest.fixture
def alice(fresh: str) -> str:
    return f"alice-{fresh}"


@pytest.fixture
def as_alice(stack: Stack, alice: str) -> As:
    return lambda **more: model(stack.web[0], "--as", alice, **more)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_it_says_what_it_is_and_what_each_tool_does(as_alice: As, alice: str, mode: str) -> None:
    async with as_alice(mode=mode) as asked:
        assert asked.client.server_info is not None
        assert asked.client.server_info.name == "fleetlm"
        assert f"the participant {alice}" in (asked.client.instructions or "")
        tools = {tool.name: tool for tool in (await asked.client.list_tools()).tools}
    assert set(tools) == READS | WRITES
    for name, tool in tools.items():
        assert tool.description
        assert tool.output_schema
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (name in READS)
        assert tool.annotations.destructive_hint is False


async def test_an_agent_is_asked_and_answers(as_alice: As, alice: str) -> None:
    key = f"{alice}:echo-bot"
    async with as_alice() as asked:
        sent = await asked.call("send_message", key=key, text="hello")
        assert (sent["key"], sent["seq"], sent["deduplicated"]) == (key, 1, False)
        log = await asked.call("wait_for_messages", key=key, after=sent["seq"])
        assert [(one["seq"], one["sender_id"], one["text"]) for one in log["messages"]] == [
            (2, "echo-bot", "You said: hello")
        ]
        assert (log["last_seq"], log["has_more"]) == (2, False)
        nothing = await asked.call("wait_for_messages", key=key, after=2, seconds=0)
        assert nothing["messages"] == []


async def test_what_is_sent_twice_is_stored_once(as_alice: As, alice: str) -> None:
    key = f"{alice}:bob"
    async with as_alice() as asked:
        first = await asked.call("send_message", key=key, text="an order", idempotency_key="order-1")
        again = await asked.call("send_message", key=key, text="an order", idempotency_key="order-1")
        assert again == {**first, "deduplicated": True}
        assert "client_id_reused: " in await asked.fails(
            "send_message", key=key, text="another order", idempotency_key="order-1"
        )
        reply = await asked.call("send_message", key=key, text="and a drink", reply_to=1)
        log = await asked.call("read_conversation", key=key)
        assert [(one["text"], one["reply_to"]) for one in log["messages"]] == [
            ("an order", None),
            ("and a drink", 1),
        ]
        assert reply["seq"] == 2


async def test_the_inbox_tells_what_is_unread(as_alice: As, api: Api, alice: str, fresh: str) -> None:
    group = f"group-{fresh}"
    await api.group(group, alice, "bob")
    await api.send(group, "bob", f"@{alice} look")
    await api.send(f"{alice}:carol", "carol", "hi")
    await api.send(f"{alice}:carol", alice, "hello")
    async with as_alice() as asked:
        inbox = await asked.call("list_conversations")
        assert (inbox["participant_id"], inbox["total"]) == (alice, 2)
        first, second = inbox["conversations"]
        assert (first["key"], first["unread_count"], first["last_message"]["text"]) == (
            f"{alice}:carol",
            0,
            "hello",
        )
        assert (second["key"], second["unread_count"], second["mention_count"]) == (group, 1, 1)
        assert second["participants"] == [alice, "bob"]
        assert len((await asked.call("list_conversations", limit=1))["conversations"]) == 1
        unread = await asked.call("list_conversations", unread_only=True)
        assert [entry["key"] for entry in unread["conversations"]] == [group]
        # Reading alone marks nothing.
        await asked.call("read_conversation", key=group)
        assert (await asked.call("list_conversations", unread_only=True))["total"] == 1
        assert (await asked.call("mark_read", key=group, seq=1))["result"] == 1
        assert (await asked.call("list_conversations", unread_only=True))["total"] == 0


async def test_a_long_conversation_is_read_in_bounded_pages(as_alice: As, api: Api, alice: str) -> None:
    key = f"{alice}:bob"
    for number in range(6):
        await api.send(key, "bob", f"{number} " + "x" * 15_000)
    await api.send(key, "bob", "", kind="form", content={"field": 7})
    async with as_alice() as asked:
        seqs: list[int] = []
        before = None
        while True:
            log = await asked.call("read_conversation", key=key, before=before)
            assert len(json.dumps(log)) < 45_000
            seqs = [one["seq"] for one in log["messages"]] + seqs
            if not log["has_more"]:
                break
            before = seqs[0]
        assert seqs == [1, 2, 3, 4, 5, 6, 7]
        log = await asked.call("read_conversation", key=key, limit=1)
        assert log["messages"][0]["content"] == {"field": 7}
        first = await asked.call("wait_for_messages", key=key, after=0, seconds=0)
        assert ([one["seq"] for one in first["messages"]], first["has_more"]) == ([1, 2], True)


async def test_search_finds_excerpts(as_alice: As, api: Api, alice: str, fresh: str) -> None:
    key, other = f"{alice}:bob", f"{alice}:carol"
    await api.send(key, "bob", "x" * 3_000 + f" the Parcel {fresh} is lost " + "y" * 3_000)
    await api.send(other, "carol", f"which parcel? {fresh}")
    await api.send("bob:carol", "bob", f"not hers: parcel {fresh}")
    async with as_alice() as asked:
        found = await asked.call("search_messages", query=f"{fresh} parcel")
        assert {(hit["key"], hit["seq"]) for hit in found["messages"]} == {(key, 1), (other, 1)}
        assert found["cursor"] is None
        long = next(hit["text"] for hit in found["messages"] if hit["key"] == key)
        assert f"the Parcel {fresh} is lost" in long
        assert len(long) < 520
        only = await asked.call("search_messages", query=fresh, key=other)
        assert [hit["key"] for hit in only["messages"]] == [other]
        page = await asked.call("search_messages", query=fresh, limit=1)
        rest = await asked.call("search_messages", query=fresh, cursor=page["cursor"])
        assert {hit["key"] for hit in page["messages"] + rest["messages"]} == {key, other}


async def test_a_person_takes_over(as_alice: As, api: Api, alice: str, fresh: str) -> None:
    group = f"desk-{fresh}"
    await api.group(group, alice, "bob", "echo-bot")
    async with as_alice() as asked:
        found = await asked.call("get_conversation", key=group)
        assert (found["kind"], found["state"], found["handed_to"]) == ("group", "open", None)
        assert {(one["id"], one["kind"]) for one in found["participants"]} == {
            *((alice, "user"), ("bob", "user"), ("echo-bot", "agent"))
        }
        assert (await asked.call("hand_off", key=group, to="bob"))["handed_to"] == "bob"
        assert (await asked.call("hand_off", key=group, to=None))["handed_to"] is None
        assert "participant_not_found: " in await asked.fails("hand_off", key=group, to=f"nobody-{fresh}")
        await api.send(f"carol-{fresh}:bob", "bob", "hello")
        assert "not_a_member: " in await asked.fails("hand_off", key=group, to=f"carol-{fresh}")


async def test_errors_name_their_code(as_alice: As, api: Api, alice: str, fresh: str) -> None:
    await api.send(f"bob-{fresh}:carol", "carol", "a secret")
    async with as_alice() as asked:
        assert "not_a_member: " in await asked.fails("send_message", key=f"bob-{fresh}:carol", text="hi")
        assert "not_found: " in await asked.fails("read_conversation", key=f"nothing-{fresh}")
        assert "not_found: " in await asked.fails("read_conversation", key="../../agents")
        assert "text" in await asked.fails("send_message", key=f"{alice}:bob")
        assert "limit" in await asked.fails("read_conversation", key=f"{alice}:bob", limit=1_000)
        assert "too_large: " in await asked.fails("send_message", key=f"{alice}:bob", text="x" * 40_000)
        await asked.call("send_message", key=f"{alice}:bob", text="still alive")


async def test_a_token_says_who(guarded: Stack, alice: str, fresh: str) -> None:
    url = guarded.web[0]
    key = guarded.manage(
        "createapikey", f"mcp-{fresh}", "--scope", "read", "--scope", "write", "--scope", "admin"
    ).strip()
    async with Api([url], key) as api:
        await api.send(f"{alice}:bob", "bob", "hi")
        token = (await api.call("POST", "tokens", {"participant_id": alice}))["token"]
    async with model(url, FLEETLM_TOKEN=token) as asked:
        assert (await asked.call("list_conversations"))["participant_id"] == alice
        await asked.call("send_message", key=f"{alice}:bob", text="hello")
        assert "not_a_member: " in await asked.fails("read_conversation", key="bob:carol")
    async with model(url, "--as", alice, FLEETLM_TOKEN=key) as asked:
        log = await asked.call("read_conversation", key=f"{alice}:bob")
        assert [one["sender_id"] for one in log["messages"]] == ["bob", alice]
    async with model(url, "--as", alice, FLEETLM_TOKEN="flk_wrong") as asked:
        assert "not_authenticated: " in await asked.fails("list_conversations")


async def test_without_a_server_it_says_so() -> None:
    async with model(f"http://{HOST}:{free_port(HOST)}", "--as", "alice") as asked:
        assert "unreachable: " in await asked.fails("list_conversations")


def test_it_ends_with_its_input(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, *command(stack.web[0], "--as", "alice")],
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nobody_is_refused_at_once(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, *command(stack.web[0])],
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={"PATH": "", "HOME": "/nonexistent"},
    )
    assert done.returncode != 0
    assert done.stdout == "", "nothing but the protocol belongs there"
    assert "Say who you are" in done.stderr
    assert "Traceback" not in done.stderr


def test_our_package_does_not_stand_before_the_protocols() -> None:
    program = "import fleetlm_client.mcp, mcp; assert 'fleetlm_client' not in mcp.__file__; mcp.Client"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=PATIENCE)
