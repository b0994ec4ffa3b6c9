"""`python -m tests.e2e.dispatchers COUNT`: so many dispatchers, each replaced at once when it dies.

They are processes like those of `manage.py dispatch`, but forked from one that has imported everything already: to
start Python and Django costs more than a second, and a test that kills a dispatcher each second would see nothing else.
"""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from django.core.management import load_command_class
from django.core.management.base import BaseCommand


class Nursery:
    """Keeps so many dispatchers running until SIGTERM, which it hands on to them."""

    def __init__(self, command: BaseCommand) -> None:
        self._command = command
        self._children: set[int] = set()
        self._stopping = False

    def run(self, count: int) -> None:
        """Return when all have ended that SIGTERM has told to stop."""
        signal.signal(signal.SIGTERM, self._stop)
        for _ in range(count):
            self._start()
        while self._children:
            pid, _ = os.wait()
            self._children.discard(pid)
            if not self._stopping:
                self._start()

    def _start(self) -> None:
        # Until the child is known, SIGTERM waits; and until it answers to it, too.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if not pid:
            self._dispatch()
        self._children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _dispatch(self) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        code = 1
        try:
            self._command.handle()
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)


def main() -> None:
    """Import what a dispatcher needs, and start them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetlm.settings")
    import django

    django.setup()
    Nursery(load_command_class("runtime", "dispatch")).run(int(sys.argv[1]))


if __name__ == "__main__":
    main()
