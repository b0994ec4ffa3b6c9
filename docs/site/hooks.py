"""What `mkdocs build` does beside rendering `docs/`: the API reference, and pages for files that documents link to.

A link such as `../examples/plain_agent/agent.py` works where the repository is browsed. On the site it leads to a page that
shows the file; README files become pages as they are.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from docs.site import reference

ROOT: Final = Path(__file__).resolve().parents[2]
PLACES: Final = {
    "clients/typescript/README.md": "clients/typescript.md",
    "clients/python/README.md": "clients/python.md",
}
"""Where files of the repository stand on the site, when it is not `source/` and their path."""
LANGUAGES: Final = {
    ".py": "python",
    ".mjs": "js",
    ".js": "js",
    ".ts": "ts",
    ".tsx": "tsx",
    ".toml": "toml",
    ".yml": "yaml",
    ".json": "json",
}

_LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")
_TEST: Final = re.compile(r"^[ \t]*<!-- test:.*?-->[ \t]*\n", re.M | re.S)
_FENCED: Final = re.compile(r"(^[ ]*```.*?^[ ]*```[^\n]*$)", re.M | re.S)

origins: dict[str, str] = {}
"""Where in the repository a page of the site comes from."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    origins.clear()
    origins.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    files.append(
        File.generated(
            config, "assets/logo.svg", abs_src_path=str(ROOT / "fleetlm/static/fleetlm/favicon.svg")
        )
    )
    for name, text in reference.pages(reference.openapi()).items():
        files.append(File.generated(config, f"api/{name}", content=text))
    waiting = [page for origin in origins.values() for page in linked(origin)]
    while waiting:
        path = waiting.pop()
        page = page_of(path)
        if page not in origins and not path.startswith("docs/") and (ROOT / path).is_file():
            origins[page] = path
            shown = InclusionLevel.INCLUDED if path in PLACES else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, page, content=content_of(path), inclusion=shown))
            waiting += linked(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave out what is said to the tests, put in what is made, and turn links to the repository into links to pages."""
    markdown = _TEST.sub("", markdown)
    for mark, table in (
        ("<!-- errors -->", reference.error_table),
        ("<!-- resources -->", reference.resource_rows),
    ):
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    origin = origins.get(page.file.src_uri)
    return markdown if origin is None else moved(markdown, origin, page.file.src_uri)


def linked(origin: str) -> Iterator[str]:
    """The files of the repository that one of its documents links to."""
    if origin.endswith(".md"):
        for prose in _prose((ROOT / origin).read_text()):
            for target in _LINK.findall(prose):
                yield target_of(target, origin)


def target_of(target: str, origin: str) -> str:
    """A link's target as a path of the repository; a directory's is its README."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def page_of(path: str) -> str:
    """The page of the site that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return PLACES.get(path, f"source/{path}" if path.endswith(".md") else f"source/{path}.md")


def moved(markdown: str, origin: str, page: str) -> str:
    """A document's text with the links that a page of the site needs."""

    def link(found: re.Match[str]) -> str:
        return posixpath.relpath(page_of(target_of(found[1], origin)), posixpath.dirname(page))

    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(link, prose) for prose in parts[::2]]
    return "".join(parts)


def _prose(markdown: str) -> list[str]:
    """The text between the fenced blocks."""
    return _FENCED.split(markdown)[::2]


def content_of(path: str) -> str:
    """A file of the repository as a page."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"# {Path(path).name}\n\n`{path}`\n\n````{language}\n{text}\n````\n"


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """The schema itself, for tools."""
    import json

    (Path(config.site_dir) / "api/openapi.json").write_text(json.dumps(reference.openapi()))
