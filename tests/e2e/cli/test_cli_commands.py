"""`fleetlm` for what is REST: conversations, agents, search, profiles; and how each command fails."""

import json
from pathlib import Path

import pytest

from runtime.ports import free_port
from tests.e2e.cli.in_process import InProcess
from tests.e2e.stack import Stack

People = tuple[str, str, str]


@pytest.fixture
def fleetlm(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> InProcess:
    """`fleetlm`, in open mode, with no profiles."""
    return InProcess(tmp_path, stack.web[0], monkeypatch, capsys)


def test_each_failure_has_its_exit_code_and_one_object(fleetlm: InProcess, fresh: str) -> None:
    for arguments in (
        ("history", "nope"),
        ("tail", "nope"),
        ("send", "nope", "text"),
        ("chat", f"nope-{fresh}"),
    ):
        done = fleetlm(*arguments, "--as", "alice")
        assert (done.code, done.output) == (1, "")
        assert done.error["code"] in ("conversation_not_found", "not_a_member")

    misunderstood = [
        ("send",),
        ("nope",),
        ("inbox",),
        ("--profile", "nope", "inbox"),
        ("inbox", "--kin", "x"),
    ]
    for arguments in misunderstood:
        done = fleetlm(*arguments)
        assert (done.code, done.output, done.error["code"]) == (2, "", "usage")


@pytest.mark.parametrize(
    "arguments", [("status",), ("history", "ops"), ("tail", "ops"), ("chat", "alice", "bob")]
)
def test_no_server_is_another_exit_code(
    fleetlm: InProcess, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FLEETLM_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("FLEETLM_AS", "alice")
    done = fleetlm("--retry-for", "0", *arguments)
    assert (done.code, done.output, done.error["code"]) == (3, "", "unreachable")


def test_a_group_from_its_beginning_to_its_end(fleetlm: InProcess, people: People, fresh: str) -> None:
    alice, bob, _ = people
    key = f"ops-{fresh}"
    made = fleetlm(
        *("conversations", "create", key, bob, "echo-bot", "--admin", alice),
        *("--title", "Operations", "--metadata", '{"team": 1}'),
    )
    assert (made.code, made.line["title"], made.line["metadata"]) == (0, "Operations", {"team": 1})
    roles = {one["id"]: one["role"] for one in made.line["participants"]}
    assert roles == {bob: "member", "echo-bot": "member", alice: "admin"}

    def show(*arguments: str) -> dict[str, object]:
        return fleetlm("conversations", *arguments).line

    fleetlm("request", "POST", "participants", json.dumps({"id": f"carol-{fresh}"}))
    assert len(show("add", key, f"carol-{fresh}")["participants"]) == 4  # type: ignore[arg-type]
    assert len(show("remove", key, f"carol-{fresh}")["participants"]) == 3  # type: ignore[arg-type]
    assert show("update", key, "--title", "Ops")["title"] == "Ops"
    assert show("handoff", key, alice)["handed_to"] == alice
    assert show("handoff", key, "--back")["handed_to"] is None
    assert show("close", key)["state"] == "closed"
    assert fleetlm("send", key, "--as", bob, "too late").error["code"] == "conversation_closed"
    assert show("archive", key)["state"] == "archived"
    assert show("reopen", key)["state"] == "open"
    assert show("show", key)["title"] == "Ops"
    assert show("list", "--as", bob)["key"] == key
    assert fleetlm("conversations", "handoff", key).code == 2


def test_an_agent_is_registered_tried_and_mended(fleetlm: InProcess, stack: Stack, fresh: str) -> None:
    agent, key = f"bot-{fresh}", f"alice-{fresh}:bot-{fresh}"
    url = json.loads(fleetlm("agents", "show", "echo-bot").output)["url"]
    made = fleetlm(
        *("agents", "create", agent, url, "--trigger", "mention", "--context", '{"tokens": 500}'),
        *("--display-name", "Bot", "--set", "max_in_flight=3"),
    )
    assert made.line["secret"].startswith("whsec_")
    assert (made.line["context"], made.line["max_in_flight"]) == ({"tokens": 500}, 3)
    changed = fleetlm("agents", "update", agent, "--trigger", "all", "--set", "max_in_flight=null")
    assert (changed.line["trigger"], changed.line["max_in_flight"]) == ("all", None)
    tried = fleetlm("agents", "test", agent)
    assert (tried.code, tried.line["ok"]) == (0, True)

    asked = fleetlm("send", key, "--as", f"alice-{fresh}", "--wait-answer", "hello")
    assert asked.lines[-1]["sender_id"] == agent
    stream = fleetlm("agents", "stream", agent, key).line
    assert (stream["state"], stream["cursor"]) == ("idle", 1)
    assert fleetlm("agents", "attempts", agent, "--key", key).line["outcome"] == "answered"
    assert fleetlm("agents", "pause", agent, key).line["state"] == "paused"
    assert fleetlm("agents", "retry", agent, key).error["code"] == "conflict"
    assert fleetlm("agents", "streams", agent, "--state", "paused").line["key"] == key
    assert fleetlm("agents", "rewind", agent, key, "1").line["cursor"] == 0
    assert fleetlm("agents", "skip", agent, key, "--seq", "1").line["cursor"] == 1
    assert fleetlm("agents", "redeliver", agent, key, "1", "1").line["replay"] == {
        "from": 1,
        "to": 1,
    }
    assert fleetlm("agents", "resume", agent, key).line["state"] != "paused"
    assert fleetlm("agents", "resume", agent).line["parked"] == 0
    assert fleetlm("agents", "close-breaker", agent).line["state"] == "ok"
    assert fleetlm("agents", "rotate-secret", agent, "--overlap-seconds", "0").line["secret"]

    fleetlm("agents", "update", agent, "--endpoint", "http://127.0.0.1:9/")
    assert fleetlm("agents", "test", agent).code == 1
    assert fleetlm("agents", "delete", agent).output == ""
    assert fleetlm("agents", "show", agent).error["code"] == "not_found"


def test_messages_are_found_by_their_words(fleetlm: InProcess, people: People, fresh: str) -> None:
    alice, _, key = people
    fleetlm("send", key, "--as", alice, f"the parcel {fresh} is late")
    fleetlm("send", key, "--as", alice, "something else")
    found = fleetlm("search", "--as", alice, "--in", key, "parcel", fresh)
    assert (found.code, [one["seq"] for one in found.lines]) == (0, [1])


def test_any_call_and_the_health_of_the_server(fleetlm: InProcess, fresh: str) -> None:
    well = fleetlm("status")
    assert (well.code, well.line["status"]) == (0, "ok")
    made = fleetlm("request", "POST", "participants", "-", given=json.dumps({"id": f"p-{fresh}"}))
    assert made.line["id"] == f"p-{fresh}"
    asked = fleetlm(
        "request", "GET", "participants", "--query", f"after=p-{fresh[:-1]}", "--query", "limit=1"
    )
    assert asked.line["participants"][0]["id"] == f"p-{fresh}"
    refused = fleetlm("request", "DELETE", f"participants/p-{fresh}-none")
    assert refused.code == 1


def test_profiles_say_which_server_and_as_whom(
    fleetlm: InProcess, stack: Stack, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, key = people
    monkeypatch.delenv("FLEETLM_URL")
    fleetlm("profile", "add", "first", "--url", "http://127.0.0.1:9", "--token", "-", given="flk_x\n")
    fleetlm("profile", "add", "here", "--url", stack.web[1], "--as", alice, "--use")
    shown = fleetlm("profile", "list").lines
    assert [(one["name"], one["used"], one["has_token"]) for one in shown] == [
        ("first", False, True), ("here", True, False),
    ]  # fmt: skip
    assert fleetlm("send", key, "from the profile").line["sender_id"] == alice
    assert fleetlm("send", key, "as another", "--as", bob).line["sender_id"] == bob
    assert fleetlm("status", "--profile", "first").code == 3
    fleetlm("profile", "use", "first")
    assert fleetlm("status").code == 3
    fleetlm("profile", "remove", "first")
    assert [one["name"] for one in fleetlm("profile", "list").lines] == ["here"]
    assert fleetlm("profile", "use", "first").error["code"] == "usage"
