"""`fleetlm completion`: the script that a shell reads at its start."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fleetlm_client.cli.failures import Exit, Failed

KEYS_ARE_ONE_WORD = 'COMP_WORDBREAKS="${COMP_WORDBREAKS//:/}"'
"""Bash takes a colon for the end of a word, and a dm's key holds one."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes verbs, options, keys and agents.

    \b
    bash: eval "$(fleetlm completion bash)"          in ~/.bashrc
    zsh:  eval "$(fleetlm completion zsh)"           in ~/.zshrc
    fish: fleetlm completion fish | source           in ~/.config/fish/config.fish
    """
    made_by = get_completion_class(shell)
    if made_by is None:
        raise Failed(f"There is no completion for {shell}.", code="usage", exit_code=Exit.USAGE)
    script = made_by(context.find_root().command, {}, "fleetlm", "_FLEETLM_COMPLETE").source()
    click.echo(f"{KEYS_ARE_ONE_WORD}\n{script}" if shell == "bash" else script)
