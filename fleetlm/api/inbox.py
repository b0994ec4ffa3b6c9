"""`/api/inbox/{participant_id}`: the snapshot, and the live inbox as Server-Sent Events."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.event_stream import EventAddress, EventStream
from fleetlm.api.messages import EventsView
from fleetlm.api.schema import operation


class Inbox(ApiView):
    """A participant's inbox."""

    @operation("Read an inbox", answers={200: forms.InboxAnswer})
    async def get(self, request: HttpRequest, participant_id: str) -> Reply:
        """The newest conversations with unread counts, mentions and previews."""
        participant_id = self.principal.read_inbox_of(participant_id)
        return Reply(b'{"conversations":' + await self.runtime.inboxes.snapshot(participant_id) + b"}")


class InboxEvents(EventsView):
    """The live inbox."""

    @operation(
        "Follow an inbox", query=forms.EventsQuery, answers={200: None}, media_type="text/event-stream"
    )
    async def get(self, request: HttpRequest, participant_id: str) -> HttpResponseBase:
        """First `snapshot {conversations}`, then a `tick {updates}` for what changes. A returning client starts anew."""
        self.query(forms.EventsQuery)
        participant_id = self.principal.read_inbox_of(participant_id)
        address = EventAddress(None)
        stream = EventStream(self.principal, address, self.runtime.draining)
        inboxes = self.runtime.inboxes
        snapshot = await inboxes.join(participant_id, stream)
        stream.write(address.frame("snapshot", b'{"conversations":' + snapshot + b"}", None))
        inboxes.ready(participant_id, stream)
        return stream.response(closed=lambda: inboxes.leave(participant_id, stream))
