"""The query and answer of `/api/search`; see `fleetlm.api.forms`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from fleetlm.api.forms import Answer, Form, Key, MessageAnswer, PageSize

SearchText = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
SearchCursor = Annotated[str, Meta(pattern=r"^[0-9]{1,18}-[1-9][0-9]{0,17}$")]


class SearchQuery(Form):
    """What to look for, and where: messages that hold all words of `q` (up to 16), in any case and also inside of other words.

    Without `key`: in all conversations that `participant_id` is a member of, which a token need not say. With it: in that
    one. `cursor` is that of the answer before.
    """

    q: SearchText
    participant_id: str | None = None
    key: Key | None = None
    limit: PageSize = 20
    cursor: SearchCursor | None = None


class SearchAnswer(Answer):
    """What was found, the newest conversation first, of each the newest message first.

    `examined` messages were looked at; `cursor` says where to go on, and is null when there is nothing left. There may be
    more even if nothing was found this time. Closed and archived conversations are searched too; what a redaction has
    blanked is not found.
    """

    messages: list[MessageAnswer]
    cursor: str | None
    examined: int


ALL: list[type[msgspec.Struct]] = [SearchQuery, SearchAnswer]
