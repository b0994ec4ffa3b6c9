"""How values look on these pages: a state as a coloured word, a time as an age, a number with its thousands."""

from datetime import datetime
from typing import Final

from django.utils import timezone
from django.utils.html import format_html

from agents.backlog import STREAMS_COUNTED

NOTHING: Final = "–"

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def word(text: str, tone: str, means: str = "") -> str:
    """A state, coloured: `good`, `bad`, `warn`, `busy` or `quiet`. The word says it too, for those who see no colours."""
    return format_html('<span class="fleetlm-word fleetlm-{}" title="{}">{}</span>', tone, means, text)


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, or how soon it will be, with the exact time on hover."""
    if moment is None:
        return NOTHING
    seconds = ((now or timezone.now()) - moment).total_seconds()
    return format_html(
        '<time datetime="{}" title="{} UTC" class="fleetlm-age">{}</time>',
        moment.isoformat(),
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}",
    )


def span(seconds: float) -> str:
    """Seconds in the largest unit that fits: `3 min`."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def number(value: int | None) -> str:
    """With thousands; an unknown one is a dash."""
    return NOTHING if value is None else f"{value:,}"


def streams(value: int | None) -> str:
    """A number of streams, which is counted to a limit."""
    return f"{STREAMS_COUNTED:,}+" if value is not None and value > STREAMS_COUNTED else number(value)


def two_lines(first: str, second: str) -> str:
    """One below the other."""
    return format_html("{}<br>{}", first, second)


def shortened(text: str, characters: int) -> str:
    """The beginning of a text, with the whole of it on hover."""
    if len(text) <= characters:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[: characters - 1])
