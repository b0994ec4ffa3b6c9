"""`/api/conversations/{key}/messages/batch`: many messages of one conversation in one request."""

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.http import HttpRequest
from msgspec import Meta

from conversations import queries, rules
from conversations.append import Appended, message_as_dict
from conversations.errors import ConversationNotFound, InvalidRequest, NotAMember
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from fleetlm.errors import as_error
from fleetlm.sending import SendBody, append_request

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._@:-]{1,120}")
"""A `client_id` with room for the message's place in the request."""


class _Parts(forms.Form):
    """A `forms.BatchForm` whose messages are not read yet, so that a bad one is refused alone."""

    messages: Annotated[list[msgspec.Raw], Meta(min_length=1)]


class MessagesBatch(ApiView):
    """Appends, many at once."""

    @operation("Append many messages", body=forms.BatchForm, answers={200: forms.BatchAnswer})
    async def post(self, request: HttpRequest, key: str) -> Reply:
        """Append them in the order of the request; each succeeds or fails alone, and has its result at its place.

        The header `Idempotency-Key` stands for the `client_id`s `<key>-0`, `<key>-1` … where a message has none.
        """
        key = rules.canonical_key(key)
        self.principal.require("write")
        bodies = self._bodies(_idempotency_key(request))
        self.principal.require_key(key)
        await self._require_conversation(key)
        # No turn of the loop comes between them: they stand side by side in the queue, in this order.
        waiting = [self._submit(body, key) for body in bodies]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        return Reply({"results": [_result(outcome) for outcome in outcomes]})

    def _bodies(self, idempotency_key: str | None) -> list[SendBody | Exception]:
        parts = self.body(_Parts).messages
        limit = settings.FLEETLM.batch_messages
        if len(parts) > limit:
            raise InvalidRequest(f"A batch holds at most {limit} messages.", field="messages", limit=limit)
        return list(_read(parts, idempotency_key))

    async def _require_conversation(self, key: str) -> None:
        """What is wrong for every message alike is the request's error. A missing dm is made, for those who may."""
        async with self.runtime.pool.connection() as connection:
            view = await queries.view(connection, key, self.principal.participant_id)
        if view is None and self.principal.may_create and rules.is_dm(key):
            await self.runtime.gateway.ensure_dm(key)
        elif view is None:
            raise ConversationNotFound(key=key) if self.principal.is_server else NotAMember(key=key)
        elif not self.principal.is_server and view.role is None and view.kind != "broadcast":
            raise NotAMember(key=key)

    def _submit(self, body: SendBody | Exception, key: str) -> asyncio.Future[Appended]:
        try:
            if isinstance(body, Exception):
                raise body
            return self.runtime.gateway.appender.submit(append_request(body, self.principal, key))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other messages have nothing to do with it
            refused: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused


def _idempotency_key(request: HttpRequest) -> str | None:
    header: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if not header:
        return None
    key = header.strip('"')
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            "The Idempotency-Key of a batch must be 1 to 120 of the characters A-Z a-z 0-9 . _ @ : -",
            field="Idempotency-Key",
        )
    return key


def _read(parts: list[msgspec.Raw], idempotency_key: str | None) -> Iterator[SendBody | Exception]:
    for place, part in enumerate(parts):
        try:
            body = msgspec.json.decode(part, type=SendBody)
        except msgspec.MsgspecError as error:
            yield error
            continue
        if body.client_id is None and idempotency_key is not None:
            body.client_id = f"{idempotency_key}-{place}"
        yield body


def _result(outcome: Appended | BaseException) -> dict[str, Any]:
    if isinstance(outcome, Appended):
        return {"message": message_as_dict(outcome.message) | {"deduplicated": outcome.deduplicated}}
    if not isinstance(outcome, Exception):
        raise outcome
    return as_error(outcome).as_dict()
