"""Conversations over the socket, through the official Phoenix client, across two web processes."""

import pytest

from tests.e2e.rest import Api
from tests.e2e.phoenix import Phoenix
from tests.e2e.stack import Stack


@pytest.mark.parametrize("vsn", ["2.0.0", "1.0.0"])
async def test_a_message_reaches_the_other_process(stack: Stack, phoenix: Phoenix, fresh: str, vsn: str) -> None:
    alice, bob = f"alice-{fresh}", f"bob-{fresh}"
    topic = f"conversation:{alice}:{bob}"
    first = await phoenix.connect(stack.web[0], participant_id=alice, vsn=vsn)
    second = await phoenix.connect(stack.web[1], participant_id=bob, vsn=vsn)
    here = await first.join(topic)
    there = await second.join(topic)

    acknowledged = await here.send("hello", client_id="one")
    message = await there.seq(1)

    assert acknowledged == {
        "id": message["id"],
        "seq": 1,
        "created_at": message["created_at"],
        "deduplicated": False,
    }
    assert (message["sender_id"], message["text"], message["client_id"]) == (alice, "hello", "one")
    again = await there.push("history", {"before": 2, "limit": 10})
    assert [one["id"] for one in again["messages"]] == [message["id"]]
