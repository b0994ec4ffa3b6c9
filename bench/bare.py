"""The ceiling of the web process: the same server with an application that does next to nothing, all of it in memory.

HTTP: any request is answered with a message. Sockets: it knows `phx_join` and `send`, counts, and writes the same bytes to
every socket of the topic. No Django, no authentication, no Postgres, no Valkey.
"""

import sys
from collections import defaultdict
from typing import Any, cast

import orjson
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fleetlm.sockets.outbox import websocket_text

ID = "01890000-0000-7000-8000-000000000000"
TIME = "2026-01-01T00:00:00.000000Z"

_seqs: defaultdict[str, int] = defaultdict(int)
_wires: defaultdict[str, set[Any]] = defaultdict(set)


class SocketProtocol(WebSocketsSansIOProtocol):
    """Lends its transport to the application, as the real one does."""

    def handle_connect(self, event: Any) -> None:
        """Put the transport into the scope, before the application starts."""
        super().handle_connect(event)
        extensions = cast(dict[str, Any], self.scope["extensions"])
        extensions["wire"] = self.transport


def _message(key: str, text: str) -> dict[str, Any]:
    """A message with the fields, and so the size, of a real one."""
    _seqs[key] += 1
    message: dict[str, Any] = {
        "id": ID,
        "seq": _seqs[key],
        "conversation": key,
        "dm_key": key,
        "sender_id": "sender-1",
    }
    message |= {"kind": "text", "text": text, "content": {}, "metadata": {}, "reply_to": None, "mentions": []}
    return message | {"client_id": "bench-0-0", "created_at": TIME}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        await _socket(scope, receive, send)


async def _http(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    body = orjson.dumps(_message(scope["path"].split("/")[3], "a text of the usual length " * 2))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _socket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    wire = scope["extensions"]["wire"]
    topics: set[str] = set()
    while (event := await receive())["type"] == "websocket.receive":
        join_ref, ref, topic, name, payload = orjson.loads(event["text"])
        if name == "phx_join":
            topics.add(topic)
            _wires[topic].add(wire)
            answer: dict[str, Any] = {"last_seq": _seqs[topic.partition(":")[2]]}
        else:
            answer = _message(topic.partition(":")[2], payload["text"])
            frame = websocket_text(orjson.dumps([join_ref, None, topic, "message", answer]))
            for other in _wires[topic]:
                other.write(frame)
        reply = {"status": "ok", "response": answer}
        wire.write(websocket_text(orjson.dumps([join_ref, ref, topic, "phx_reply", reply])))
    for topic in topics:
        _wires[topic].discard(wire)


def serve(port: int) -> None:
    """Serve with what `fleetlm.server.serve` gives uvicorn."""
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=4_096,
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
