"""Every fenced block of the documents does what it says: run in the order of its page against a running FleetLM, or parsed.

What a comment above a block may say: `tests/e2e/snippets.py`. What of a page is not run says why there, and is counted here.
"""

import json
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg
import pytest
import yaml

from docs.site import reference
from tests.e2e.javascript import built_sdk
from tests.e2e.page_session import BlockError, PageSession
from tests.e2e.snippets import Block, blocks, parse
from tests.e2e.stack import ROOT, Stack, guarded_stack, whole_stack

PAGES: Final = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")])
NAMES: Final = [page.relative_to(ROOT).as_posix() for page in PAGES]

NOT_RUN: Final = {
    "README.md": 2,
    "clients/typescript/README.md": 1,
    "docs/agents.md": 2,
    "docs/operating.md": 2,
    "docs/socket.md": 1,
}
"""How many blocks of a page are not run."""

FORGET: Final = """
CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
  SELECT id FROM conversations_conversation WHERE key NOT IN ('lounge', 'broadcast');
DELETE FROM agents_attempt WHERE stream_id IN
  (SELECT id FROM agents_deliverystream WHERE conversation_id IN (SELECT id FROM gone));
DELETE FROM agents_deliverystream WHERE conversation_id IN (SELECT id FROM gone)
  OR endpoint_id IN (SELECT id FROM agents_endpoint WHERE agent_id IS DISTINCT FROM 'echo-bot');
DELETE FROM inbox_mention WHERE conversation_id IN (SELECT id FROM gone);
DELETE FROM inbox_readcursor WHERE conversation_id IN (SELECT id FROM gone);
DELETE FROM conversations_message WHERE conversation_id IN (SELECT id FROM gone);
DELETE FROM conversations_membership WHERE conversation_id IN (SELECT id FROM gone);
DELETE FROM conversations_conversation WHERE id IN (SELECT id FROM gone);
DELETE FROM agents_endpoint WHERE agent_id IS DISTINCT FROM 'echo-bot';
DELETE FROM conversations_membership WHERE participant_id NOT IN ('alice', 'bob', 'echo-bot', 'system');
DELETE FROM conversations_participant WHERE id NOT IN ('alice', 'bob', 'echo-bot', 'system')
"""
STRICT: Final = {
    "strict": True,
    "noEmit": True,
    "target": "ES2022",
    "module": "NodeNext",
    "moduleDetection": "force",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "types": ["node"],
    "jsx": "react-jsx",
    "allowJs": True,
    "skipLibCheck": True,
}
RUN: Final = {"sh", "bash", "python", "js", "ts"}
PARSED: Final = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
SHOWN: Final = {"http", "text", "html", "nginx", "mermaid", "diff", "dockerfile", "tsx", "jsx"}


@pytest.fixture(scope="module")
def server() -> Iterator[Stack]:
    """A FleetLM of the documents' own."""
    with whole_stack() as running:
        key = running.manage(
            "createapikey", "docs", "--scope", "read", "--scope", "write", "--scope", "admin"
        ).strip()
        running.environment |= {"FLEETLM_API_KEY": key, "FLEETLM_TOKEN": key, "FLEETLM_URL": running.web[0]}
        yield running


@pytest.fixture(scope="module")
def guarded_url(server: Stack) -> Iterator[str]:
    """A web process on the same data that asks for keys and tokens."""
    with guarded_stack(server) as running:
        yield running.web[0]


@pytest.fixture
def session(server: Stack, request: pytest.FixtureRequest) -> Iterator[PageSession]:
    """A directory and a FleetLM as `make up` leaves it, for one page."""
    forget(server)
    page = request.node.callspec.params["page"] if hasattr(request.node, "callspec") else None
    guarded = page and any("guarded" in block.directives.flags for block in blocks(ROOT / page, ROOT))
    url = request.getfixturevalue("guarded_url") if guarded else None
    with tempfile.TemporaryDirectory(prefix="fleetlm-page-") as directory:
        session = PageSession(Path(directory), server.environment, server.web[0], url)
        yield session
        session.stop()


def forget(server: Stack) -> None:
    """Remove what other pages have made: all but what `manage.py migrate` and `manage.py seed_demo` make."""
    with psycopg.connect(server.database_url) as database:
        for statement in FORGET.split(";"):
            database.execute(statement)


@pytest.mark.parametrize("page", NAMES)
def test_the_blocks_of_a_page_work_as_typed(page: str, session: PageSession) -> None:
    run(session, blocks(ROOT / page, ROOT))


