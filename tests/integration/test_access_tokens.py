"""Credentials that are no good, or no longer: over REST, event streams and sockets alike."""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from fleetlm.auth.keys import make_key
from fleetlm.auth.tokens import LEEWAY_SECONDS
from tests.engines import SECRET_KEY
from tests.integration.server import (
    AUTH_CACHE_SECONDS,
    Client,
    Events,
    Refused,
    Server,
    Socket,
    forged,
    unique,
)

pytestmark = pytest.mark.usefixtures("healthy")

NOT_AUTHENTICATED = (401, "not_authenticated")
EXPIRED = (401, "token_expired")
PATH = "/api/conversations"

RSA_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_KEY = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(
    header: Any, claims: Any, secret: bytes = SECRET_KEY.encode(), digest: Any = hashlib.sha256
) -> str:
    """A token put together by hand: what no library would sign."""
    head = f"{encoded(header)}.{encoded(claims)}"
    return f"{head}.{encoded(hmac.new(secret, head.encode(), digest).digest())}"


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "somebody", "exp": int(time.time()) + 60, **more}


def tampered() -> str:
    head, _, signature = forged({"sub": "somebody"}).split(".")
    return f"{head}.{encoded(claims(sub='somebody-else'))}.{signature}"


HS256 = {"alg": "HS256", "typ": "JWT"}

BAD: dict[str, Callable[[], str]] = {
    "another secret": lambda: forged({"sub": "somebody"}, secret="x" * 64),
    "no secret": lambda: signed(HS256, claims(), secret=b""),
    "alg none": lambda: forged({"sub": "somebody"}, secret="", algorithm="none"),
    "alg none, signed": lambda: signed({"alg": "none"}, claims()),
    "alg NONE": lambda: f"{encoded({'alg': 'NONE'})}.{encoded(claims())}.",
    "alg HS512": lambda: signed({"alg": "HS512"}, claims(), digest=hashlib.sha512),
    "alg missing": lambda: signed({"typ": "JWT"}, claims()),
    "alg a list": lambda: signed({"alg": ["HS256"]}, claims()),
    "alg null": lambda: signed({"alg": None}, claims()),
    "RS256 of a stranger": lambda: forged({"sub": "somebody"}, secret=RSA_KEY, algorithm="RS256"),
    "RS256 confusion": lambda: signed(HS256, claims(), secret=PUBLIC_KEY),
    "RS256 in name only": lambda: signed({"alg": "RS256"}, claims()),
    "tampered claims": tampered,
    "signature cut off": lambda: forged({"sub": "somebody"}).rpartition(".")[0] + ".",
    "no sub": lambda: signed(HS256, {"exp": int(time.time()) + 60}),
    "no exp": lambda: signed(HS256, {"sub": "somebody"}),
    "sub null": lambda: signed(HS256, claims(sub=None)),
    "sub a number": lambda: signed(HS256, claims(sub=5)),
    "sub empty": lambda: signed(HS256, claims(sub="")),
    "sub with a colon": lambda: signed(HS256, claims(sub="a:b")),
    "sub with NUL": lambda: signed(HS256, claims(sub="a\0")),
    "sub with a line end": lambda: signed(HS256, claims(sub="a\n")),
    "sub too long": lambda: signed(HS256, claims(sub="a" * 129)),
    "sub a lone surrogate": lambda: signed(HS256, b'{"sub":"\\ud800","exp":9999999999}'),
    "conversations a string": lambda: signed(HS256, claims(conversations="group")),
    "conversations an object": lambda: signed(HS256, claims(conversations={"group": 1})),
    "conversations no keys": lambda: signed(HS256, claims(conversations=["a:b:c"])),
    "exp a word": lambda: signed(HS256, claims(exp="soon")),
    "exp null": lambda: signed(HS256, claims(exp=None)),
    "exp infinite": lambda: signed(HS256, b'{"sub":"somebody","exp":Infinity}'),
    "exp beyond all numbers": lambda: signed(HS256, b'{"sub":"somebody","exp":1' + b"0" * 400 + b"}"),
    "not yet": lambda: signed(HS256, claims(nbf=int(time.time()) + 60)),
    "claims no object": lambda: signed(HS256, ["somebody"]),
    "claims no JSON": lambda: signed(HS256, b"\xff\xfe"),
    "header no object": lambda: signed("HS256", claims()),
    "header of brackets": lambda: signed(b"[" * 3_000, claims()),
    "kid a list": lambda: signed({**HS256, "kid": []}, claims()),
    "three dots": lambda: "...",
    "no dots": lambda: "somebody",
    "not base64": lambda: "a.b.c",
    "not ASCII": lambda: "tökén",
    "a key that nobody made": lambda: "flk_" + "x" * 43,
    "an empty key": lambda: "flk_",
    "very long": lambda: "a" * 8_000,
}


@pytest.mark.parametrize("token", BAD.values(), ids=list(BAD))
def test_a_bad_credential_is_refused_everywhere(server: Server, token: Callable[[], str]) -> None:
    text = token()
    bare = Client(server)
    header = {
        "Authorization": b"Bearer " + text.encode()
    }  # bytes: `http.client` would refuse what is not latin-1
    assert bare.call("GET", PATH, headers=header).verdict == NOT_AUTHENTICATED  # type: ignore[arg-type]
    for path in ("/api/conversations/broadcast/events", "/api/inbox/somebody/events"):
        assert bare.get(path, token=text).verdict == NOT_AUTHENTICATED
    with pytest.raises(Refused) as refused, bare.socket(token=text):
        pass
    assert refused.value.answer.verdict == NOT_AUTHENTICATED


