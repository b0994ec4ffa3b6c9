"""The terminal chat in this process, on a screen without a terminal: what is on it, and keys pressed."""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fleetlm_client import AsyncFleetLM
from fleetlm_client.cli.terminal.app import ChatApp
from fleetlm_client.cli.terminal.composer import Composer
from textual.pilot import Pilot

PATIENCE: Final = 20.0
_PIECES = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)


class Screen:
    """The chat of one participant."""

    def __init__(self, app: ChatApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    def text(self) -> str:
        """Everything on the screen: a line for each piece of one colour."""
        pieces = _PIECES.findall(self.app.export_screenshot())
        return html.unescape("\n".join(pieces)).replace("\xa0", " ")

    async def until(self, holds: Callable[[str], object]) -> str:
        """Wait until this holds of what is on the screen."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds(text := self.text()):
                    await self.pilot.pause(0.02)
        except TimeoutError:
            raise AssertionError(f"The screen shows:\n{self.text()}") from None
        return text

    async def shows(self, *texts: str) -> str:
        """Wait until all of these are on the screen."""
        return await self.until(lambda shown: all(text in shown for text in texts))

    async def write(self, text: str) -> None:
        """Paste a text, and press Enter."""
        self.app.query_one(Composer).insert(text)
        await self.pilot.press("enter")


@asynccontextmanager
async def chatting(url: str, me: str, key: str, size: tuple[int, int] = (120, 35)) -> AsyncIterator[Screen]:
    """The chat as `fleetlm chat` starts it."""
    async with AsyncFleetLM(url, participant_id=me, retry_for=None) as fleet:
        app = ChatApp(fleet, me, key)
        async with app.run_test(size=size) as pilot:
            yield Screen(app, pilot)
