"""What kind of machine this is, so that figures of two can be compared."""

import os
import platform
import re
from pathlib import Path
from time import perf_counter

LOOPS = 1_000_000
BLOCK = b"\0" * 8_192
SYNCS_SECONDS = 0.3


def facts() -> dict[str, str | int]:
    """Processor, cores, system, Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def loops_per_second() -> float:
    """How fast this Python counts to a million: millions of turns of an empty loop a second."""
    began = perf_counter()
    for _ in range(LOOPS):
        pass
    return LOOPS / (perf_counter() - began) / 1_000_000


def syncs_per_second(directory: Path) -> float:
    """How many blocks of 8 KiB this disk takes for good, one after the other: what a commit waits for."""
    count = 0
    descriptor = os.open(directory / "syncs", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        began = perf_counter()
        while (passed := perf_counter() - began) < SYNCS_SECONDS:
            os.pwrite(descriptor, BLOCK, 0)
            os.fsync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
        (directory / "syncs").unlink()
    return count / passed


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
