"""The test button: a signed call that is no delivery, and what it came to."""

from collections.abc import Mapping
from typing import Any, Final

from asgiref.sync import async_to_sync

from agents.models import Endpoint
from fleetlm.agents_admin import shown
from fleetlm.agents_admin.attempts_shown import read_body
from fleetlm.agents_admin.buttons import Button, Outcome
from runtime.ping import ping

TEMPLATE: Final = "admin/agents/trial.html"


def trial(endpoint: Endpoint, given: Mapping[str, Any]) -> Outcome:
    """Call it once, signed as ever, enabled or not; nothing is delivered by it. Waits for the answer."""
    pinged = async_to_sync(ping)(endpoint)
    status = "" if pinged.status is None else f" ({pinged.status})"
    word = shown.word(pinged.outcome.replace("_", " "), "good" if pinged.ok else "bad")
    answer = read_body(pinged.response) if pinged.response else None
    return Outcome(
        f"Sent a test call: {pinged.outcome}{status}.",
        TEMPLATE,
        {"pinged": pinged, "word": word, "answer": answer},
    )


TEST: Final = Button(name="test", label="Send a test call", act=trial)
