"""`/api/search`: messages by the words in them."""

from django.http import HttpRequest

from conversations import queries, search
from conversations.append import message_as_dict
from conversations.errors import InvalidRequest, NotAMember
from conversations.search import Place
from fleetlm.api import search_forms as forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from fleetlm.auth.access import find_conversation
from runtime.search import Scope


class Search(ApiView):
    """What was said in the conversations of a participant."""

    @operation("Search messages", query=forms.SearchQuery, answers={200: forms.SearchAnswer})
    async def get(self, request: HttpRequest) -> Reply:
        """Messages that hold all of some words. A request looks at no more than `FLEETLM_SEARCH_MESSAGES` of them, and for
        about a second: ask again with its `cursor` until that is null."""
        self.principal.require("read")
        query = self.query(forms.SearchQuery)
        words = search.patterns(query.q)
        place = _place(query.cursor)
        scope = await self._scope(query)
        if scope.conversation and place and place.conversation_id != scope.conversation[0]:
            raise InvalidRequest("This cursor is of another search.", field="cursor")
        found = await self.runtime.searches.find(scope, words, place, query.limit)
        answer = {
            "messages": [message_as_dict(message) for message in found.messages],
            "cursor": found.rest and f"{found.rest.conversation_id}-{found.rest.before}",
            "examined": found.examined,
        }
        return Reply(answer)

    async def _scope(self, query: forms.SearchQuery) -> Scope:
        """What may be searched. Raises `NotAMember`, `NotAllowed` and the like."""
        named = query.participant_id
        if named is not None or not self.principal.is_server:
            named = self.principal.speak_as(named)
        if query.key is not None:
            view = await find_conversation(self.runtime, self.principal, query.key)
            if self.principal.is_server and named is not None:
                await self._require_reader(view, named)
            return Scope(conversation=(view.id, view.last_seq))
        if named is None:
            raise InvalidRequest(
                "Say whose conversations, or which one: participant_id or key.", field="participant_id"
            )
        return Scope(participant_id=named, keys=self.principal.conversations)

    async def _require_reader(self, view: queries.View, participant_id: str) -> None:
        """Whom a server names finds nothing that it could not read itself."""
        if view.kind == "broadcast":
            return
        async with self.runtime.pool.connection() as connection:
            if not await queries.still_members(connection, view.id, [participant_id]):
                raise NotAMember(participant_id=participant_id, key=view.key)


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    conversation_id, _, before = cursor.partition("-")
    return Place(int(conversation_id), int(before))
