"""The bench, in its shortest form: it measures, it checks what it did, and says so. And its checks can fail."""

import re
import subprocess
import sys
import time
from pathlib import Path

import orjson
from django.db import transaction
from django.utils import timezone

from bench import checks, report
from bench.drivers.audience import Listener
from bench.drivers.pacing import pace
from conversations.models import Conversation, Message
from fleetlm.config import PROJECT_ROOT


def test_it_prints_figures_and_checks_them(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "--quick",
        "--processes",
        "2",
        "--only",
        "rest",
        "--json",
        str(figures),
    ]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = r"REST appends/s, 32 connections, 100 conversations +3,000 · 6,000 +[\d,.]+ .+ bare server [\d,]+"
    assert re.search(row, done.stdout)
    assert re.search(r"Checks passed: [\d,]+ acknowledged appends are stored", done.stdout)
    result = orjson.loads(figures.read_bytes())
    medians = result["medians"]
    assert medians["2"]["rest"] > 10
    assert medians["ceilings"]["bare_http"] > medians["2"]["rest"]
    assert medians["ceilings"]["pgbench_64"] > 10
    assert result["machine"]["cores"] >= 1
    assert result["cpu"]["rest ×2"][0]["driver"] > 0
    assert result["cpu"]["rest ×2"][0]["serve"] > 0


def test_the_table_has_medians_goals_and_ratios() -> None:
    rounds = {
        "1": {"rest": [3_000.0, 4_000.0, 3_100.0]},
        "2": {"rest": [6_200.0]},
        "ceilings": {"bare_http": [20_000.0]},
    }
    (line,) = [line for line in report.table(rounds).splitlines() if line.startswith("REST")]
    assert re.search(
        r"3,000 · 6,000 +3,100 \(3,000 – 4,000\) +✓ +6,200 +✓✓ +2\.00 +bare server 20,000$", line
    )


def test_its_checks_find_what_is_wrong() -> None:
    key = "a-log-with-a-hole"
    with transaction.atomic():
        conversation = Conversation.objects.create(key=key, kind="group", last_seq=3, countable=3)
        stored = [
            Message.objects.create(
                conversation=conversation,
                seq=seq,
                countable=seq,
                sender_id="somebody",
                client_id=f"run987-{seq}",
                created_at=timezone.now(),
            )
            for seq in (1, 3)
        ]
        first, last = [(key, one.seq, str(one.id)) for one in stored]
        assert f"the log of {key} is not 1, 2, 3 … to its head" in checks.logs()
        assert checks.acknowledged([first, last]) == []
        missing = [first, (key, 2, first[2])]
        assert checks.acknowledged(missing) == ["1 acknowledged messages are not stored as acknowledged"]
        assert "run987" not in checks.runs({"run987": 2})
        assert checks.runs({"run987": 3})["run987"] == "2 messages are stored, 3 were acknowledged"
        assert checks.runs({})["run987"] == "2 messages are stored, 0 were acknowledged"
        transaction.set_rollback(True)


def _checked(*seqs: int) -> list[str]:
    """What a reader of 5, 6, 7 finds wrong when these come, each in two halves."""
    listener = Listener(None, 4)
    for seq in seqs:
        frame = b'["1",null,"conversation:k","message",{"id":"%s","seq":%d,"text":""}]' % (b"0" * 36, seq)
        listener.data_received(frame[:60])
        listener.data_received(frame[60:])
    return listener.check(7)


def test_a_reader_finds_what_is_missing_or_out_of_order() -> None:
    assert _checked(5, 6, 7) == []
    assert _checked(5, 7) == ["a socket got 2 of 3 messages, or not in order"]
    assert _checked(5, 7, 6) == ["a socket got 3 of 3 messages, or not in order"]
    assert _checked(5, 6, 6, 7) == ["a socket got 4 of 3 messages, or not in order"]


def test_a_seq_that_is_cut_in_two_counts_when_it_is_whole() -> None:
    listener = Listener(None, 4)
    for piece, newest in ((b'"seq":5,"text":"","seq":6', 4), (b'1,"text"', 61), (b'"seq":62,', 62)):
        listener.data_received(piece)
        assert listener.look() == newest


async def test_an_open_loop_sends_at_its_times_and_says_how_late_it_was() -> None:
    sent: list[tuple[int, float]] = []

    def send(number: int, due: float) -> None:
        sent.append((number, due))
        if number == 10:
            time.sleep(0.05)  # what a driver must not do: it shows in what came after

    late = await pace(1_000, 100, send)
    assert [number for number, _ in sent] == list(range(100))
    assert all(round((due - sent[0][1]) * 1_000) == number for number, due in sent)
    assert late[11] > 0.04
    assert len(late) == 100
