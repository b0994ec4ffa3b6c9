"""The command itself: its verbs, each imported when it is used, and how every error ends."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from fleetlm_client.cli.caller import Setting, Typed, connection_options
from fleetlm_client.cli.failures import Exit, Failed, exit_code_of, tell
from fleetlm_client.errors import FleetLMError

VERBS = {
    "chat": ("talking", "Talk to an agent, a person or a group."),
    "send": ("messages", "Send one message."),
    "tail": ("messages", "Print messages as they come."),
    "history": ("messages", "Print older messages."),
    "search": ("messages", "Find messages by their words."),
    "read": ("messages", "Say how far you have read."),
    "replay": ("messages", "Print a whole conversation as JSON lines."),
    "inbox": ("inbox", "Your conversations with their unread counts."),
    "conversations": ("conversations", "Make, show and change conversations."),
    "agents": ("agents", "Register agents, and see to what is delivered to them."),
    "token": ("server", "Mint a participant's token."),
    "status": ("server", "Is the server well?"),
    "request": ("server", "Any call of the REST API."),
    "mcp": ("server", "Serve conversations to a model, as a Model Context Protocol server."),
    "profile": ("profile_commands", "Servers by name."),
    "completion": ("completion", "Completion for your shell."),
}
"""Each verb: the module that has it, and what it does. So `--help` imports none of them."""


class Verbs(click.Group):
    """The verbs, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb out of its module."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"fleetlm_client.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them by what the table says."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@connection_options
@click.version_option(package_name="fleetlm")
@click.pass_context
def root(
    context: click.Context,
    url: str | None,
    token: str | None,
    participant: str | None,
    profile: str | None,
    retry_for: float | None,
    as_json: bool,
) -> None:
    """Conversations between people and agents.

    Readable at a terminal; over pipes JSON lines in and out. Exit codes: 0 done, 1 the server refused, 2 not understood,
    3 no server reached, 4 no agent answered.
    """
    door = context.obj.url if isinstance(context.obj, Setting) else None
    context.obj = Setting(Typed(url, token, participant, profile, retry_for, as_json), door)


def run(arguments: Sequence[str] | None, url: str | None, name: str) -> int:
    """Run the command with these arguments, or the process's own; its exit code."""
    try:
        done = root.main(arguments, prog_name=name, standalone_mode=False, obj=Setting(url=url))
        return done if isinstance(done, int) else Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        return _misunderstood(error)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except Failed as error:
        tell(sys.stderr, error.code, str(error), error.details)
        return error.exit_code
    except FleetLMError as error:
        tell(sys.stderr, error.code, error.message, error.details)
        return exit_code_of(error.code, error.status)
    except UnicodeError as error:
        tell(sys.stderr, "usage", f"This is no text in UTF-8: {error}")
        return Exit.USAGE
    except BrokenPipeError:
        # Whoever read this has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


def _misunderstood(error: click.ClickException) -> int:
    if sys.stderr.isatty():
        error.show()
    else:
        tell(sys.stderr, "usage", error.format_message())
    return Exit.USAGE
