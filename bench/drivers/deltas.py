"""Streamed answers: how fast what agents say reaches the sockets that follow, and whether it adds up to the final message.

In each conversation one socket asks and watches; the others keep what comes, with the time of it, and read it afterwards.
"""

from collections import defaultdict
from time import perf_counter
from typing import Any

from bench.drivers.harness import Acknowledged, Plan, Result, drive, in_turns, mark, until
from bench.drivers.websocket import Socket, send_frame

PATIENCE_SECONDS = 20


class Follower(Socket):
    """Puts the deltas of runs together."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0
        self.chunks = 0
        self.first = 0.0
        self.last = 0.0
        self.asleep = False
        self.acknowledged: list[Acknowledged] = []
        self._now = 0.0
        self._kept: list[tuple[float, bytes]] = []
        self._texts: defaultdict[str, list[str]] = defaultdict(list)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._over: set[str] = set()
        self._answers_seen: dict[str, str] = {}

    def data_received(self, data: bytes) -> None:
        if self.asleep:
            self._kept.append((perf_counter(), data))
        else:
            self._now = perf_counter()
            super().data_received(data)

    def wake(self) -> None:
        """Read what was kept, as at the time at which it came."""
        self.asleep = False
        for came_at, data in self._kept:
            self._now = came_at
            super().data_received(data)
        self._kept.clear()

    def send(self, topic: str, text: str, client_id: str) -> None:
        """Ask the agent."""
        self._key = topic.removeprefix("conversation:")
        self.write(send_frame("ask", topic, text, client_id))

    def reply(self, ref: str, payload: Any) -> None:
        if payload["status"] != "ok":
            self.faults.append(str(payload["response"]))
            return
        response = payload["response"]
        self.acknowledged.append((self._key, response["seq"], response["id"]))

    def other(self, topic: str, event: str, payload: Any) -> None:
        if event == "delta":
            self._delta(payload)
        elif event == "run" and payload["status"] not in ("started", "streaming"):
            self._over.add(payload["run_id"])
            if payload["status"] != "finished":
                self.faults.append(f"a run has {payload['status']}: {payload['error']}")

    def _delta(self, payload: dict[str, Any]) -> None:
        run_id = payload["run_id"]
        if payload["from"] != self._numbers[run_id]:
            self.faults.append(f"a delta from {payload['from']} came after {self._numbers[run_id]}")
        self.chunks += payload["to"] - payload["from"]
        self._numbers[run_id] = payload["to"]
        self._texts[run_id] += [one["delta"] for one in payload["chunks"] if one["type"] == "text-delta"]
        self.frames += 1
        self.first = self.first or self._now
        self.last = self._now

    def message(self, topic: str, message: Any) -> None:
        if run_id := message["content"].get("run_id"):
            self._answers_seen[run_id] = message["text"]

    def complete(self) -> bool:
        """Whether the run is over and its message has come."""
        return bool(self._over) and self._over <= self._answers_seen.keys()

    def check(self, expected: str) -> list[str]:
        """Whether one run came, and its deltas, its message and what the agent said are the same text."""
        streamed = ["".join(pieces) for pieces in self._texts.values()]
        answers = list(self._answers_seen.values())
        if streamed == [expected] and answers == [expected]:
            return self.faults
        lengths = f"{[len(one) for one in streamed]} and {[len(one) for one in answers]} of {len(expected)} characters"
        return [*self.faults, f"the deltas and the message of a run differ from what was said: {lengths}"]


async def main(plan: Plan) -> Result:
    """Ask in all conversations at once, and follow the answers to their ends."""

    async def follow(token: str, topic: str) -> Follower:
        follower = await Follower.connect(plan["port"], token)
        await follower.join(topic)
        return follower

    topics = [f"conversation:{one['key']}" for one in plan["conversations"]]
    places = [
        (one["token"], topic)
        for one, topic in zip(plan["conversations"], topics, strict=True)
        for _ in range(plan["sockets"])
    ]
    followers: list[Follower] = await in_turns((follow(*place) for place in places), 20)
    asking = followers[:: plan["sockets"]]
    for follower in followers:
        follower.asleep = follower not in asking
    mark("opens")
    for number, (follower, topic) in enumerate(zip(asking, topics, strict=True)):
        follower.send(topic, plan["text"], f"{plan['run']}-{number}")
    await until(lambda: all(one.complete() for one in asking), PATIENCE_SECONDS)
    mark("closes")
    for follower in followers:
        follower.wake()
    await until(lambda: all(one.complete() for one in followers), PATIENCE_SECONDS)
    faults = [fault for follower in followers for fault in follower.check(plan["said"])]
    for follower in followers:
        follower.close()
    seconds = max(one.last for one in followers) - min(one.first for one in followers)
    return {
        "chunks_per_second": sum(one.chunks for one in asking) / (seconds or 1),
        "frames_per_second": sum(one.frames for one in followers) / (seconds or 1),
        "received_per_second": sum(one.chunks for one in followers) / (seconds or 1),
        "acknowledged": [entry for one in asking for entry in one.acknowledged],
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
