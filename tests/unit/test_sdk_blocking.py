"""The Python SDK without `await`: threads that begin at once, and programs that end without closing."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fleetlm_client import FleetLM, FleetLMError

NOBODY = "http://127.0.0.1:9"


def loops() -> int:
    return sum("portal" in thread.name for thread in threading.enumerate())


def test_threads_that_begin_at_once_share_one_event_loop() -> None:
    before, together = loops(), threading.Barrier(8)
    fleet = FleetLM(NOBODY, participant_id="alice", retry_for=0)

    def ask(_: int) -> str:
        together.wait()
        with pytest.raises(FleetLMError) as failed:
            fleet.conversation("alice:bob").history()
        return failed.value.code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {"unreachable"}
        assert loops() == before + 1
        list(threads.map(lambda _: fleet.close(), range(8)))
    assert loops() == before


@pytest.mark.parametrize(("last", "ends_with"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
@pytest.mark.parametrize("token", ["None", "lambda: 'flk_x'", "lambda: time.sleep(60)"])
def test_a_program_that_does_not_close_ends(token: str, last: str, ends_with: int) -> None:
    program = f"""
import time
from fleetlm_client import FleetLM, FleetLMError, Timing
timing = Timing(reply=0.2)
fleet = FleetLM({NOBODY!r}, participant_id="alice", token={token}, retry_for=0, timing=timing)
try:
    fleet.conversation("alice:bob").history()
except FleetLMError as error:
    print(error.code)
events = fleet.conversation("alice:bob").events()
try:
    next(events)
except FleetLMError as error:
    print(error.code)
{last}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    code = "token_unavailable" if "sleep" in token else "unreachable"
    assert (done.stdout.split(), done.returncode) == ([code, code], ends_with)
    assert ("ZeroDivisionError" in done.stderr) == (ends_with == 1)
    assert "atexit" not in done.stderr
