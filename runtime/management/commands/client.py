"""`manage.py client`: conversations at a terminal, and for programs over pipes."""

import asyncio
import contextlib
import os
import sys
from argparse import ArgumentParser
from typing import Any

import aiohttp
from django.conf import settings
from django.core.management.base import BaseCommand

from runtime.client.chat import Chat
from runtime.client.errors import ClientError
from runtime.client.follow import Place, follow_conversation, follow_inbox
from runtime.client.output import as_json, for_people, notice_on
from runtime.client.server import Server

UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listened on, not called


class Command(BaseCommand):
    help = "Send, follow and read conversations of a running server. One JSON object a line, except for `chat` at a terminal."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        common = ArgumentParser(add_help=False)
        common.add_argument(
            "--as", dest="participant", required=True, metavar="ID", help="who speaks and reads"
        )
        common.add_argument("--url", default=_default_url(), help="the server; default: %(default)s")
        # A person's credential, not a setting of the server: hence read here.
        common.add_argument(
            "--token",
            default=os.environ.get("FLEETLM_TOKEN"),
            help="an API key or participant token; default: the environment variable FLEETLM_TOKEN",
        )
        verbs = parser.add_subparsers(dest="verb", required=True)

        def verb(name: str, text: str, *, key: bool = True) -> ArgumentParser:
            added: ArgumentParser = verbs.add_parser(name, parents=[common], help=text, description=text)
            if key:
                added.add_argument("key", help="the conversation's key, such as lounge or alice:echo-bot")
            return added

        send = verb("send", "Send one message and print it as stored.")
        send.add_argument("text", help="what to say; - reads it from standard input")
        send.add_argument("--client-id", help="a retry with the same one is stored once")
        send.add_argument("--reply-to", type=int, metavar="SEQ")
        tail = verb(
            "tail", "Print messages as they come, without a hole or a repeat, whatever happens between."
        )
        tail.add_argument(
            "--after", type=int, metavar="SEQ", help="begin after this one; 0 begins with the first"
        )
        tail.add_argument(
            "--last", type=int, default=10, help="else begin with so many; default: %(default)s"
        )
        history = verb("history", "Print older messages, oldest first.")
        history.add_argument("--before", type=int, metavar="SEQ")
        history.add_argument("--limit", type=int, default=50, help="default: %(default)s")
        inbox = verb("inbox", "Print the inbox, one conversation a line.", key=False)
        inbox.add_argument("--follow", action="store_true", help="go on with every entry that changes")
        chat = verb("chat", "Talk. Over pipes: lines of text or JSON in, JSON out.")
        chat.add_argument("--last", type=int, default=10, help="begin with so many; default: %(default)s")
        chat.add_argument(
            "--wait", type=float, default=0.0, metavar="SECONDS", help="go on listening after the input's end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            failed = asyncio.run(self._run(options))
        except ClientError as error:
            notice_on(sys.stderr)(error)
            failed = True
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # Whoever read this has gone; Python would complain once more when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if failed:
            sys.exit(1)

    async def _run(self, options: dict[str, Any]) -> bool:
        async with aiohttp.ClientSession() as http:
            server = Server(http, options["url"], options["participant"], options["token"] or None)
            if options["verb"] == "chat":
                return await _chat(server, options)
            await _VERBS[options["verb"]](server, options)
            return False


async def _send(server: Server, options: dict[str, Any]) -> None:
    text = sys.stdin.read() if options["text"] == "-" else options["text"]
    asked = {"text": text, "client_id": options["client_id"], "reply_to": options["reply_to"]}
    body = {name: value for name, value in asked.items() if value is not None}
    as_json(sys.stdout)(await server.send(options["key"], body))


async def _tail(server: Server, options: dict[str, Any]) -> None:
    show = as_json(sys.stdout)
    place = Place(seq=options["after"], newest=options["last"])
    messages = follow_conversation(server, options["key"], place, notice_on(sys.stderr))
    async with contextlib.aclosing(messages):
        async for message in messages:
            show(message)


async def _history(server: Server, options: dict[str, Any]) -> None:
    show = as_json(sys.stdout)
    for message in await server.history(options["key"], options["before"], options["limit"]):
        show(message)


async def _inbox(server: Server, options: dict[str, Any]) -> None:
    show = as_json(sys.stdout)
    if not options["follow"]:
        for entry in await server.inbox():
            show(entry)
        return
    entries = follow_inbox(server, notice_on(sys.stderr))
    async with contextlib.aclosing(entries):
        async for entry in entries:
            show(entry)


async def _chat(server: Server, options: dict[str, Any]) -> bool:
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    show = for_people(sys.stdout) if at_terminal else as_json(sys.stdout)
    chat = Chat(server, options["key"], show, notice_on(sys.stderr))
    await chat.run(sys.stdin, Place(newest=options["last"]), options["wait"])
    return bool(chat.failures)


_VERBS = {"send": _send, "tail": _tail, "history": _history, "inbox": _inbox}


def _default_url() -> str:
    host = UNSPECIFIED.get(settings.FLEETLM.host, settings.FLEETLM.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.FLEETLM.port}"
