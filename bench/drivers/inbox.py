"""Inbox snapshots, each connection with the token of the participant whose inbox it reads."""

from bench.drivers import http
from bench.drivers.harness import Plan, Result, Window, drive


class Reads(http.Connection):
    """Reads one inbox again and again."""

    method = "GET"
    status = b"200"

    def __init__(self, plan: Plan, number: int, window: Window) -> None:
        super().__init__(plan, number, window)
        self._path = f"/api/inbox/{plan['participant']}"
        self._entries: int = plan["entries"]

    def next_request(self) -> tuple[str, bytes]:
        return self._path, b""

    def answered(self, body: bytes) -> int:
        entries = body.count(b'"unread_count":')
        if entries != self._entries:
            self.faults.append(f"a snapshot had {entries} of {self._entries} conversations")
        return 1


async def main(plan: Plan) -> Result:
    """Read for the planned time."""
    window = Window(plan)
    return await http.run(plan, window, [Reads(plan, n, window) for n in range(plan["connections"])])


if __name__ == "__main__":
    drive(main)
