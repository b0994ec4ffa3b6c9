"""The agent helper's signatures, against the reference library of Standard Webhooks, both ways."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from fleetlm_client.agent import CallInvalid, SignatureInvalid, sign, verify
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from agents.signing import generate_secret

NOW = datetime.now(UTC)
SECONDS = int(NOW.timestamp())
CALL: dict[str, Any] = {
    "agent_id": "bot",
    "conversation": [{"seq": 1, "sender_id": "alice", "text": "grüße 🚚"}],
    "new_from_seq": 1,
}
BODY = json.dumps(CALL, ensure_ascii=False).encode()
SECRET, OTHER = generate_secret(), generate_secret()


@pytest.fixture(scope="module", autouse=True)
def now() -> None:
    """The time of these tests, not the one at which they were collected: a signature grows old."""
    global NOW, SECONDS
    NOW = datetime.now(UTC)
    SECONDS = int(NOW.timestamp())


def headers(signature: str, sent: int | None = None) -> dict[str, str]:
    at = str(SECONDS if sent is None else sent)
    return {"Webhook-Id": "call-1", "webhook-timestamp": at, "WEBHOOK-SIGNATURE": signature}


def theirs(secret: str = SECRET, body: bytes = BODY) -> str:
    return Webhook(secret).sign("call-1", NOW, body.decode())


@given(st.text(), st.binary(min_size=1, max_size=80))
def test_both_sign_alike(text: str, key: bytes) -> None:
    secret = Webhook(key)
    ours = sign("whsec_" + b64encode(key).decode(), "call-1", SECONDS, text.encode(errors="replace"))
    assert ours == secret.sign("call-1", NOW, text.encode(errors="replace").decode())


def test_what_the_reference_has_signed_is_genuine() -> None:
    call = verify(BODY, headers(theirs()), SECRET)
    assert [message.text for message in call.new_messages] == ["grüße 🚚"]


def test_the_reference_takes_what_we_have_signed() -> None:
    assert Webhook(SECRET).verify(BODY, headers(sign(SECRET, "call-1", SECONDS, BODY))) == CALL
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, headers(sign(SECRET, "call-1", SECONDS, BODY)))


@pytest.mark.parametrize("secrets", [f"{OTHER} {SECRET}", [SECRET, OTHER], (OTHER, SECRET.rstrip("="))])
def test_one_of_several_secrets_is_enough(secrets: Any) -> None:
    verify(BODY, headers(theirs()), secrets)


def test_one_of_several_signatures_is_enough() -> None:
    both = sign([OTHER, SECRET], "call-1", SECONDS, BODY)
    assert len(both.split()) == 2
    verify(BODY, headers(both), SECRET)
    verify(BODY, headers(f"v1a,abc v1, {theirs()}"), SECRET)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1",
        "v1,",
        "v1,%%%",
        "v2,AAAA",
        "x y,z",
        "v1,ü€",
        "\udcff",
        pytest.param(theirs(OTHER), id="others"),
    ],
)
def test_another_signature_is_refused(signature: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(BODY, headers(signature), SECRET)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(SignatureInvalid):
        verify(BODY + b" ", headers(theirs()), SECRET)


@pytest.mark.parametrize(
    ("age", "is_good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
def test_only_lately_signed_calls_are_taken(age: int, is_good: bool) -> None:
    signed = headers(sign(SECRET, "call-1", SECONDS - age, BODY), SECONDS - age)
    if is_good:
        verify(BODY, signed, SECRET, now=SECONDS)
    else:
        with pytest.raises(SignatureInvalid):
            verify(BODY, signed, SECRET, now=SECONDS)
    verify(BODY, signed, SECRET, now=SECONDS, tolerance_seconds=abs(age))


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1.5", "١٢", "9" * 5_000])
def test_a_time_that_cannot_be_read_is_refused(timestamp: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(BODY, {**headers(theirs()), "webhook-timestamp": timestamp}, SECRET)


@pytest.mark.parametrize("missing", ["Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE"])
def test_a_missing_header_is_refused(missing: str) -> None:
    given_headers = headers(theirs())
    del given_headers[missing]
    with pytest.raises(SignatureInvalid):
        verify(BODY, given_headers, SECRET)


@pytest.mark.parametrize("secret", ["", "   ", [], ["whsec_"], "whsec_%%%", [SECRET, ""], "whsec_ü"])
def test_a_secret_that_is_none_is_said(secret: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        verify(BODY, headers(theirs()), secret)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"{}", b'{"agent_id": "bot", "conversation": 1}', b"null"]
)
def test_signed_bytes_that_are_no_call(body: bytes) -> None:
    with pytest.raises(CallInvalid):
        verify(body, headers(sign(SECRET, "call-1", SECONDS, body)), SECRET)
