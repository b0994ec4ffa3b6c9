"""The bodies, queries and answers of the API, as msgspec structs: validation and schema from one definition."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fleetlm.sending import SendBody, Seq

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._@-]{1,128}$")]
Key = Annotated[str, Meta(min_length=1, max_length=257)]
Title = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$")]
PageSize = Annotated[int, Meta(ge=1, le=200)]
Role = Literal["member", "admin"]
Kind = Literal["user", "agent", "system"]


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """Something that a client sends: unknown fields are refused, so that a typo is noticed."""


class Answer(msgspec.Struct):
    """Something that the server answers."""


# Errors.


class ErrorBody(Answer):
    """What went wrong: a stable code, a sentence, and details for a program."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorAnswer(Answer):
    """The shape of every error."""

    error: ErrorBody


# Messages.


class MessageAnswer(Answer):
    """One entry of a conversation's log."""

    id: str
    seq: int
    conversation: str
    dm_key: str | None
    sender_id: str
    kind: str
    text: str
    content: dict[str, Any]
    metadata: dict[str, Any]
    reply_to: int | None
    mentions: list[str]
    client_id: str | None
    created_at: str


class AppendedAnswer(MessageAnswer):
    """The stored message, and whether it had been stored before."""

    deduplicated: bool


class BatchForm(Form):
    """Messages to append, in this order: as many as the setting `FLEETLM_BATCH_MESSAGES` allows, 100 by default.

    One that is not valid is refused alone, in its result.
    """

    messages: Annotated[list[SendBody], Meta(min_length=1)]


class BatchResult(Answer):
    """What became of one message of a batch: the stored `message`, or the `error`."""

    message: AppendedAnswer | msgspec.UnsetType = msgspec.UNSET
    error: ErrorBody | msgspec.UnsetType = msgspec.UNSET


class BatchAnswer(Answer):
    """A result for each message, in the order of the request."""

    results: list[BatchResult]


class HistoryQuery(Form):
    """Which page of the log: after a seq (oldest first), before one, or the newest."""

    after: Seq | None = None
    before: Seq | None = None
    limit: PageSize = 50
    wait: Annotated[float, Meta(ge=0, le=25)] = 0


class HistoryAnswer(Answer):
    """A page of the log, oldest first. `has_more`: there is more in the direction that was asked for."""

    messages: list[MessageAnswer]
    epoch: str
    last_seq: int
    has_more: bool


class EventsQuery(Form):
    """Where an event stream starts: after this seq, or live. The header `Last-Event-ID` goes first.

    `token` is for browsers, whose EventSource cannot send an Authorization header.
    """

    after: Seq | None = None
    token: str | None = None


class ReadForm(Form):
    """Move a read cursor forward to `seq`."""

    seq: Seq
    participant_id: str | None = None


class ReadAnswer(Answer):
    """Where the cursor stands now."""

    participant_id: str
    seq: int


class TypingForm(Form):
    """Whether `participant_id` types now."""

    on: bool
    participant_id: str | None = None


class TypingAnswer(Answer):
    """Taken."""


# Conversations.


class MemberForm(Form):
    """A member to be."""

    id: Id
    role: Role = "member"


class MemberAnswer(Answer):
    """A member, and how far it has read."""

    id: str
    kind: str
    display_name: str
    role: str
    last_read_seq: int


class MembersForm(Form):
    """Members to add: ids, or ids with roles."""

    participants: Annotated[list[Id | MemberForm], Meta(min_length=1, max_length=1_000)]


class MembersAnswer(Answer):
    """The members, oldest first."""

    participants: list[MemberAnswer]


class MemberChange(Form):
    """What may be changed of a membership."""

    role: Role | None = None
    muted: bool | None = None


class ConversationForm(Form):
    """A conversation to create. Without a `key` a group gets one."""

    key: Key | None = None
    kind: Literal["dm", "group", "broadcast"] = "group"
    title: Title = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    participants: Annotated[list[Id | MemberForm], Meta(max_length=1_000)] = msgspec.field(
        default_factory=list
    )


class ConversationChange(Form):
    """What may be changed of a conversation."""

    title: Title | None = None
    metadata: dict[str, Any] | None = None


class HandoffForm(Form):
    """The member, a person, who takes over from the agents; null: they have the conversation again."""

    participant_id: Id | None


class ConversationAnswer(Answer):
    """A conversation. `participants` are its first 1,000 members; `handed_to` is the person who has taken over from its
    agents."""

    key: str
    dm_key: str | None
    epoch: str
    kind: str
    state: str
    title: str
    metadata: dict[str, Any]
    last_seq: int
    handed_to: str | None
    participants: list[MemberAnswer]
    created_at: str
    updated_at: str


class ConversationSummary(Answer):
    """A conversation of a list."""

    key: str
    dm_key: str | None
    epoch: str
    kind: str
    state: str
    title: str
    last_seq: int
    handed_to: str | None
    created_at: str
    updated_at: str


class ConversationsQuery(Form):
    """Which conversations, newest first. `cursor` is the `next` of the page before."""

    kind: Literal["dm", "group", "broadcast"] | None = None
    state: Literal["open", "closed", "archived"] | None = None
    participant_id: str | None = None
    cursor: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    limit: PageSize = 50


class ConversationsAnswer(Answer):
    """A page of conversations."""

    conversations: list[ConversationSummary]
    next: int | None


# Participants, tokens, inbox.


class ParticipantForm(Form):
    """A participant to register. Agents are registered with `/api/agents`."""

    id: Id
    kind: Literal["user", "system"] = "user"
    display_name: Title = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class ParticipantChange(Form):
    """What may be changed of a participant."""

    display_name: Title | None = None
    metadata: dict[str, Any] | None = None


class ParticipantAnswer(Answer):
    """A participant."""

    id: str
    kind: str
    display_name: str
    metadata: dict[str, Any]
    created_at: str


class ParticipantsQuery(Form):
    """Which participants, by id. `after` is the last id of the page before."""

    kind: Kind | None = None
    after: Annotated[str, Meta(max_length=128, pattern=r"^[^\x00]*$")] | None = None
    limit: PageSize = 50


class ParticipantsAnswer(Answer):
    """A page of participants."""

    participants: list[ParticipantAnswer]
    has_more: bool


class TokenForm(Form):
    """A participant token to mint. `conversations` narrows it to these keys; `ttl` is in seconds."""

    participant_id: Id
    ttl: Annotated[int, Meta(ge=1)] | None = None
    conversations: Annotated[list[Key], Meta(max_length=100)] | None = None


class TokenAnswer(Answer):
    """A token, and when it ends."""

    token: str
    participant_id: str
    expires_at: str


class LastMessage(Answer):
    """The newest message of an inbox entry; `text` holds its first 140 characters."""

    seq: int
    sender_id: str
    text: str
    created_at: str


class InboxEntry(Answer):
    """A conversation as its participant sees it in the inbox. `participants` are the first 50."""

    key: str
    dm_key: str | None
    kind: str
    title: str
    state: str
    participants: list[str]
    last_message: LastMessage | None
    unread_count: int
    mention_count: int
    last_read_seq: int
    muted: bool
    updated_at: str


class InboxAnswer(Answer):
    """The inbox, newest conversation first."""

    conversations: list[InboxEntry]


ALL: list[type[msgspec.Struct]] = [
    form
    for form in list(globals().values())
    if isinstance(form, type) and issubclass(form, Form | Answer) and form not in (Form, Answer)
]
