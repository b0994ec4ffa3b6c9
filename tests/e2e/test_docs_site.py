"""The documentation site: it builds without a broken link, is whole without any other host, and can be read by everyone."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.javascript import run_in_browser
from tests.e2e.stack import ROOT

_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?([^\"'\s>]+)|<link\b[^>]*\bhref=[\"']?([^\"'\s>]+)"
)
_CSS = re.compile(r"url\([\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")
BUILD_SECONDS = 120


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `strict` is set: a warning, such as one of a broken link or anchor, fails the build."""
    directory: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = [url for page in pages for pair in _LOADED.findall(page.read_text()) for url in pair if url]
    loaded += [
        url
        for sheet in site.rglob("*.css")
        for pair in _CSS.findall(sheet.read_text())
        for url in pair
        if url
    ]
    assert len(loaded) > 100
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []


def test_what_is_said_to_the_tests_is_not_published(site: Path) -> None:
    assert [page for page in site.rglob("*.html") if "<!-- test:" in page.read_text()] == []


def test_it_can_be_read_and_searched_in_a_browser(served: str) -> None:
    run_in_browser("docs_site.mjs", SITE=served)
