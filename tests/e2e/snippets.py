"""The fenced blocks of a page, and what a comment above a block says about how it is tested.

```text
<!-- test: background 5000; prints: listening -->
```

The comment stands directly above its block. Its parts are separated by `;`: `background` (with a port to wait for),
`prints: TEXT`, `until: TEXT`, `continues`, `async`, `websocket`, `fails`, `guarded`, `not run: REASON`. Hidden code may stand
around a fragment, below lines that say `before:` and `after:`; below `check:` a script that is run once the block has been,
or, in the background, listens.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<language>[\w+-]*)(?P<rest>[^`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"^\s*<!--\s*test:(?P<text>.*?)-->\s*$", re.S)
_BACKGROUND = re.compile(r"background(?: (\d+))?")

FLAGS: Final = {"continues", "async", "websocket", "fails", "guarded"}
REASON_WORDS: Final = 3


class PageError(Exception):
    """A page holds something that is not understood."""


@dataclass(frozen=True, kw_only=True)
class Directives:
    """What the comment above a block says."""

    background: bool = False
    port: int | None = None
    prints: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    not_run: str | None = None
    before: str = ""
    after: str = ""
    check: str = ""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: where it begins (1 is the first line), its language, its title, its text."""

    page: str
    line: int
    language: str
    title: str | None
    text: str
    directives: Directives = field(default_factory=Directives)

    @property
    def place(self) -> str:
        """Where an editor finds it."""
        return f"{self.page}:{self.line}"

    @property
    def program(self) -> str:
        """Its text with the hidden code around it."""
        return f"{self.directives.before}{self.text}{self.directives.after}"


def blocks(path: Path, root: Path) -> list[Block]:
    """The blocks of a page, in order. Raises `PageError`."""
    return parse(path.relative_to(root).as_posix(), path.read_text())


def parse(page: str, text: str) -> list[Block]:
    """The blocks of a text, in order. Raises `PageError` for a comment that stands above none, or says something unknown."""
    return list(_blocks(page, text.splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    comment: tuple[int, str] | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence := _FENCE.match(line):
            end = _end(lines, number, fence["indent"] + fence["ticks"], page)
            directives = parse_directives(comment[1], f"{page}:{comment[0]}") if comment else Directives()
            title = _TITLE.search(fence["rest"])
            yield Block(
                page=page,
                line=number + 1,
                language=fence["language"],
                title=title[1] if title else None,
                text=textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n",
                directives=directives,
            )
            comment, number = None, end
        elif line.lstrip().startswith("<!-- test:"):
            end = next((n for n in range(number, len(lines)) if "-->" in lines[n]), len(lines) - 1)
            found = _COMMENT.match("\n".join(lines[number : end + 1]))
            if comment or not found:
                raise PageError(
                    f"{page}:{number + 1}: a comment for a test that is not ended, or two for one block"
                )
            comment, number = (number + 1, found["text"]), end
        elif line.strip() and comment:
            raise PageError(f"{page}:{comment[0]}: a comment for a test, and no block below it")
        number += 1
    if comment:
        raise PageError(f"{page}:{comment[0]}: a comment for a test, and no block below it")


def _end(lines: list[str], start: int, fence: str, page: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].rstrip() == fence:
            return number
    raise PageError(f"{page}:{start + 1}: a block that is not ended")


def parse_directives(text: str, place: str) -> Directives:
    """What stands between `<!-- test:` and `-->`. Raises `PageError`."""
    said, *hidden = re.split(r"^\s*(before|after|check):\s*$", text, flags=re.M)
    code = {
        name: textwrap.dedent(block).strip("\n") + "\n"
        for name, block in zip(hidden[::2], hidden[1::2], strict=True)
    }
    background, port, not_run = False, None, None
    texts: dict[str, list[str]] = {"prints": [], "until": []}
    flags: set[str] = set()
    for part in filter(None, (part.strip() for part in said.split(";"))):
        name, _, value = (each.strip() for each in part.partition(":"))
        if found := _BACKGROUND.fullmatch(part):
            background, port = True, int(found[1]) if found[1] else None
        elif part in FLAGS:
            flags.add(part)
        elif name in texts and value:
            texts[name].append(value)
        elif name == "not run" and len(value.split()) >= REASON_WORDS:
            not_run = value
        else:
            raise PageError(f"{place}: what does {part!r} mean? (`not run` wants a reason)")
    return Directives(
        background=background,
        port=port,
        prints=tuple(texts["prints"]),
        until=tuple(texts["until"]),
        flags=frozenset(flags),
        not_run=not_run,
        before=code.get("before", ""),
        after=code.get("after", ""),
        check=code.get("check", ""),
    )
