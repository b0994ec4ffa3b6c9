"""The terminal chat against the real server."""

import asyncio

from tests.e2e.cli.screen import chatting
from tests.e2e.rest import Api
from tests.e2e.stack import Stack
from tests.e2e.streaming_agent import streaming_agent

People = tuple[str, str, str]


async def unread(api: Api, participant: str, key: str) -> int:
    inbox = await api.call("GET", f"inbox/{participant}")
    return next(int(one["unread_count"]) for one in inbox["conversations"] if one["key"] == key)


async def test_two_people_talk_and_see_each_other(stack: Stack, people: People) -> None:
    alice, bob, key = people
    async with chatting(stack.web[0], alice, key) as one, chatting(stack.web[1], bob, key, (80, 24)) as two:
        await one.shows("online", f"{bob} is here")
        await two.shows("online", f"{alice} is here")
        await one.pilot.press(*"Hello?")
        await two.shows(f"{alice} is typing …")
        await one.pilot.press("ctrl+j", *"It is me.", "enter")
        await two.shows("Hello?", "It is me.")
        await two.until(lambda shown: "is typing" not in shown)
        await two.write("\x1b[2JGood morning!")
        await one.shows("·[2JGood morning!")
        await one.until(lambda shown: "sending …" not in shown)


async def test_an_answer_grows_and_is_stopped(stack: Stack, api: Api, fresh: str) -> None:
    agent, key = f"slow-{fresh}", f"alice-{fresh}:slow-{fresh}"
    async with streaming_agent() as slow, chatting(stack.web[0], f"alice-{fresh}", key) as screen:
        await api.call("POST", "agents", {"id": agent, "url": slow.url})
        await screen.write("tell me a story")
        call = await slow.call()
        await screen.shows(f"{agent} is typing …")
        call.say("Once upon ")
        await screen.shows("Once upon", "esc stops it")
        call.say("a time")
        await screen.shows("Once upon a time")
        await screen.pilot.press("escape")
        async with asyncio.timeout(20):
            await call.hung_up.wait()
        await screen.shows("Once upon a time", "cancelled")
        await screen.until(lambda shown: "esc stops it" not in shown and "is typing" not in shown)
        log = await api.log(key)
        assert [one["text"] for one in log] == ["tell me a story", "Once upon a time"]


async def test_what_is_new_is_marked_and_read_while_one_looks(stack: Stack, api: Api, people: People) -> None:
    alice, bob, key = people
    await api.send(key, alice, "before")
    await api.send(key, bob, "while you were away")
    async with chatting(stack.web[0], alice, key, (80, 24)) as screen:
        text = await screen.shows("while you were away")
        assert text.index("before") < text.index(" new ") < text.index("while you were away")
        async with asyncio.timeout(20):
            while await unread(api, alice, key):
                await screen.pilot.pause(0.02)
        screen.app.on_app_blur(None)  # type: ignore[arg-type]
        await api.send(key, bob, "unseen")
        await screen.shows("unseen")
        await screen.pilot.pause(0.2)
        assert await unread(api, alice, key) == 1
        await screen.write("I am back")
        await screen.until(lambda shown: " new " not in shown)


async def test_older_messages_come_when_one_scrolls_up(stack: Stack, api: Api, people: People) -> None:
    alice, bob, key = people
    batch = [{"sender_id": bob, "text": f"number {n:03}"} for n in range(1, 101)]
    for _ in range(2):
        await api.send(key, bob, "made")
        await api.call("POST", f"conversations/{key}/messages/batch", {"messages": batch})
    async with chatting(stack.web[0], alice, key, (80, 24)) as screen:
        await screen.shows("number 100")
        for oldest in (153, 103, 53, 3, 1):
            await screen.until(lambda _, seq=oldest: screen.app.room.transcript.messages[0]["seq"] == seq)
            await screen.pilot.press("ctrl+home")
        await screen.shows("the beginning of the conversation", "made", "number 001")
        assert [one["seq"] for one in screen.app.room.transcript.messages] == list(range(1, 203))
        await api.send(key, bob, "and now this")
        await screen.until(lambda _: screen.app.room.transcript.last_seq == 203)
        await screen.shows("number 001")
        await screen.pilot.press("ctrl+end")
        await screen.shows("and now this")


