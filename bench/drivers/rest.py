"""Appends over REST, one message for each request or, with `batch` in the plan, so many."""

from itertools import count

import orjson

from bench.drivers import http
from bench.drivers.harness import Acknowledged, Plan, Result, Window, drive


class Appends(http.Connection):
    """One message for each request."""

    def __init__(self, plan: Plan, number: int, window: Window) -> None:
        super().__init__(plan, number, window)
        self.acknowledged: list[Acknowledged] = []
        self._plan = plan
        self._turn = 0
        self._messages = count()

    def _place(self) -> tuple[str, str]:
        """The next conversation and who writes there.

        A step of its own for each connection, so that they meet in changing conversations.
        """
        conversations = self._plan["conversations"]
        place = (self.number + self._turn * (2 * self.number + 1)) % len(conversations)
        self._turn += 1
        key, sender_id = conversations[place]
        return key, sender_id

    def _body(self, sender_id: str) -> dict[str, str]:
        client_id = f"{self._plan['run']}-{self.number}-{next(self._messages)}"
        return {"sender_id": sender_id, "text": self._plan["text"], "client_id": client_id}

    def next_request(self) -> tuple[str, bytes]:
        key, sender_id = self._place()
        return f"/api/conversations/{key}/messages", orjson.dumps(self._body(sender_id))

    def answered(self, body: bytes) -> int:
        message = orjson.loads(body)
        self.acknowledged.append((message["conversation"], message["seq"], message["id"]))
        return 1


class Batches(Appends):
    """Many messages of one conversation for each request."""

    status = b"200"

    def next_request(self) -> tuple[str, bytes]:
        key, sender_id = self._place()
        self._asked = [self._body(sender_id) for _ in range(self._plan["batch"])]
        return f"/api/conversations/{key}/messages/batch", orjson.dumps({"messages": self._asked})

    def answered(self, body: bytes) -> int:
        results = orjson.loads(body)["results"]
        stored = [result["message"] for result in results if "message" in result]
        self.acknowledged += [(one["conversation"], one["seq"], one["id"]) for one in stored]
        if [one["client_id"] for one in stored] != [one["client_id"] for one in self._asked]:
            self.faults.append(f"a batch of {len(self._asked)} was answered with {body[:300]!r}")
        return len(stored)


async def main(plan: Plan) -> Result:
    """Append for the planned time."""
    window = Window(plan)
    kind = Batches if "batch" in plan else Appends
    connections = [kind(plan, number, window) for number in range(plan["connections"])]
    result = await http.run(plan, window, connections)
    return result | {"acknowledged": [entry for one in connections for entry in one.acknowledged]}


if __name__ == "__main__":
    drive(main)