def test_an_expired_token_says_so_everywhere(server: Server) -> None:
    expired = Client(server, forged({"sub": "somebody", "exp": int(time.time()) - 60}))
    assert expired.get(PATH).verdict == EXPIRED
    assert expired.get("/api/inbox/somebody/events").verdict == EXPIRED
    with pytest.raises(Refused) as refused, expired.socket():
        pass
    assert refused.value.answer.verdict == EXPIRED


def test_an_expired_token_of_another_secret_is_no_expired_token(server: Server) -> None:
    stranger = forged({"sub": "somebody", "exp": int(time.time()) - 60}, secret="x" * 64)
    assert Client(server, stranger).get(PATH).verdict == NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic c29tZTpib2R5", "Token x", "Bearerx", "x" * 500, "Bearer a b"]
)
def test_what_is_no_bearer_header_is_refused(server: Server, header: str) -> None:
    answer = Client(server).call("GET", PATH, headers={"Authorization": header})
    assert answer.verdict == NOT_AUTHENTICATED
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_scheme_may_be_written_in_any_case(server: Server) -> None:
    header = {"Authorization": f"bEARER {forged({'sub': 'somebody'})}"}
    assert Client(server).call("GET", PATH, headers=header).status == 200


def test_a_token_in_the_address_is_for_event_streams_only(server: Server) -> None:
    assert Client(server).get(PATH, token=forged({"sub": "somebody"})).verdict == NOT_AUTHENTICATED


def test_a_socket_does_not_take_another_name_than_its_token(server: Server) -> None:
    token = Client(server, forged({"sub": "somebody"}))
    with pytest.raises(Refused) as refused, token.socket(participant_id="somebody-else"):
        pass
    assert refused.value.answer.verdict == (403, "not_allowed")
    with token.socket(participant_id="somebody") as socket:
        socket.heartbeat()


def test_a_socket_takes_its_credential_from_the_header_too(api: Client) -> None:
    with pytest.raises(Refused) as refused, Client(api.server).socket():
        pass
    assert refused.value.answer.verdict == NOT_AUTHENTICATED
    with pytest.raises(Refused) as refused, Client(api.server).socket(participant_id="somebody"):
        pass
    assert refused.value.answer.verdict == NOT_AUTHENTICATED
    with pytest.raises(Refused) as refused, api.socket(participant_id="no:body"):
        pass
    assert refused.value.answer.verdict == (400, "invalid_request")


# Time passes.


def ends_soon(api: Client, participant_id: str) -> Client:
    """A client with a token that ends in one or two seconds, the leeway included."""
    return Client(api.server, forged({"sub": participant_id, "exp": int(time.time()) + 2 - LEEWAY_SECONDS}))


def events_until_the_end(events: Events, keep_busy: Callable[[], object] = lambda: None) -> list[str]:
    """The names of all events of a stream, and the code of the error that it ended with."""
    names = []
    with contextlib.suppress(EOFError):
        while True:
            assert len(names) < 10_000
            keep_busy()
            name, payload, _ = events.next()
            names.append(payload["error"]["code"] if name == "error" else name)
    return names


def test_what_is_open_ends_when_its_token_expires(api: Client) -> None:
    one = unique("one")
    key = api.group(one)
    token = ends_soon(api, one)
    streams = [f"/api/conversations/{key}/events", f"/api/inbox/{one}/events"]
    with token.socket() as socket, token.events(streams[0]) as log, token.events(streams[1]) as inbox:
        socket.join(f"conversation:{key}")
        assert events_until_the_end(log)[-1] == "token_expired"
        assert events_until_the_end(inbox)[-1] == "token_expired"
        with pytest.raises(ConnectionClosed) as closed:
            drain(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4001


def drain(socket: Socket) -> None:
    while True:
        socket.receive()


def test_an_event_stream_that_is_never_idle_ends_too(api: Client) -> None:
    one, other = unique("one"), unique("other")
    key = api.group(one, other)
    with ends_soon(api, one).events(f"/api/conversations/{key}/events") as events:
        names = events_until_the_end(events, keep_busy=lambda: api.say(key, other))
    assert names[-1] == "token_expired"
    assert len(names) > 10


def test_a_revoked_key_is_refused_within_the_bound_of_the_cache(api: Client) -> None:
    row, text = make_key("tests", ["read"])
    client = Client(api.server, text)
    assert client.get(PATH).status == 200
    row.revoked_at = timezone.now()
    row.save()
    began = time.monotonic()
    while client.get(PATH).status == 200:
        assert time.monotonic() - began < AUTH_CACHE_SECONDS + 1
    assert client.get(PATH).verdict == NOT_AUTHENTICATED
    with pytest.raises(Refused), client.socket():
        pass


def test_a_key_is_itself_alone(api: Client) -> None:
    text = make_key("tests", ["read"])[1]
    for other in (text[:-1], text + "x", text.lower(), text.upper()):
        assert Client(api.server, other).get(PATH).verdict == NOT_AUTHENTICATED
    assert Client(api.server, text).get(PATH).status == 200
