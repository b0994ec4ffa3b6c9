"""One real web process, and a small client of it that can also be rude."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode
from uuid import uuid4

import jwt
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fleetlm.config import PROJECT_ROOT
from tests.engines import SECRET_KEY

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds after which something that should come is taken for lost."""

AUTH_CACHE_SECONDS = 0.5
"""How long the process remembers an API key."""


def unique(name: str = "x") -> str:
    """An id that no other test has."""
    return f"{name}-{uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of an error; the whole shape of errors is checked on the way."""
        if self.status < 400:
            return None
        answer = self.json
        assert set(answer) == {"error"}, answer
        error = answer["error"]
        assert set(error) == {"code", "message", "details"}, answer
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["details"], dict)
        assert isinstance(error["code"], str)
        return error["code"]

    @property
    def verdict(self) -> tuple[int, str | None]:
        return self.status, self.code


FAULTS = ('"level":"ERROR"', '"level":"CRITICAL"', "Traceback (most recent call last)")


class Server:
    """A web process, where it listens, and what it logs."""

    def __init__(self, log: Path, **environment: str) -> None:
        with socket.create_server((HOST, 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._log = log
        self._seen = 0
        self._environment = {
            **os.environ,
            "HOST": HOST,
            "PORT": str(self.port),
            "FLEETLM_AUTH": "required",
            "FLEETLM_AUTH_CACHE_SECONDS": str(AUTH_CACHE_SECONDS),
            "FLEETLM_LOG_LEVEL": "WARNING",
            **environment,
        }

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            command = [sys.executable, str(PROJECT_ROOT / "manage.py"), "serve"]
            self._process = subprocess.Popen(
                command, cwd=PROJECT_ROOT, env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 3 * PATIENCE
        while not self.is_healthy():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(3 * PATIENCE)
        finally:
            self._process.kill()
            code = self._process.wait()
        assert code == 0, f"asked to end, it ended with {code}"

    @property
    def origin(self) -> str:
        return f"http://{HOST}:{self.port}"

    def is_healthy(self) -> bool:
        """Whether it lives and would take requests."""
        try:
            return Client(self).get("/health/ready").status == 200
        except OSError:
            return False

    def complaints(self) -> list[str]:
        """What it has logged as its own fault since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._seen)
            lines = log.read().decode(errors="replace").splitlines()
            self._seen = log.tell()
        return [line for line in lines if any(sign in line for sign in FAULTS)]


class Client:
    """Calls of one caller, each on a connection of its own: an API key, a token, or nobody."""

    def __init__(self, server: Server, credential: str | None = None) -> None:
        self.server = server
        self.credential = credential

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, object] | Sequence[tuple[str, object]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON, or as it is if it is bytes."""
        with self.open(method, path, body, query=query, headers=headers) as response:
            return Answer(response.status, _lower(response), response.read())

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, object] | Sequence[tuple[str, object]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The response to a request, its body not read yet."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        all_headers = {} if content is None else {"Content-Type": "application/json"}
        if self.credential is not None:
            all_headers["Authorization"] = f"Bearer {self.credential}"
        all_headers.update(headers or {})
        target = f"{path}?{urlencode(query)}" if query else path
        with contextlib.closing(http.client.HTTPConnection(HOST, self.server.port, timeout=PATIENCE)) as line:
            line.request(method, target, content, all_headers)
            with line.getresponse() as response:
                yield response

    def get(self, path: str, **query: object) -> Answer:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, body, headers=headers)

    def patch(self, path: str, body: Any) -> Answer:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def ok(self, method: str, path: str, body: Any = None, **query: object) -> Any:
        """The JSON of a call that must succeed."""
        answer = self.call(method, path, body, query=query)
        assert 200 <= answer.status < 300, (method, path, answer)
        return answer.json if answer.body else None

    def group(self, *participants: str, **form: Any) -> str:
        """A new group of these; its key."""
        key: str = self.ok("POST", "/api/conversations", {"participants": list(participants), **form})["key"]
        return key

    def say(self, key: str, sender_id: str, text: str = "hello", **body: Any) -> dict[str, Any]:
        """Append a message; the stored one."""
        message: dict[str, Any] = self.ok(
            "POST", f"/api/conversations/{key}/messages", {"sender_id": sender_id, "text": text, **body}
        )
        return message

    def entry(self, participant_id: str, key: str) -> dict[str, Any]:
        """The participant's inbox entry of this conversation."""
        conversations = self.ok("GET", f"/api/inbox/{participant_id}")["conversations"]
        [entry] = [one for one in conversations if one["key"] == key]
        return dict(entry)

    def token(self, participant_id: str, **form: Any) -> "Client":
        """A client with a token of this participant."""
        answer = self.ok("POST", "/api/tokens", {"participant_id": participant_id, **form})
        return Client(self.server, answer["token"])

    def socket(self, **query: str) -> "contextlib.AbstractContextManager[Socket]":
        """A socket of this caller. Raises `Refused`."""
        token = {} if self.credential is None else {"token": self.credential}
        return _socket(self.server, f"socket/websocket?{urlencode({'vsn': '2.0.0', **token, **query})}")

    def events(self, path: str, **headers: str) -> "contextlib.AbstractContextManager[Events]":
        """An event stream of this caller."""
        return _events(self, path, headers)


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


class Events:
    """A stream of Server-Sent Events."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def next(self) -> tuple[str, Any, str | None]:
        """The next event: its name, its data, its id. Raises `EOFError` at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self._response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id")
            else:
                fields.clear()
        raise EOFError


@contextlib.contextmanager
def _events(client: Client, path: str, headers: Mapping[str, str]) -> Iterator[Events]:
    with client.open("GET", path, headers=headers) as response:
        assert response.status == 200, response.read()
        yield Events(response)


class Refused(Exception):
    """A socket was not accepted; the answer says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


@contextlib.contextmanager
def _socket(server: Server, target: str, **options: Any) -> Iterator["Socket"]:
    url = f"ws://{HOST}:{server.port}/{target}"
    try:
        with connect(url, compression=None, proxy=None, max_size=None, **options) as line:
            yield Socket(line)
    except InvalidStatus as refused:
        response = refused.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        raise Refused(Answer(response.status_code, headers, bytes(response.body))) from None


class Socket:
    """A socket of the Phoenix Channels protocol."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self._refs = count(1)

    def receive(self) -> Any:
        """The next frame, whatever it is."""
        return json.loads(self.line.recv(PATIENCE))

    def wait_for(self, event: str) -> Any:
        """The payload of the next frame with this event."""
        while True:
            frame = self.receive()
            if frame[3] == event:
                return frame[4]

    def push(self, topic: str, event: str, payload: Any = None, join_ref: str | None = None) -> str:
        """Send a frame; its ref."""
        ref = str(next(self._refs))
        joined = ref if event == "phx_join" else join_ref
        self.line.send(json.dumps([joined, ref, topic, event, {} if payload is None else payload]))
        return ref

    def ask(self, topic: str, event: str, payload: Any = None, join_ref: str | None = None) -> dict[str, Any]:
        """Send a frame and wait for its reply: `{"status", "response"}`."""
        ref = self.push(topic, event, payload, join_ref)
        while True:
            frame = self.receive()
            if frame[3] == "phx_reply" and frame[1] == ref:
                return dict(frame[4])

    def ok(self, topic: str, event: str, payload: Any = None) -> Any:
        """The response to a frame that must succeed."""
        reply = self.ask(topic, event, payload)
        assert reply["status"] == "ok", reply
        return reply["response"]

    def join(self, topic: str, **payload: Any) -> Any:
        return self.ok(topic, "phx_join", payload)

    def refusal(self, topic: str, event: str, payload: Any = None) -> str:
        """The code of the error that a frame is answered with."""
        reply = self.ask(topic, event, payload)
        assert reply["status"] == "error", reply
        error = reply["response"]["error"]
        assert set(error) == {"code", "message", "details"}, error
        return str(error["code"])

    def heartbeat(self) -> None:
        assert self.ok("phoenix", "heartbeat") == {}


def forged(claims: Mapping[str, Any], secret: str = SECRET_KEY, **options: Any) -> str:
    """A token of these claims; by default signed with the server's own secret."""
    return jwt.encode({"exp": int(time.time()) + 60, **claims}, secret, **{"algorithm": "HS256", **options})


def enquote(segment: str) -> str:
    """A path segment, percent-encoded."""
    return quote(segment, safe="")
