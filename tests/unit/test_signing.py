"""Signatures are those of Standard Webhooks, as its own library checks them."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from agents.signing import generate_secret, sign

BODY = b'{"test": 2432232314}'


def test_the_published_vector() -> None:
    signature = sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("used", [0, 1])
def test_a_receiver_with_either_secret_accepts_while_one_is_rotated(used: int) -> None:
    secrets = [generate_secret(), generate_secret()]
    assert Webhook(secrets[used]).verify(BODY, headers(secrets, BODY)) == {"test": 2432232314}


def test_a_receiver_with_another_secret_refuses() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(generate_secret()).verify(BODY, headers([generate_secret()], BODY))


def test_secrets_are_long_and_never_the_same() -> None:
    one, other = generate_secret(), generate_secret()
    assert one.startswith("whsec_")
    assert one != other
    assert len(one) == len("whsec_") + 44


def headers(secrets: list[str], body: bytes) -> dict[str, str]:
    timestamp = int(datetime.now(UTC).timestamp())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, "msg_1", timestamp, body),
    }
