"""The client without `await`."""

import asyncio
import signal
import subprocess
import sys
import threading

import pytest
from fleetlm_client import FleetLM, FleetLMError, Joined, MessageEvent

from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.python_sdk.watching import QUICK
from tests.e2e.rest import Api
from tests.e2e.stack import Stack


def test_the_same_without_await(stack: Stack, alice: str, bob: str, dm: str, fresh: str) -> None:
    with (
        FleetLM(stack.web[0], participant_id=alice) as fleet,
        FleetLM(stack.web[1], participant_id=bob) as other,
    ):
        conversation = fleet.conversation(dm)
        assert (conversation.key, fleet.participant_id, fleet.identify()) == (dm, alice, alice)
        assert conversation.send("one").seq == 1
        assert [message.text for message in conversation.history().messages] == ["one"]
        messages = other.conversation(dm).messages(after=0)
        assert next(messages).text == "one"
        threading.Thread(target=conversation.send, args=("two",)).start()
        assert next(messages).text == "two"
        messages.close()
        seen = []
        for event in conversation.events(limit=1):
            seen.append(type(event))
            if isinstance(event, MessageEvent):
                assert event.message.text == "two"
                break
        assert seen == [Joined, MessageEvent]
        assert fleet.status == "online"
        assert next(fleet.follow_inbox()).entries[0].key == dm
        assert fleet.inbox()[0].unread_count == 0
        assert conversation.read() == 2
        conversation.typing()
        assert fleet.create_conversation(f"group-{fresh}", participants=[alice]).key == f"group-{fresh}"
        assert {one.key for one in fleet.conversations().conversations} == {dm, f"group-{fresh}"}
        with pytest.raises(FleetLMError, match="There is no conversation") as missing:
            fleet.conversation(f"none-{fresh}").info()
        assert missing.value.code == "conversation_not_found"
    with pytest.raises(FleetLMError) as closed:
        conversation.send("too late")
    assert closed.value.code == "closed"
    assert not [thread for thread in threading.enumerate() if "AnyIO" in thread.name]


async def test_losses_are_repaired(api: Api, network: FaultyProxy, alice: str, bob: str, dm: str) -> None:
    seen: list[int] = []

    def follow() -> None:
        with FleetLM(network.url, participant_id=alice, timing=QUICK) as fleet:
            for message in fleet.conversation(dm).messages(after=0):
                seen.append(message.seq)
                if message.text == "last":
                    return

    following = asyncio.create_task(asyncio.to_thread(follow))
    for number in range(60):
        await api.send(dm, bob, str(number))
        if number % 20 == 10:
            network.cut()
    await api.send(dm, bob, "last")
    async with asyncio.timeout(15):
        await following
    assert seen == list(range(1, 62))


def test_an_interrupt_ends_the_waiting(stack: Stack, alice: str, bob: str, dm: str) -> None:
    program = f"""
from fleetlm_client import FleetLM
with FleetLM({stack.web[0]!r}, participant_id={alice!r}) as fleet:
    try:
        for event in fleet.conversation({dm!r}).events():
            print(type(event).__name__, flush=True)
    except KeyboardInterrupt:
        print("interrupted", fleet.conversation({dm!r}).send("still works").seq, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Joined\n"
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=15)
    assert printed.splitlines()[-1] == "interrupted 1"
    assert process.returncode == 0
