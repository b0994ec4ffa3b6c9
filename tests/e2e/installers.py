"""What stands for `pip`, `npm`, `npx` and `make` while the blocks of a page are run.

Nothing is installed or built, but what a page names must be there: the package in this environment, the script in its
package.json, the target in the Makefile.
"""

import importlib.metadata
import itertools
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pip(arguments: list[str]) -> None:
    """`install` of names, `-r FILE` and `-e PATH`."""
    _expect(arguments[:1] == ["install"], "pip install …")
    names = iter(arguments[1:])
    for name in names:
        if name in {"-r", "-e"}:
            path = next(names).partition("[")[0]
            _expect((ROOT / path).exists(), f"no {path} in the repository")
        elif not name.startswith("-"):
            importlib.metadata.distribution(re.split(r"[\[<>=!~ ]", name)[0])


def npm(arguments: list[str]) -> None:
    """`install` of names, `ci`, and `run SCRIPT` with a workspace."""
    options = dict(itertools.pairwise(arguments))
    workspace = options.get("--workspace") or options.get("-w") or "."
    words = [word for word in arguments if not word.startswith("-") and word != workspace]
    _expect(words[:1] in (["install"], ["ci"], ["run"], ["test"]), "npm install, ci, run or test")
    if words[0] == "run":
        scripts = json.loads((ROOT / workspace / "package.json").read_text()).get("scripts", {})
        _expect(words[1] in scripts, f"no script {words[1]} in {workspace}/package.json")
    elif words[0] == "install":
        for name in words[1:]:
            package = re.sub(r"(?<=.)@.*$", "", name)
            _expect((ROOT / "node_modules" / package).exists(), f"no {package} in node_modules")


def npx(arguments: list[str]) -> None:
    """A program of an installed package."""
    program = next(word for word in arguments if not word.startswith("-"))
    _expect((ROOT / "node_modules/.bin" / program).exists(), f"no {program} in node_modules/.bin")


def make(arguments: list[str]) -> None:
    """Targets of the Makefile."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in (word for word in arguments if "=" not in word and not word.startswith("-")):
        _expect(target in targets, f"no target {target} in the Makefile")


def _expect(holds: bool, message: str) -> None:
    if not holds:
        sys.exit(message)


if __name__ == "__main__":
    {"pip": pip, "npm": npm, "npx": npx, "make": make}[sys.argv[1]](sys.argv[2:])
