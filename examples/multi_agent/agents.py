"""Three agents and a person in one group. With FleetLM running: `python examples/multi_agent/agents.py`.

A planner, a researcher and a writer, who call each other by name. They are scripted, so that no model is needed: put yours
where the texts are. One process serves all three; who is called stands in `call.agent_id`.
"""

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from fleetlm_client import AsyncFleetLM, FleetLMError
from fleetlm_client.agent import Agent, Call

SECONDS_PER_WORD = 0.05  # stands in for a model that thinks


def planner(call: Call) -> str:
    """Begins the work, and is never content."""
    if call.new_messages[-1].sender_id == "writer":
        return "@writer Nearly perfect. Once more, please."
    return f"@researcher Please collect what we know. The task: {task(call)}"


def researcher(call: Call) -> str:
    """Finds what there is to know."""
    return "@writer My notes: it is old, people like it, and nobody has ever said enough about it."


async def writer(call: Call) -> AsyncIterator[str]:
    """Writes it down, word by word."""
    for word in f"{task(call)} It is old. People like it. Nobody has ever said enough about it.".split():
        yield f"{word} "
        await asyncio.sleep(SECONDS_PER_WORD)
    if "perfect" in task(call):
        yield "@planner Is it perfect now?"


AGENTS = {"planner": planner, "researcher": researcher, "writer": writer}


def task(call: Call) -> str:
    """What the person has asked for last, without the names. The conversation is all the memory that an agent needs."""
    agents = {one.id for one in call.participants if one.kind == "agent"}
    said = [m.text for m in call.conversation if m.kind == "text" and m.sender_id not in agents]
    return " ".join(word for word in said[-1].split() if not word.startswith("@"))


def answer(call: Call) -> Any:
    """What the one who is called has to say."""
    return AGENTS[call.agent_id](call)


async def register(fleet: AsyncFleetLM, name: str, url: str) -> str:
    """Have an agent called here whenever someone mentions it; the secret with which its calls are signed."""
    form = {"url": url, "trigger": "mention", "debounce_ms": 0}
    try:
        made = await fleet.request("POST", "agents", body={"id": name, **form})
    except FleetLMError as error:
        if error.status != 409:  # it is known from an earlier run
            raise
        await fleet.request("PATCH", f"agents/{name}", body=form)
        made = await fleet.request("POST", f"agents/{name}/rotate-secret", body={"overlap_seconds": 0})
    secret: str = made["secret"]
    return secret


async def gather(fleet: AsyncFleetLM, group: str, members: list[str]) -> None:
    """Bring all of them together in the group."""
    try:
        await fleet.create_conversation(group, participants=members, title="Newsroom")
    except FleetLMError as error:
        if error.status != 409:
            raise
        await fleet.conversation(group).add_participants(members)


async def show(fleet: AsyncFleetLM, group: str) -> None:
    """Print what is said, for ever."""
    async for message in fleet.conversation(group).messages():
        print(f"{message.sender_id:>10}  {message.text}", flush=True)


async def main(options: argparse.Namespace) -> None:
    """Register, gather, listen."""
    token = os.environ.get("FLEETLM_TOKEN")  # an API key, where the server asks for one
    async with AsyncFleetLM(options.url, participant_id=options.person, token=token) as fleet:
        here = f"http://127.0.0.1:{options.port}/"
        secrets = [await register(fleet, name, here) for name in AGENTS]
        await gather(fleet, options.group, [options.person, *AGENTS])
        async with Agent(answer, secret=secrets).serving(port=options.port):
            print(
                f"Talk to them at {options.url}/?as={options.person}, in {options.group}. Ctrl-C ends this.",
                flush=True,
            )
            if options.ask:
                await fleet.conversation(options.group).send(options.ask)
            await show(fleet, options.group)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:4000", help="where FleetLM is")
    parser.add_argument("--port", type=int, default=5000, help="where the agents listen")
    parser.add_argument("--group", default="newsroom", help="the key of their conversation")
    parser.add_argument("--person", default="alice", help="who takes part besides")
    parser.add_argument("--ask", help="what that person says first")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
