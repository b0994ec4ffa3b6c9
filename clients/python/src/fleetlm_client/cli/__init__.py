"""The `fleetlm` command: conversations at a terminal, and for programs over pipes.

It needs the extra `cli`; nothing of it is imported by the rest of the SDK.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(
    arguments: Sequence[str] | None = None, *, url: str | None = None, name: str = "fleetlm"
) -> NoReturn:
    """Run the command and end the process with its exit code (see `failures`).

    `url` is the server where neither the arguments nor the environment name one; with it the profile in use is passed
    over. `name` is what the command calls itself.
    """
    try:
        from fleetlm_client.cli.program import run
    except ModuleNotFoundError as error:
        if error.name not in ("click", "textual"):
            raise
        sys.exit("The fleetlm command needs two more packages: pip install 'fleetlm[cli]'")
    sys.exit(run(arguments, url, name))
