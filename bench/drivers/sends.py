"""Appends over sockets: each socket keeps a bounded number of sends under way over the conversations it has joined."""

import asyncio
from typing import Any

from bench.drivers.harness import Acknowledged, Plan, Result, Window, drive, until
from bench.drivers.websocket import TEXT, Socket, client_frame, send_frame


class Sender(Socket):
    """Sends the next message for each that was acknowledged."""

    def __init__(self, plan: Plan, number: int) -> None:
        super().__init__()
        self.acknowledged: list[Acknowledged] = []
        self.under_way: dict[str, str] = {}
        self._name = f"{plan['run']}-{number}"
        self._text: str = plan["text"]
        self._number = 0
        self._unsent: list[bytes] = []

    def start(self, window: Window, in_flight: int) -> None:
        """Fill the window."""
        self._window = window
        self._topics = list(self.seen)
        for _ in range(in_flight):
            self._send()
        self._flush()

    def _send(self) -> None:
        self._number += 1
        ref = str(self._number)
        topic = self._topics[self._number % len(self._topics)]
        self.under_way[ref] = topic
        self._unsent.append(client_frame(TEXT, send_frame(ref, topic, self._text, f"{self._name}-{ref}")))

    def _flush(self) -> None:
        if self._unsent:
            self.transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def take(self, data: bytes) -> None:
        """One write for all that became possible by this data."""
        super().take(data)
        self._flush()

    def reply(self, ref: str, payload: Any) -> None:
        topic = self.under_way.pop(ref)
        if payload["status"] != "ok":
            self.faults.append(str(payload["response"]))
            return
        response = payload["response"]
        self.acknowledged.append((topic.removeprefix("conversation:"), response["seq"], response["id"]))
        if self._window.note() < self._window.closes:
            self._send()

    def complete(self) -> bool:
        """Whether every send was acknowledged and every acknowledged message was seen."""
        newest: dict[str, int] = {}
        for key, seq, _ in self.acknowledged:
            newest[key] = max(seq, newest.get(key, 0))
        return not self.under_way and all(
            self.seen[f"conversation:{key}"] >= seq for key, seq in newest.items()
        )


async def main(plan: Plan) -> Result:
    """Send for the planned time, then wait until all of it was acknowledged and seen."""
    senders = []
    for number, one in enumerate(plan["sockets"]):
        sender = await Sender.connect(plan["port"], one["token"], plan, number)
        await asyncio.gather(*(sender.join(f"conversation:{key}") for key in one["keys"]))
        senders.append(sender)
    window = Window(plan)
    for sender in senders:
        sender.start(window, plan["in_flight"])
    await window.wait()
    complete = await until(lambda: all(sender.complete() for sender in senders), 5)
    faults = [fault for sender in senders for fault in sender.faults]
    if not complete:
        faults.append("not every send was acknowledged and seen within 5 s")
    for sender in senders:
        sender.close()
    return {
        "per_second": window.per_second(),
        "acknowledged": [entry for sender in senders for entry in sender.acknowledged],
        "faults": faults[:10],
    }


if __name__ == "__main__":
    drive(main)
