"""A Pydantic AI agent behind AG-UI: no line of it knows of FleetLM. `pip install -r requirements.txt`, then:

python agent.py --port 5000

It runs without a key, on a model that is a function. For a real one, install its extra and set MODEL=openai:gpt-5-mini.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import uvicorn
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECONDS_PER_WORD = 0.05


async def offline(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Stands in for a model: looks at the clock if it is asked for the time, then answers word by word."""
    last = messages[-1]
    parts = last.parts if isinstance(last, ModelRequest) else []
    looked = [part.content for part in parts if isinstance(part, ToolReturnPart)]
    heard = " ".join(
        part.content for part in parts if isinstance(part, UserPromptPart) and isinstance(part.content, str)
    )
    if "time" in heard:
        yield {0: DeltaToolCall(name="clock", json_args="{}", tool_call_id="clock-1")}
        return
    for word in (f"It is {looked[0]}." if looked else f"You said: {heard}").split():
        yield f"{word} "
        await asyncio.sleep(SECONDS_PER_WORD)


agent = Agent(os.environ.get("MODEL") or FunctionModel(stream_function=offline), instructions="Be brief.")


@agent.tool_plain
def clock() -> str:
    """The time, in UTC. Calls of tools are relayed too: people see them while they happen."""
    return f"{datetime.now(UTC):%H:%M} UTC"


async def run(request: Request) -> Response:
    """One AG-UI run: the whole conversation in, a stream of events out."""
    return await AGUIAdapter.dispatch_request(request, agent=agent)


app = Starlette(routes=[Route("/", run, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