async def test_what_is_refused_can_be_sent_again_or_taken_back(
    stack: Stack, api: Api, people: People
) -> None:
    alice, bob, key = people
    await api.send(key, bob, "hello")
    async with chatting(stack.web[0], alice, key) as screen:
        await screen.shows("hello")
        await api.call("POST", f"conversations/{key}/close")
        await screen.write("too late")
        await screen.shows("too late", "not sent:")
        await api.call("POST", f"conversations/{key}/reopen")
        await screen.pilot.press("ctrl+r")
        await screen.until(lambda shown: "not sent:" not in shown and "sending …" not in shown)
        await screen.write("x" * 40_000)
        await screen.shows("not sent:")
        await screen.pilot.press("ctrl+t")
        await screen.until(lambda shown: "not sent:" not in shown)
        assert len(screen.app.composer.text) == 40_000
    assert [one["text"] for one in await api.log(key)] == ["hello", "too late"]


async def test_what_is_sent_while_the_server_is_away_goes_out_in_order(
    stack: Stack, api: Api, people: People
) -> None:
    alice, _, key = people
    async with chatting(stack.web[0], alice, key) as screen:
        await screen.write("one")
        await screen.until(lambda shown: "one" in shown and "sending …" not in shown)
        stack.kill("web0")
        await screen.shows("offline")
        for text in ("two", "three", "four"):
            await screen.write(text)
        await screen.shows("four", "sending …")
        stack.restart("web0")  # not in a thread: it would end with it
        await screen.shows("online")
        await screen.until(lambda shown: "sending …" not in shown)
    assert [one["text"] for one in await api.log(key, web=1)] == ["one", "two", "three", "four"]


async def test_the_list_shows_what_is_unread_and_switches(
    stack: Stack, api: Api, people: People, fresh: str
) -> None:
    alice, bob, key = people
    other = f"{alice}:carol-{fresh}"
    await api.send(key, bob, "from bob")
    await api.send(other, f"carol-{fresh}", "from carol")
    async with chatting(stack.web[0], alice, key) as screen:
        await screen.shows("from bob", f"carol-{fresh}")
        await api.send(other, f"carol-{fresh}", "and again")
        await screen.until(lambda shown: "2" in shown.split())
        await screen.pilot.press("ctrl+n")
        await screen.shows("from carol", "and again", f"rite to carol-{fresh}")
        await screen.until(lambda shown: "2" not in shown.split())
        await screen.pilot.press("ctrl+p")
        await screen.shows(f"rite to {bob}")
        await screen.pilot.resize_terminal(60, 24)
        await screen.until(lambda shown: f"carol-{fresh}" not in shown)
        await screen.pilot.press("ctrl+b")
        await screen.shows(f"carol-{fresh}")
        await screen.pilot.press("escape", "ctrl+o", *f"dave-{fresh}", "enter")
        await screen.shows(f"rite to dave-{fresh}")


async def test_the_keys_are_said_and_a_removed_member_is_told(
    stack: Stack, api: Api, people: People, fresh: str
) -> None:
    alice, bob, _ = people
    key = f"ops-{fresh}"
    await api.group(key, alice, bob)
    async with chatting(stack.web[0], alice, key) as screen:
        await screen.shows("online")
        await screen.pilot.press("?")
        await screen.shows("stop the answer", "new line")
        await screen.pilot.press("?")
        await screen.until(lambda shown: "new line" not in shown)
        assert screen.app.composer.text == "?"
        await api.call("DELETE", f"conversations/{key}/participants/{alice}")
        await screen.shows("You are no member of this conversation any more.")