def run(session: PageSession, all_blocks: list[Block]) -> None:
    """Run those that are to be run, to the page's end."""
    failure = None
    try:
        for block in all_blocks:
            if block.language in RUN and not block.directives.not_run:
                session.run(block)
        session.finish()
    except BlockError as error:
        failure = str(error)
    if failure is not None:
        pytest.fail(failure, pytrace=False)


@pytest.mark.parametrize("page", NAMES)
def test_the_data_of_a_page_parses(page: str) -> None:
    for block in blocks(ROOT / page, ROOT):
        assert block.language in RUN | PARSED.keys() | SHOWN, f"{block.place}: what language is it?"
        if parse := PARSED.get(block.language):
            parse(block.text)


def test_what_is_not_run_is_counted() -> None:
    not_run = [block.page for page in PAGES for block in blocks(page, ROOT) if block.directives.not_run]
    assert Counter(not_run) == NOT_RUN


@pytest.mark.parametrize("page", NAMES)
def test_a_file_of_a_page_is_used_by_it(page: str) -> None:
    all_blocks = blocks(ROOT / page, ROOT)
    for number, block in enumerate(all_blocks):
        if block.title and block.language not in {"tsx", "jsx", *PARSED, *SHOWN}:
            stem = Path(block.title).stem
            assert any(stem in later.text for later in all_blocks[number + 1 :]), (
                f"{block.place}: nothing uses it"
            )


def test_the_typescript_of_the_pages_is_well_typed(tmp_path: Path) -> None:
    """All of it in one run of the compiler, each page in a directory of its own; of `jsx` only the form is checked."""
    built_sdk()
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT, "include": ["**/*"]}))
    for number, page in enumerate(PAGES):
        for name, text in typescript(blocks(page, ROOT)).items():
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    done = subprocess.run(
        ["node_modules/.bin/tsc", "--pretty", "false"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    named = [f"{number}: {name}" for number, name in enumerate(NAMES)]
    assert done.returncode == 0 or "TS18003" in done.stdout, "\n".join([done.stdout, *named])


def typescript(all_blocks: list[Block]) -> dict[str, str]:
    """The files of a page's TypeScript; a block that continues another holds that one too."""
    files: dict[str, str] = {}
    said: dict[str, str] = {}
    for block in all_blocks:
        if block.language in {"ts", "tsx", "jsx"} and not block.directives.not_run:
            before = said.get(block.language, "") if "continues" in block.directives.flags else ""
            text = before + block.program
            if not block.title:
                said[block.language] = text
            files[block.title or f"block_{block.line}.{block.language}"] = text
    return files


REFERENCE_NEEDS: Final = """
<!-- test: background 5000 -->
```sh
python examples/plain_agent/agent.py --port 5000
```

<!-- test: background 5001 -->
```python
from http.server import BaseHTTPRequestHandler, HTTPServer


class Subscriber(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", 5001), Subscriber).serve_forever()
```

```sh
post() { curl "http://127.0.0.1:4000/api/$1" -H 'Content-Type: application/json' -d "$2"; }
id() { python -c 'import json, sys; print(json.load(sys.stdin)["id"])'; }
post participants '{"id": "carol"}'
post agents '{"id": "shipping-bot", "url": "http://127.0.0.1:5000/"}'
post conversations '{"key": "ops", "participants": ["alice", "bob", "shipping-bot"]}'
SUBSCRIPTION_ID=$(post subscriptions '{"event": "message.created", "url": "http://127.0.0.1:5001/"}' | id)
post conversations/ops/messages '{"sender_id": "alice", "text": "hello"}'
curl 'http://127.0.0.1:4000/api/conversations/ops/messages?after=1&wait=15' | grep shipping-bot
for path in agents/shipping-bot "subscriptions/$SUBSCRIPTION_ID"; do
  until curl "http://127.0.0.1:4000/api/$path/streams/ops" | grep '"state":"idle"'; do sleep 0.1; done
done
```
"""
REOPEN: Final = "curl -X POST http://127.0.0.1:4000/api/conversations/ops/reopen"


def test_the_examples_of_the_reference_work(session: PageSession) -> None:
    """Those that delete come last; what was closed is opened again. There is no run to cancel, and no failing call to skip."""
    made = [
        block
        for name, text in reference.pages(reference.openapi()).items()
        for block in parse(f"docs/api/{name}", text)
    ]
    examples = [block for block in made if "$RUN_ID" not in block.text and "/skip" not in block.text]
    deleting = [block for block in examples if " -X DELETE " in block.text]
    closing = [block for block in examples if block.text.strip().endswith(("/close", "/archive"))]
    others = [block for block in examples if block not in deleting]
    reopened = [
        replace(block, text=f"{block.text}{REOPEN}\n") if block in closing else block for block in others
    ]
    run(session, [*parse("the reference", REFERENCE_NEEDS), *reopened, *deleting])
