"""An agent that talks as fast as it can: every call is answered by a stream of many small chunks, each sent by itself.

The path says how many: `POST /1000`.
"""

import asyncio
import sys

from aiohttp import web

HEADERS = {"content-type": "text/event-stream"}
BEGINNING = b'data: {"type":"start"}\n\ndata: {"type":"text-start","id":"1"}\n\n'
END = b'data: {"type":"text-end","id":"1"}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n'


def pieces(count: int) -> list[str]:
    """What it says. Every piece differs from its neighbours: one that is lost, doubled or moved shows."""
    return [f"{number} " for number in range(count)]


async def answer(request: web.Request) -> web.StreamResponse:
    """Stream one answer."""
    await request.read()
    stream = web.StreamResponse(headers=HEADERS)
    await stream.prepare(request)
    await stream.write(BEGINNING)
    for piece in pieces(int(request.match_info["count"])):
        await stream.write(b'data: {"type":"text-delta","id":"1","delta":"%s"}\n\n' % piece.encode())
        await asyncio.sleep(0)  # the other answers' turn; and no two chunks in one write
    await stream.write(END)
    await stream.write_eof()
    return stream


async def ready(_: web.Request) -> web.Response:
    """It is up."""
    return web.Response(status=204)


def serve(port: int) -> None:
    """Serve until SIGTERM."""
    application = web.Application()
    application.router.add_get("/", ready)
    application.router.add_post("/{count}", answer)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
