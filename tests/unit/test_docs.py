"""What the documents name exists: files, modules, settings, commands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("clients/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
NOT_OF_THE_SERVER = {
    "FLEETLM_API_KEY",
    "FLEETLM_AS",
    "FLEETLM_PROFILE",
    "FLEETLM_TOKEN",
    "FLEETLM_URL",
    "FLEETLM_WEBHOOK_SECRET",
}
"""What clients and agents read from the environment."""


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


_PATH = re.compile(r"`((?:[a-z_.-]+/)+[A-Za-z0-9_.*-]*)(?:::[a-z_0-9]+)?`")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_SETTING = re.compile(r"\b(FLEETLM_[A-Z_]+)\b")
_COMMAND = re.compile(r"manage\.py ([a-z_]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    named = {*_PATH.findall(text), *_LINK.findall(text)}
    generated = (".fleetlm/", ".venv/", "staticfiles/")
    missing = [
        name
        for name in named
        if not name.startswith(generated)
        and not any(list(base.glob(name.rstrip("/"))) for base in (ROOT, document.parent))
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_setting_that_a_document_names_exists(document: Path) -> None:
    known = set(_SETTING.findall((ROOT / "docs/configuration.md").read_text())) | NOT_OF_THE_SERVER
    assert set(_SETTING.findall(document.read_text())) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    djangos = {"migrate", "collectstatic", "createsuperuser", "runserver", "check", "makemigrations", "help"}
    assert set(_COMMAND.findall(document.read_text())) <= ours | djangos


def test_examples_need_what_the_tests_install() -> None:
    """An example's requirements are those that its tests run with."""
    installed = {
        line.partition("#")[0].strip() for name in ("", "-dev") for line in _lines(f"requirements{name}.txt")
    }
    for requirements in sorted((ROOT / "examples").glob("*/requirements.txt")):
        wanted = {line.partition("#")[0].strip() for line in requirements.read_text().splitlines()}
        assert wanted <= installed, requirements


def _lines(name: str) -> list[str]:
    return (ROOT / name).read_text().splitlines()
