"""Typing said over REST, as it is shown on sockets and event streams, here and in other processes."""

import asyncio
from typing import Any

import pytest

from runtime import typing_state
from runtime.core import Runtime
from tests.integration.live import Recorder, find_view, make_group
from tests.integration.server import Client, Events, unique

pytestmark = pytest.mark.usefixtures("healthy")


def path(key: str) -> str:
    return f"/api/conversations/{key}/typing"


def next_typing(events: Events) -> Any:
    while (event := events.next())[0] != "typing":
        pass
    return event[1]


def test_sockets_and_streams_show_it(api: Client) -> None:
    one, other = unique("one"), unique("other")
    key = api.group(one, other)
    reader = api.token(other)
    with reader.socket() as socket, reader.events(f"/api/conversations/{key}/events") as events:
        socket.join(f"conversation:{key}")
        assert events.next()[0] == "ready"
        for on in (True, False):
            assert api.token(one).ok("POST", path(key), {"on": on}) == {}
            shown = {"participant_id": one, "on": on}
            assert (socket.wait_for("typing"), next_typing(events)) == (shown, shown)
        api.ok("POST", path(key), {"on": True, "participant_id": one})
        with reader.events(f"/api/conversations/{key}/events") as late:
            assert next_typing(late) == {"participant_id": one, "on": True}


async def test_other_processes_show_it_and_let_it_end_by_itself(
    api: Client, here: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing_state, "TYPING_SECONDS", 0.1)
    group = await make_group(1)
    view = await find_view(here.pool, group)
    session = here.sessions.open(view)
    listener = Recorder(session=session)
    session.add(listener, view.version)
    await session.follow(listener, session.last_seq)
    told = [{"participant_id": group.people[0], "on": on} for on in (True, False)]

    def say() -> None:
        api.token(group.people[0]).ok("POST", path(group.key), {"on": True})

    async with asyncio.timeout(10):
        while not listener.payloads("typing"):  # its process may not listen to this conversation yet
            await asyncio.to_thread(say)
    await listener.until(lambda one: one.payloads("typing")[:2] == told)


def test_only_members_who_may_write_type(api: Client) -> None:
    one, outsider = unique("one"), unique("out")
    key, on = api.group(one), {"on": True}
    assert api.token(outsider).post(path(key), on).verdict == (403, "not_a_member")
    assert api.token(one, conversations=["elsewhere"]).post(path(key), on).verdict == (403, "not_a_member")
    assert api.token(one).post(path(key), on | {"participant_id": outsider}).verdict == (403, "not_allowed")
    assert api.post(path(key), on | {"participant_id": outsider}).verdict == (403, "not_a_member")
    assert api.post(path(key), on).verdict == (400, "invalid_request")
    assert api.token(one).post(path(key)).verdict == (400, "invalid_request")
    assert api.post(path(unique()), on | {"participant_id": one}).verdict == (404, "conversation_not_found")


def test_nobody_types_in_a_broadcast(api: Client) -> None:
    admin = unique("admin")
    key = api.group({"id": admin, "role": "admin"}, kind="broadcast")  # type: ignore[arg-type]
    assert api.token(admin).post(path(key), {"on": True}).verdict == (400, "invalid_request")
    assert api.token(unique()).post(path(key), {"on": True}).verdict == (403, "not_a_member")
