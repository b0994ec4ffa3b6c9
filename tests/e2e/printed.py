"""What a program prints, as it prints it."""

import os
import subprocess
import threading


class Printed:
    """Reads a program's standard output in a thread, so that a test can await a text or the end."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.ended = False
        """Whether the test has ended it."""
        self._bytes = bytearray()
        self._changed = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while part := os.read(self.process.stdout.fileno(), 65_536):
            with self._changed:
                self._bytes += part
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def text(self) -> str:
        """All of it so far."""
        with self._changed:
            return self._bytes.decode(errors="replace")

    def await_text(self, text: str, seconds: float) -> bool:
        """Whether it was printed within these seconds; known at once when the program has ended."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(lambda: wanted in self._bytes or self._over, seconds)
            return wanted in self._bytes

    def await_end(self, seconds: float) -> int | None:
        """Its exit code; None if it still runs after these seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """After its end: wait for the last of its output."""
        self._reader.join(3.0)
        assert self.process.stdout is not None
        self.process.stdout.close()
