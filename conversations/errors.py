"""What can go wrong, each with its code and HTTP status. Raised where it is known, rendered once at the surface."""

from typing import Any


class FleetLMError(Exception):
    """Something a caller has to know. `code` is stable; `message` says what to do next; `details` help a program."""

    code = "error"
    status = 400
    message = "The request cannot be served."

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or self.message)
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The one shape of errors, everywhere: `{"error": {"code", "message", "details"}}`."""
        return {"error": {"code": self.code, "message": str(self), "details": self.details}}


class InvalidRequest(FleetLMError):
    """A value has the wrong type, form or size."""

    code = "invalid_request"
    message = "The request is not valid."


class InvalidJSON(FleetLMError):
    """The body is not JSON."""

    code = "invalid_json"
    message = "The body is not valid JSON."


class TooLarge(FleetLMError):
    """A body, text or content is over its limit."""

    code = "too_large"
    status = 413
    message = "The request is larger than allowed."


class UnsupportedMediaType(FleetLMError):
    """The body is not declared to be JSON."""

    code = "unsupported_media_type"
    status = 415
    message = "Send JSON with the header Content-Type: application/json."


class NotAuthenticated(FleetLMError):
    """No key or token, or one that is not valid."""

    code = "not_authenticated"
    status = 401
    message = "Send an API key or a participant token: Authorization: Bearer …"


class TokenExpired(NotAuthenticated):
    """The token was good once."""

    code = "token_expired"
    message = "The token has expired; get a new one."


class NotAllowed(FleetLMError):
    """The caller is known, but may not do this."""

    code = "not_allowed"
    status = 403
    message = "This key or token may not do that."


class NotAMember(FleetLMError):
    """The participant does not take part in the conversation."""

    code = "not_a_member"
    status = 403
    message = "The participant is not a member of this conversation."


class NotFound(FleetLMError):
    """No such thing, or none that the caller may know of."""

    code = "not_found"
    status = 404
    message = "There is nothing here."


class ConversationNotFound(NotFound):
    """No conversation has this key."""

    code = "conversation_not_found"
    message = "There is no conversation with this key."


class ParticipantNotFound(NotFound):
    """No participant has this id."""

    code = "participant_not_found"
    message = "There is no participant with this id."


class Conflict(FleetLMError):
    """The state of things does not allow it now."""

    code = "conflict"
    status = 409
    message = "This conflicts with what is stored."


class ConversationClosed(Conflict):
    """The conversation takes no more messages."""

    code = "conversation_closed"
    message = "The conversation is closed; reopen it to write to it."


class ClientIdReused(Conflict):
    """A `client_id` came again with another body."""

    code = "client_id_reused"
    message = "This client_id was used for another message; use a new one for a new message."


class SeqConflict(Conflict):
    """`expected_seq` is not the conversation's last."""

    code = "seq_conflict"
    message = "The conversation has moved on; read what is new and decide again."


class Overloaded(FleetLMError):
    """More waits than is good; the caller should come back."""

    code = "overloaded"
    status = 503
    message = "The server has too much waiting; try again shortly."


class Unavailable(FleetLMError):
    """Postgres cannot be reached, so nothing can be stored or read."""

    code = "unavailable"
    status = 503
    message = (
        "The database cannot be reached right now; try again shortly. Nothing of this request was confirmed."
    )
