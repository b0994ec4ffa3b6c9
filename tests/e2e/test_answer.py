"""Someone writes to an agent by curl and is answered, whatever happens to the dispatcher."""

import asyncio
import json
import time
import urllib.request
from typing import Any

import psycopg

from tests.e2e.event_stream import event_stream
from tests.e2e.phoenix import Phoenix
from tests.e2e.rest import Api
from tests.e2e.stack import Stack

ECHO = "echo-bot"


async def test_curl_is_answered_within_a_second(
    stack: Stack, phoenix: Phoenix, api: Api, fresh: str, curl: str
) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:{ECHO}"
    channel = await (await phoenix.connect(stack.web[1], participant_id=alice)).join(f"conversation:{key}")
    async with event_stream(f"{stack.web[1]}/api/conversations/{key}/events?after=0") as stream:
        await stream.event("ready")
        # Once without a clock: everything is connected then.
        await _curl(curl, stack.web[0], key, alice, "warm up")
        await channel.seq(2)

        began = time.monotonic()
        posted = await _curl(curl, stack.web[0], key, alice, "Where is my parcel?")
        answer = await channel.seq(4)
        took = time.monotonic() - began

        assert (posted["seq"], posted["sender_id"], posted["dm_key"]) == (3, alice, key)
        assert (answer["sender_id"], answer["text"]) == (ECHO, "You said: Where is my parcel?")
        assert took < 1.0
        assert await stream.seq(4) == answer
    assert (await api.log(key))[-1] == answer
    assert channel.seqs == stream.seqs == [1, 2, 3, 4]
    with urllib.request.urlopen(stack.dispatcher_metrics) as metrics:  # noqa: ASYNC210  # once, at the end
        counted = [line for line in metrics.read().decode().splitlines() if "deliveries_total" in line]
    assert any('outcome="answered"' in line and float(line.split()[-1]) >= 2 for line in counted)


async def test_what_waited_for_a_killed_dispatcher_is_answered_once(
    stack: Stack, api: Api, fresh: str
) -> None:
    keys = [f"alice-{fresh}-{number}:{ECHO}" for number in range(5)]
    stack.kill("dispatcher")
    for key in keys:
        await api.send(key, key.partition(":")[0], "anyone?")
    stack.restart("dispatcher")
    for key in keys:
        assert await _answers(api, key, 1) == ["You said: anyone?"]
    # A second question is answered next: nothing of the first is left over.
    for key in keys:
        await api.send(key, key.partition(":")[0], "again?")
        assert await _answers(api, key, 2) == ["You said: anyone?", "You said: again?"]


async def test_a_dispatcher_killed_in_the_middle_of_a_call_leaves_one_answer(
    stack: Stack, api: Api, fresh: str
) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:{ECHO}"
    with stack.frozen("agent"):
        await api.send(key, alice, "anyone?")
        await _in_flight(stack, key)
        stack.kill("dispatcher")
    stack.restart("dispatcher")
    # The dead one's lease has to run out first.
    assert await _answers(api, key, 1) == ["You said: anyone?"]
    await api.send(key, alice, "again?")
    assert await _answers(api, key, 2) == ["You said: anyone?", "You said: again?"]


async def test_an_agent_that_was_away_is_called_again(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:{ECHO}"
    stack.kill("agent")
    await api.send(key, alice, "anyone?")
    stack.restart("agent")
    assert await _answers(api, key, 1) == ["You said: anyone?"]


async def _curl(curl: str, web: str, key: str, sender: str, text: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(curl, "--silent", "--show-error", "--fail-with-body", "-H", "content-type: application/json"),
        *("-d", json.dumps({"sender_id": sender, "text": text})),
        f"{web}/api/conversations/{key}/messages",
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return json.loads(printed)


async def _answers(api: Api, key: str, count: int) -> list[str]:
    """Wait until the agent has spoken so often; all that it has said."""
    after, said = 0, []
    async with asyncio.timeout(20):
        while len(said) < count:
            page = await api.call("GET", f"conversations/{key}/messages?after={after}&wait=10")
            said += [message["text"] for message in page["messages"] if message["sender_id"] == ECHO]
            after = page["last_seq"]
    return said


async def _in_flight(stack: Stack, key: str) -> None:
    """Wait until the stack's dispatcher holds a lease on this conversation."""
    async with (
        asyncio.timeout(10),
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
    ):
        while True:
            found = await connection.execute(
                "SELECT 1 FROM agents_deliverystream s JOIN conversations_conversation c ON c.id = s.conversation_id"
                " WHERE c.key = %s AND s.lease_id IS NOT NULL",
                [key],
            )
            if await found.fetchone():
                return
            await asyncio.sleep(0.02)  # there is nothing to await: only the row tells
