"""An agent that does nothing: it checks each call's signature, counts, and answers 204.

`GET /wait?calls=N` answers when it has got N calls, with what came since the last such answer.
"""

import asyncio
import sys
from collections import Counter
from time import perf_counter

from aiohttp import web

from agents import signing


class Receiver:
    """What has come, and since when."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._reset()

    def _reset(self) -> None:
        self._calls: Counter[str] = Counter()
        self._first = self._last = 0.0
        self._unsigned = 0
        self._news = asyncio.Event()

    async def call(self, request: web.Request) -> web.Response:
        """One call of the dispatcher."""
        body = await request.read()
        headers = request.headers
        signature = signing.sign(
            [self._secret], headers["webhook-id"], int(headers["webhook-timestamp"]), body
        )
        self._unsigned += signature not in headers["webhook-signature"].split()
        self._last = perf_counter()
        self._first = self._first or self._last
        self._calls[headers["webhook-id"]] += 1
        self._news.set()
        return web.Response(status=204)

    async def plain(self, request: web.Request) -> web.Response:
        """One post of whoever measures the receiver itself."""
        await request.read()
        return web.Response(status=204)

    async def wait(self, request: web.Request) -> web.Response:
        """The calls, as soon as there are enough of them, or after 30 s."""
        wanted = int(request.query["calls"])
        try:
            async with asyncio.timeout(30):
                while self._calls.total() < wanted:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        result = {
            "calls": self._calls.total(),
            "different": len(self._calls),
            "unsigned": self._unsigned,
            "seconds": self._last - self._first,
        }
        self._reset()
        return web.json_response(result)


def serve(port: int, secret: str) -> None:
    """Serve until SIGTERM."""
    receiver = Receiver(secret)
    application = web.Application()
    application.router.add_post("/", receiver.call)
    application.router.add_post("/plain", receiver.plain)
    application.router.add_get("/wait", receiver.wait)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.stdin.readline().strip())
