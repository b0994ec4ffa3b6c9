"""The session that runs the blocks of a page: what it sees when a page does not keep its word."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import page_session
from tests.e2e.page_session import BlockError, PageSession
from tests.e2e.snippets import parse


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageSession]:
    """A page without a server; a block that hangs fails soon."""
    monkeypatch.setattr(page_session, "BLOCK_SECONDS", 2.0)
    monkeypatch.setattr(page_session, "LATE_SECONDS", 1.0)
    session = PageSession(tmp_path, dict(os.environ), "http://127.0.0.1:9", None)
    yield session
    session.stop()


def run(session: PageSession, page: str) -> None:
    for block in parse("page.md", page):
        session.run(block)
    session.finish()


def test_a_page_is_one_session(session: PageSession) -> None:
    run(
        session,
        """
```sh
NAME=fleet
mkdir there && cd there
```

```python title="words.py"
word = "hello"
```

<!-- test: prints: hello fleet -->
```python
import os
from words import word
text = f"{word} {os.environ['NAME']}"
print(text)
```

<!-- test: continues; async; prints: HELLO FLEET -->
```python
import asyncio
await asyncio.sleep(0)
print(text.upper())
```

<!-- test: prints: there -->
```sh
basename "$PWD"
```
""",
    )


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("```sh\nfalse | true\nls\n```", "ended with 1"),
        ("```sh\necho $UNSET_HERE\n```", "unbound variable"),
        ("```sh\nsleep 60\n```", "ended with None"),
        ("```sh\ncurl http://127.0.0.1:4000/health\n```", "ended with 7"),
        ("```sh\npip install no-such-package-at-all\n```", "ended with 1"),
        ("```sh\nmake no-such-target\n```", "no target"),
        ("```python\nawait x\n```", "SyntaxError"),
        ("```python\nraise SystemExit(3)\n```", "ended with 3"),
        ("<!-- test: fails -->\n```sh\ntrue\n```", "ended with 0"),
        ("<!-- test: prints: no -->\n```sh\necho yes\n```", "did not print 'no'"),
        ("<!-- test: until: no -->\n```sh\necho yes; sleep 60\n```", "did not print 'no'"),
        ("<!-- test: background 5000 -->\n```sh\nsleep 60\n```", "does not listen"),
        ("<!-- test: background; prints: no -->\n```sh\nsleep 60\n```", "did not print 'no'"),
        ("<!-- test:\ncheck:\nfalse\n-->\n```sh\ntrue\n```", "ended with 1"),
        ("<!-- test: continues -->\n```python\nprint()\n```", "continues nothing"),
        ("<!-- test: guarded -->\n```sh\ntrue\n```", "no guarded server"),
        ('```python title="manage.py"\n```', "a file of the repository"),
        ('```python title="docs/x.py"\n```', "a file of the repository"),
    ],
)
def test_a_page_that_does_not_keep_its_word_fails(session: PageSession, block: str, says: str) -> None:
    with pytest.raises(BlockError, match=says):
        run(session, block)


def test_a_background_program_that_fails_is_seen_at_the_pages_end(session: PageSession) -> None:
    (block,) = parse("page.md", "<!-- test: background -->\n```sh\nexit 4\n```")
    session.run(block)
    ((_, running),) = session.background
    assert running.await_end(5) == 4
    with pytest.raises(BlockError, match="failed in the background"):
        session.finish()


def test_a_second_program_takes_the_port_of_the_first(session: PageSession) -> None:
    serve = 'python -m http.server 5000 --bind 127.0.0.1 --directory "$PAGE"'
    run(session, f"<!-- test: background 5000 -->\n```sh\n{serve}\n```\n" * 2)
    assert [running.process.poll() is None for _, running in session.background] == [False, True]
    session.stop()
    assert not page_session.listens(session.port("5000"))
