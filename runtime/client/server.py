"""The server's REST calls that the client needs, as one participant."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from runtime.client.errors import ClientError, Disconnected, error_of, reason

PAGE: Final = 200
TRIES: Final = 6
CALL_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and as whom it is spoken to."""

    http: aiohttp.ClientSession
    url: str
    participant_id: str
    token: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What identifies the caller."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def socket_url(self) -> URL:
        """The Phoenix-protocol socket, serializer V2."""
        url = URL(self.url.rstrip("/") + "/socket/websocket")
        scheme = "wss" if url.scheme == "https" else "ws"
        return url.with_scheme(scheme).with_query(vsn="2.0.0", participant_id=self.participant_id)

    async def send(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Append a message and return it. Tried again while the server is away: its `client_id` is stored once."""
        message = {"client_id": str(uuid.uuid4()), **body, "sender_id": self.participant_id}
        for attempt in range(TRIES):
            try:
                return await self._call("POST", f"conversations/{quote(key, safe='')}/messages", body=message)
            except Disconnected:
                if attempt == TRIES - 1:
                    raise
            await asyncio.sleep(0.25 * 2**attempt)
        raise AssertionError("the last try returns or raises")

    async def history(self, key: str, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The `limit` newest messages before a seq, oldest first, however many pages they take."""
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            query = {"limit": min(limit - len(found), PAGE), **({} if before is None else {"before": before})}
            page = await self._call("GET", f"conversations/{quote(key, safe='')}/messages", query=query)
            found = page["messages"] + found
            if not page["has_more"] or not page["messages"]:
                break
            before = page["messages"][0]["seq"]
        return found

    async def inbox(self) -> list[dict[str, Any]]:
        """The participant's inbox entries, the newest first."""
        answer = await self._call("GET", f"inbox/{quote(self.participant_id, safe='')}")
        entries: list[dict[str, Any]] = answer["conversations"]
        return entries

    async def _call(
        self, method: str, path: str, *, body: Any = None, query: dict[str, int] | None = None
    ) -> dict[str, Any]:
        url = URL(f"{self.url.rstrip('/')}/api/{path}", encoded=True).with_query(query or {})
        try:
            async with self.http.request(
                method,
                url,
                data=None if body is None else orjson.dumps(body),
                headers={**self.headers, "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Disconnected(f"{self.url} cannot be reached: {reason(error)}") from None
        return _answer(status, raw)


def _answer(status: int, raw: bytes) -> dict[str, Any]:
    otherwise = f"The server answered {status}, and not as FleetLM does."
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ClientError("invalid_answer", otherwise) from None
    if status >= 400 or not isinstance(answer, dict):
        raise error_of(answer, otherwise)
    return answer
