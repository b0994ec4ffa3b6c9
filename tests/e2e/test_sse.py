"""The event streams, followed with curl across processes."""

import asyncio
import time

import pytest

from tests.e2e.event_stream import event_stream
from tests.e2e.rest import Api, Refused
from tests.e2e.stack import Stack
from tests.e2e.talk import talk

pytestmark = pytest.mark.usefixtures("curl")


async def test_a_conversation_is_followed_and_resumed_without_a_hole_or_a_repeat(
    stack: Stack, api: Api, fresh: str
) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    await api.send(key, alice, "first")
    url = f"/api/conversations/{key}/events"
    async with event_stream(f"{stack.web[1]}{url}?after=0") as stream:
        ready = await stream.event("ready")
        assert (ready["recovered"], ready["last_seq"]) == (True, 1)
        await stream.seq(1)
        await talk(api, key, alice, 50)
        await stream.seq(51)
        stream.kill()
        await stream.event("end")
    seen, last_id = stream.seqs, stream.last_id
    assert last_id == f"{ready['epoch']}:51"

    await talk(api, key, alice, 600)
    meanwhile = asyncio.create_task(talk(api, key, alice, 300))
    async with event_stream(f"{stack.web[0]}{url}", last_event_id=last_id) as stream:
        assert (await stream.event("ready"))["recovered"] is True
        await meanwhile
        await stream.seq(951)
    assert seen + stream.seqs == list(range(1, 952))


async def test_a_log_of_large_messages_can_be_resumed(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    for _ in range(5):
        await asyncio.gather(*(api.send(key, alice, "x" * 30_000) for _ in range(20)))
    async with event_stream(f"{stack.web[0]}/api/conversations/{key}/events?after=0") as stream:
        await stream.seq(100)
    assert stream.seqs == list(range(1, 101))


async def test_a_stream_without_a_place_is_live(stack: Stack, api: Api, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    await api.send(key, alice, "before")
    async with event_stream(f"{stack.web[0]}/api/conversations/{key}/events") as stream:
        await stream.event("ready")
        await api.send(key, alice, "hello", web=1)
        assert (await stream.seq(2))["text"] == "hello"
    assert stream.seqs == [2]


async def test_an_inbox_is_followed(stack: Stack, api: Api, fresh: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    key = f"{alice}:{bob}"
    await api.send(key, alice, "first")
    async with event_stream(f"{stack.web[1]}/api/inbox/{bob}/events") as stream:
        [entry] = (await stream.event("snapshot"))["conversations"]
        assert (entry["key"], entry["unread_count"]) == (key, 1)
        await api.send(key, alice, "second", web=0)
        tick = await stream.event("tick")
    assert [(one["key"], one["unread_count"]) for one in tick["updates"]] == [(key, 2)]
    assert tick["updates"][0]["last_message"]["text"] == "second"


async def test_a_long_poll_is_answered_as_soon_as_the_message_comes(
    stack: Stack, api: Api, fresh: str
) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    await api.send(key, alice, "first")
    for web in (0, 1):
        last = (await api.log(key))[-1]["seq"]
        path = f"conversations/{key}/messages?after={last}&wait=20"
        poll = asyncio.create_task(api.call("GET", path, web=web))
        # The poll follows the conversation from now on at the latest: this one is answered after it.
        assert (await api.call("GET", f"conversations/{key}/messages?after={last}&wait=0.3", web=web))[
            "messages"
        ] == []
        assert not poll.done()
        began = time.monotonic()
        await api.send(key, alice, f"for {web}", web=1 - web)
        page = await poll
        assert time.monotonic() - began < 1.0
        assert [message["text"] for message in page["messages"]] == [f"for {web}"]
        assert page["last_seq"] == last + 1


async def test_an_outsider_is_refused(guarded: Stack, fresh: str) -> None:
    key = f"alice-{fresh}:bob-{fresh}"
    credential = guarded.manage("createapikey", "e2e", "--scope", "read", "--scope", "write").strip()
    async with Api(guarded.web, credential) as server:
        await server.send(key, f"alice-{fresh}", "hello")
        minted = await server.call("POST", "tokens", {"participant_id": f"eve-{fresh}", "ttl": 60})
    async with Api(guarded.web, minted["token"]) as eve:
        for path in (
            f"conversations/{key}/events",
            f"conversations/{key}/messages",
            f"inbox/bob-{fresh}/events",
        ):
            with pytest.raises(Refused) as refusal:
                await eve.call("GET", path)
            assert refusal.value.status in {403, 404}
    async with Api(guarded.web) as nobody:
        with pytest.raises(Refused) as refusal:
            await nobody.call("GET", f"conversations/{key}/events")
        assert refusal.value.status == 401


async def test_a_stream_ends_with_its_token_however_busy_it_is(guarded: Stack, fresh: str) -> None:
    alice = f"alice-{fresh}"
    key = f"{alice}:bob-{fresh}"
    credential = guarded.manage("createapikey", "e2e", "--scope", "read", "--scope", "write").strip()
    async with Api(guarded.web, credential) as server:
        await server.send(key, alice, "hello")
        minted = await server.call("POST", "tokens", {"participant_id": alice, "ttl": 1})
        url = f"{guarded.web[0]}/api/conversations/{key}/events?token={minted['token']}"
        async with event_stream(url) as stream:
            await stream.event("ready")
            began = time.monotonic()
            while not stream.payloads("end") and time.monotonic() - began < 12:
                await server.send(key, alice, "and on")
                await asyncio.sleep(0.05)
            assert await stream.event("end", 1) == 0
    assert stream.payloads("error")[0]["error"]["code"] == "token_expired"
