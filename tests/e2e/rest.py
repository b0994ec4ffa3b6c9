"""REST for the tests: `web` says which of the web processes is asked."""

from types import TracebackType
from typing import Any, Self

import aiohttp


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.code: str = body["error"]["code"] if isinstance(body, dict) and "error" in body else ""


class Api:
    """A session with some web processes."""

    def __init__(self, web: list[str], credential: str | None = None) -> None:
        self.web = web
        self._headers = {"Authorization": f"Bearer {credential}"} if credential else {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=30),
            # Shorter than the server's: a connection that it gives up is not used again.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def call(self, method: str, path: str, body: Any = None, *, web: int = 0) -> Any:
        """One request; the answer's JSON. Raises `Refused`, or aiohttp's errors."""
        async with self._http.request(method, f"{self.web[web]}/api/{path}", json=body) as answer:
            value = await answer.json() if answer.content_type == "application/json" else await answer.text()
            if answer.status >= 400:
                raise Refused(answer.status, value)
            return value

    async def send(self, key: str, sender: str, text: str, *, web: int = 0, **more: Any) -> dict[str, Any]:
        """Append a message."""
        body = {"sender_id": sender, "text": text, **more}
        message: dict[str, Any] = await self.call("POST", f"conversations/{key}/messages", body, web=web)
        return message

    async def group(self, key: str, *members: str) -> dict[str, Any]:
        """Make a group; every member may change its members."""
        participants = [{"id": one, "role": "admin"} for one in members]
        body = {"key": key, "kind": "group", "participants": participants}
        made: dict[str, Any] = await self.call("POST", "conversations", body)
        return made

    async def log(self, key: str, *, web: int = 0) -> list[dict[str, Any]]:
        """Every message of a conversation, oldest first."""
        messages: list[dict[str, Any]] = []
        while True:
            after = messages[-1]["seq"] if messages else 0
            page = await self.call("GET", f"conversations/{key}/messages?after={after}&limit=200", web=web)
            messages += page["messages"]
            if not page["has_more"]:
                return messages

    async def health(self, *, web: int = 0) -> tuple[int, str]:
        """What a process says of itself: the status of `/health/ready`, and in a word how it is."""
        async with self._http.get(f"{self.web[web]}/health/ready") as answer:
            return answer.status, (await answer.json())["status"]
