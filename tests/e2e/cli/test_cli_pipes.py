"""`fleetlm` for programs: JSON lines in and out, exit codes, and a server that goes away."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

from fleetlm_client.cli.profiles import Profile, Profiles, config_path

from tests.e2e.cli.command import FLEETLM, MANAGE, PATIENCE, Command, read_lines
from tests.e2e.rest import Api
from tests.e2e.stack import ROOT, Stack

People = tuple[str, str, str]


async def test_sending_reading_and_errors(fleetlm: Command, people: People) -> None:
    alice, bob, key = people
    sent = await fleetlm.run("send", key, "--as", alice, "--client-id", "once", "hello")
    assert (sent.code, sent.errors) == (0, "")
    assert (sent.line["seq"], sent.line["sender_id"], sent.line["text"]) == (1, alice, "hello")
    again = await fleetlm.run("--as", alice, "send", key, "--client-id", "once", "hello")
    assert (again.line["id"], again.line["deduplicated"]) == (sent.line["id"], True)
    await fleetlm.run("send", key, "--as", bob, "-", "--reply-to", "1", given="from\na pipe")

    log = await fleetlm.run("history", key, "--as", alice, "--limit", "1000")
    assert [(one["text"], one["reply_to"]) for one in log.lines] == [("hello", None), ("from\na pipe", 1)]
    assert (await fleetlm.run("replay", key)).lines == log.lines
    assert (await fleetlm.run("replay", key, "--after", "1")).lines == log.lines[1:]

    entry = (await fleetlm.run("inbox", "--as", alice)).line
    assert (entry["key"], entry["unread_count"]) == (key, 1)
    assert (await fleetlm.run("read", key, "--as", alice)).line == {"participant_id": alice, "seq": 2}
    assert (await fleetlm.run("inbox", "--as", alice)).line["unread_count"] == 0


async def test_a_key_and_a_token_say_who_one_is(guarded: Stack, tmp_path: Path, people: People) -> None:
    alice, bob, key = people
    scopes = ("--scope", "read", "--scope", "write")
    secret = (await asyncio.to_thread(guarded.manage, "createapikey", "cli", *scopes)).strip()
    server = Command(tmp_path, guarded.web[0], FLEETLM_TOKEN=secret)
    await server.run("send", key, "--as", bob, "for alice")
    minted = (await server.run("token", alice, "--conversation", key)).line
    person = Command(tmp_path, guarded.web[0], FLEETLM_TOKEN=minted["token"])
    assert (await person.run("send", key, "mine")).line["sender_id"] == alice
    talked = await person.run("chat", key, "--last", "2", given="over the socket")
    assert [(one["sender_id"], one["text"]) for one in talked.lines] == [
        (bob, "for alice"), (alice, "mine"), (alice, "over the socket"),
    ]  # fmt: skip
    refused = await person.run("agents", "list")
    assert (refused.code, refused.error["code"]) == (1, "not_allowed")
    wrong = Command(tmp_path, guarded.web[0], FLEETLM_TOKEN="flk_wrong")
    for arguments in (("tail", key, "--as", alice), ("history", key)):
        done = await wrong.run(*arguments)
        assert (done.code, done.error["code"]) == (1, "not_authenticated")


async def test_a_program_talks_over_pipes(fleetlm: Command, people: People) -> None:
    alice, bob, key = people
    given = 'plain text\n\n{"text": "a message", "metadata": {"n": 1}}\n{"text": 7}\nlast'
    done = await fleetlm.run("chat", alice, bob, given=given)
    assert (done.code, done.error["code"]) == (1, "invalid_request")
    assert [one["text"] for one in done.lines] == ["plain text", "a message", "last"]
    assert done.lines[1]["metadata"] == {"n": 1}
    assert {one["conversation"] for one in done.lines} == {key}

    done = await fleetlm.run("chat", key, "--as", bob, "--last", "2", "--wait", "0.2", given="hi")
    assert (done.code, done.errors) == (0, "")
    assert [one["text"] for one in done.lines] == ["a message", "last", "hi"]


async def test_a_program_gets_the_answer_to_its_last_line(fleetlm: Command, people: People) -> None:
    person, other, _ = people
    one = await fleetlm.run("chat", person, "echo-bot", given="one\n")
    assert (one.code, one.errors) == (0, "")
    assert [(said["sender_id"], said["text"]) for said in one.lines] == [
        (person, "one"), ("echo-bot", "You said: one"),
    ]  # fmt: skip
    many = await fleetlm.run("chat", f"{person}:echo-bot", "--as", person, "--last", "0", given="a\nb\nc")
    assert many.code == 0
    assert (many.lines[-1]["sender_id"], many.lines[-1]["text"]) == ("echo-bot", "You said: c")
    assert [said["text"] for said in many.lines if said["sender_id"] == person] == ["a", "b", "c"]

    asked = await fleetlm.run("send", f"{person}:echo-bot", "--as", person, "--wait-answer", "and now?")
    assert (asked.code, [said["text"] for said in asked.lines]) == (0, ["and now?", "You said: and now?"])
    alone = await fleetlm.run("send", f"{person}:{other}", "--as", person, "--wait-answer", "anyone?")
    assert (alone.code, alone.line["text"]) == (4, "anyone?")


async def test_tail_and_chat_go_on_when_the_server_is_killed(
    fleetlm: Command, stack: Stack, people: People
) -> None:
    alice, bob, key = people
    async with Api(stack.web) as api:
        await api.send(key, bob, "0", web=1)
        tail = await fleetlm.start("tail", key, "--as", bob, "--after", "0")
        chat = await fleetlm.start("chat", alice, bob, "--last", "1", "--wait", "0.2")
        seen = await read_lines(tail, 1)
        assert await read_lines(chat, 1) == seen
        stack.kill("web0")
        assert chat.stdin is not None
        chat.stdin.write(b"said while nobody listens\n")
        for number in range(50):
            await api.send(key, bob, str(number), web=1)
        stack.restart("web0")  # not in a thread: it would end with it
        for number in range(50, 100):
            await api.send(key, bob, str(number), web=1)
        chat.stdin.write_eof()
        seen += await read_lines(tail, 101)
        talked = await read_lines(chat, 101)
        assert await asyncio.wait_for(chat.wait(), 60) == 0
    assert [one["seq"] for one in seen] == list(range(1, 103))
    assert talked == seen[1:]
    assert sum(one["sender_id"] == alice for one in seen) == 1


async def test_an_inbox_is_followed(fleetlm: Command, people: People) -> None:
    alice, bob, key = people
    await fleetlm.run("send", key, "--as", alice, "one")
    inbox = await fleetlm.start("inbox", "--as", bob, "--follow")
    (entry,) = await read_lines(inbox, 1)
    assert (entry["key"], entry["unread_count"]) == (key, 1)
    await fleetlm.run("send", key, "--as", alice, "two")
    (entry,) = await read_lines(inbox, 1)
    assert (entry["unread_count"], entry["last_message"]["text"]) == (2, "two")
    await fleetlm.run("conversations", "archive", key)
    assert await read_lines(inbox, 1) == [{"key": key, "removed": True}]


async def test_whoever_stops_reading_ends_it_quietly(fleetlm: Command, people: People) -> None:
    alice, _, key = people
    for text in ("one", "two"):
        await fleetlm.run("send", key, "--as", alice, text)
    shell = await asyncio.create_subprocess_shell(
        f"{' '.join(FLEETLM)} history {key} | true",
        cwd=ROOT,
        env=fleetlm.environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await shell.communicate()
    assert errors == b""


async def test_the_door_of_the_server_is_the_same_command(
    stack: Stack, tmp_path: Path, people: People
) -> None:
    alice, bob, key = people
    Profiles(
        config_path({"XDG_CONFIG_HOME": str(tmp_path)}), "other", {"other": Profile("http://127.0.0.1:9")}
    ).save()
    door = Command(tmp_path, "", MANAGE)
    door.environment |= stack.environment | {"PORT": stack.web[0].rsplit(":", 1)[1]}
    sent = await door.run("send", key, "--as", alice, "hello from a terminal")
    assert (sent.code, sent.line["text"]) == (0, "hello from a terminal")
    tail = await door.start("tail", key, "--as", bob)
    done = await asyncio.gather(
        door.run("history", key, "--as", bob),
        door.run("chat", key, "--as", bob, "--last", "1"),
        door.run("inbox", "--as", bob),
        door.run("send", "nope", "--as", bob, "text"),
    )
    assert [one.code for one in done] == [0, 0, 0, 1]
    assert [done[0].line["id"], done[1].line["id"], done[2].line["key"]] == [
        sent.line["id"],
        sent.line["id"],
        key,
    ]
    assert (await read_lines(tail, 1))[0]["id"] == sent.line["id"]
    await door.close()


async def test_a_shell_completes_verbs_keys_and_agents(
    fleetlm: Command, people: People, tmp_path: Path
) -> None:
    alice, _, key = people
    await fleetlm.run("send", key, "--as", alice, "hello")
    program = tmp_path / "bin" / "fleetlm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(FLEETLM)} "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{fleetlm.environment['PATH']}"

    async def complete(*words: str) -> list[str]:
        """What bash offers for the next word, by the script that is printed for it."""
        script = f"""
            eval "$(fleetlm completion bash)"
            COMP_WORDS=(fleetlm {" ".join(words)} ""); COMP_CWORD={len(words) + 1}
            _fleetlm_completion fleetlm; printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        environment = {**fleetlm.environment, "PATH": path}
        shell = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=ROOT, env=environment, stdout=PIPE
        )
        output, _ = await shell.communicate()
        return output.decode().split()

    assert {"chat", "send", "agents"} <= set(await complete())
    async with asyncio.timeout(PATIENCE):  # a slow machine gets no suggestions at first
        while await complete("--as", alice, "tail") != [key]:
            pass
        while "echo-bot" not in await complete("agents", "show"):
            pass
    fleetlm.environment["FLEETLM_URL"] = "http://127.0.0.1:9"
    assert await complete("agents", "show") == []
