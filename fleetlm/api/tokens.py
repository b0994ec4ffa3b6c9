"""`/api/tokens`: a server gets its participants their tokens."""

from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest

from conversations.append import timestamp
from conversations.errors import InvalidRequest
from fleetlm.api import forms
from fleetlm.api.base import ApiView, Reply
from fleetlm.api.schema import operation
from fleetlm.auth import tokens


class Tokens(ApiView):
    """Participant tokens. They are not stored: a token ends by its time."""

    @operation("Mint a participant token", body=forms.TokenForm, answers={201: forms.TokenAnswer})
    async def post(self, request: HttpRequest) -> Reply:
        """A JWT with which a participant reads and writes where it is a member."""
        self.principal.require_server("write")
        self.principal.require("read")
        form = self.body(forms.TokenForm)
        ttl = settings.FLEETLM.token_ttl if form.ttl is None else form.ttl
        if ttl > settings.FLEETLM.token_ttl_max:
            raise InvalidRequest(
                "ttl is longer than allowed.", field="ttl", limit=settings.FLEETLM.token_ttl_max
            )
        token, expires_at = tokens.mint(form.participant_id, ttl, form.conversations)
        answer = {
            "token": token,
            "participant_id": form.participant_id,
            "expires_at": timestamp(datetime.fromtimestamp(expires_at, UTC)),
        }
        return Reply(answer, 201)
