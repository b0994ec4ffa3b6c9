"""The door calls real sockets on loopback: where it goes, and what it makes of sound answers."""

import asyncio
import gzip
import socket
import ssl
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.door import Door, Head, Patience
from agents.door.addresses import AddressRules
from agents.errors import AddressBlocked, AgentUnreachable, AnswerInvalid, CallTimedOut
from tests.integration.raw_agent import (
    CALM,
    PATIENCE,
    QUICK,
    Talk,
    answering,
    door,
    head,
    post,
    raw_agent,
    response,
)

OK = response(b'{"text":"hi"}', content_type="application/json")


class Names(AbstractResolver):
    """A name server whose every answer is the next of these; the last one is for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.lookups += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=0, proto=0, flags=0) for each in found
        ]

    async def close(self) -> None: ...


# Where it goes


LITERALS = [
    "127.0.0.1", "127.1.2.3", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "127.1", "127.0.1", "0", "0.0.0.0", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1",  # noqa: S104
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%25lo]", "[::1%lo]",
    "localhost", "LOCALHOST", "localhost.", "ip6-localhost",
]  # fmt: skip

IN_SOME_HOSTS_FILES = {"localhost.", "ip6-localhost", "127.0.0.1."}


@pytest.mark.parametrize("host", LITERALS)
async def test_no_way_to_write_loopback_gets_through(host: str) -> None:
    async with raw_agent(answering(OK), host="::") as agent, door(allowed=["10.0.0.0/8"]) as opened:
        with pytest.raises((AddressBlocked, AgentUnreachable)) as caught:
            await post(opened, f"http://{host}:{agent.port}/")
        # Whatever reached the socket before this connection has been accepted before it.
        async with door() as open_to_loopback:
            await post(open_to_loopback, agent.url)
        assert agent.connections == 1
    if host not in IN_SOME_HOSTS_FILES:
        assert caught.value.outcome == "blocked"


async def test_the_error_names_the_address_and_the_setting() -> None:
    async with door(allowed=[]) as opened:
        with pytest.raises(AddressBlocked, match=r"127\.0\.0\.1 .*loopback.*FLEETLM_AGENT_ALLOWED_NETWORKS"):
            await post(opened, "http://127.0.0.1:9/")
        with pytest.raises(AddressBlocked, match=r"localhost: .*loopback.*FLEETLM_AGENT_ALLOWED_NETWORKS"):
            await post(opened, "http://localhost:9/")


async def test_localhost_is_called_where_it_is_allowed() -> None:
    async with raw_agent(answering(OK)) as agent, door() as opened:
        assert await post(opened, f"http://localhost:{agent.port}/") == b'{"text":"hi"}'


async def test_a_mapped_address_is_called_where_what_it_maps_to_is_allowed() -> None:
    async with raw_agent(answering(OK)) as agent, door(allowed=["127.0.0.1/32"]) as opened:
        assert await post(opened, f"http://[::ffff:127.0.0.1]:{agent.port}/") == b'{"text":"hi"}'


async def test_a_name_that_moves_to_a_private_address_is_not_followed() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    once = response(b"first", connection="close")
    async with (
        raw_agent(answering(once)) as public,
        raw_agent(answering(OK), host="127.0.0.2", port=public.port) as private,
        door(allowed=["127.0.0.1/32"], names=names, dns_seconds=0) as opened,
    ):
        url = f"http://agent.example:{public.port}/"
        assert await post(opened, url) == b"first"
        assert names.lookups == 1, (
            "what was looked up is what is dialled: there is no second lookup in between"
        )
        with pytest.raises(AddressBlocked, match=r"agent\.example: 127\.0\.0\.2"):
            await post(opened, url)
        assert names.lookups == 2
        async with door() as open_to_loopback:
            await post(open_to_loopback, f"http://127.0.0.2:{public.port}/")
        assert private.connections == 1


async def test_a_pooled_connection_stays_where_it_was_dialled() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with raw_agent(answering(OK)) as agent:
        async with door(allowed=["127.0.0.1/32"], names=names, dns_seconds=0) as opened:
            for _ in range(3):
                await post(opened, f"http://agent.example:{agent.port}/")
        assert agent.connections == 1


async def test_the_allowed_addresses_of_a_mixed_name_are_called() -> None:
    names = Names(["127.0.0.2", "::1", "127.0.0.1", "169.254.169.254"])
    async with raw_agent(answering(OK)) as agent, door(allowed=["127.0.0.1/32"], names=names) as opened:
        assert await post(opened, f"http://agent.example:{agent.port}/") == b'{"text":"hi"}'


@pytest.mark.parametrize("answer", ["localhost", "127.1", "0x7f000001", "::1%lo"])
async def test_a_lookup_that_gives_no_plain_address_is_not_dialled(answer: str) -> None:
    async with raw_agent(answering(OK), host="::") as agent, door(names=Names([answer])) as opened:
        with pytest.raises((AddressBlocked, AgentUnreachable)):
            await post(opened, f"http://agent.example:{agent.port}/")
        assert agent.connections == 0


async def test_a_name_without_an_address_is_unreachable() -> None:
    async with door(names=Names([])) as opened:
        with pytest.raises(AgentUnreachable, match="no address"):
            await post(opened, "http://agent.example/")
    async with door() as opened:
        with pytest.raises(AgentUnreachable, match=r"does-not-exist\.invalid"):
            await post(opened, "http://does-not-exist.invalid/")


async def test_a_redirect_is_a_status() -> None:
    async with raw_agent(answering(OK), host="127.0.0.2") as private:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            target = f"http://127.0.0.2:{private.port}/"
            async with (
                raw_agent(answering(response(status=status, location=target))) as agent,
                door() as opened,
                opened.call(agent.url, {}, b"{}") as answer,
            ):
                assert answer.head.status == int(status[:3])
                assert answer.head.headers["location"] == target
        assert private.connections == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://127.0.0.1/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("//127.0.0.1/", "http:// or https://"),
        ("http:///hook", "http:// or https://"),
        ("hook", "http:// or https://"),
        ("http://[::1", "cannot be read"),
        ("http://127.0.0.1:99999/", "cannot be read"),
        ("http://alice:secret@127.0.0.1/", "user or a password"),
        ("http://alice@127.0.0.1/", "user or a password"),
    ],
)
async def test_only_plain_http_urls_are_called(url: str, message: str) -> None:
    async with door() as opened:
        with pytest.raises(AddressBlocked, match=message) as caught:
            await post(opened, url)
    assert "secret" not in str(caught.value)


async def test_https_may_be_required() -> None:
    rules = AddressRules.parse(["127.0.0.0/8"], require_https=True)
    async with raw_agent(answering(OK)) as agent, Door(patience=CALM, max_bytes=1000, rules=rules) as opened:
        with pytest.raises(AddressBlocked, match=r"https:// URL .*FLEETLM_AGENT_PLAIN_HTTP"):
            await post(opened, agent.url)
        assert agent.connections == 0


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login alice password secret")
    async with raw_agent(answering(OK)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        seen: list[dict[str, str]] = []

        async def behave(talk: Talk) -> None:
            seen.append((await talk.request())[0])
            await talk.send(OK)

        async with raw_agent(behave) as agent, door() as opened:
            await post(opened, agent.url)
        assert proxy.connections == 0
        assert "authorization" not in seen[0]


# TLS


def certificate(folder: Path, host: str) -> Path:
    """A certificate of its own authority, for this host, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def call_over_tls(folder: Path, host: str) -> bytes:
    path = certificate(folder, "agent.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)

    async def reply(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    application = web.Application()
    application.router.add_post("/", reply)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        rules = AddressRules.parse(["127.0.0.0/8"], require_https=True)
        async with Door(patience=CALM, max_bytes=1000, rules=rules, names=Names(["127.0.0.1"])) as opened:
            return await post(opened, f"https://{host}:{port}/", b"over TLS")
    finally:
        await runner.cleanup()


async def test_a_trusted_certificate_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "agent.example.pem"))
    (tmp_path / "agent.example.pem").touch()
    certificate(tmp_path, "agent.example")
    assert await call_over_tls(tmp_path, "agent.example") == b"over TLS"


async def test_another_hosts_certificate_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "agent.example.pem"))
    with pytest.raises(AgentUnreachable, match="mismatch"):
        await call_over_tls(tmp_path, "other.example")


async def test_a_certificate_of_nobody_is_not(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="self-signed"):
        await call_over_tls(tmp_path, "agent.example")


# What is sent and what comes back


async def test_a_call_and_its_answer() -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def behave(talk: Talk) -> None:
        while True:
            seen.append(await talk.request())
            await talk.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nX-Part: a\r\nX-Part: b\r\n"
                b"Set-Cookie: session=1\r\nContent-Length: 2\r\n\r\n{}"
            )

    async with raw_agent(behave) as agent, door() as opened:
        for _ in range(2):
            async with opened.call(agent.url, {"webhook-id": "one", "accept": "text/x"}, b"body") as answer:
                assert answer.head.status == 200
                assert answer.head.content_type == "application/json"
                assert answer.head.headers["x-part"] == "a, b"
                assert not answer.head.is_stream
                assert answer.head.retry_after is None
                assert await answer.read() == b"{}"
        assert agent.connections == 1, "the connection is used again"
    headers, body = seen[1]
    assert body == b"body"
    assert headers["webhook-id"] == "one"
    assert headers["accept"] == "text/x"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers
    assert headers["host"] == f"127.0.0.1:{agent.port}"


async def test_a_large_call_arrives_whole() -> None:
    body = bytes(range(256)) * 20_000

    async def behave(talk: Talk) -> None:
        _, got = await talk.request()
        await talk.send(response(b"the same" if got == body else b"another"))

    async with raw_agent(behave) as agent, door() as opened:
        assert await post(opened, agent.url, body) == b"the same"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-one": "a\r\nx-two: b"},
        {"x-one": "a\nb"},
        {"x-one\r\nhost": "b"},
        {"x-one": "a\0b"},
        {"x-one": "a\rb"},
    ],
)
async def test_a_header_that_would_not_stay_one_is_not_sent(headers: dict[str, str]) -> None:
    async with raw_agent(answering(OK)) as agent, door() as opened:
        with pytest.raises(AgentUnreachable, match="line break or NUL"):
            async with opened.call(agent.url, headers, b"{}"):
                raise AssertionError("unreachable")
        assert agent.connections == 0


async def test_a_header_may_be_replaced_but_not_the_length_of_the_body() -> None:
    async def behave(talk: Talk) -> None:
        headers, _ = await talk.request()
        told = [headers["user-agent"], headers["content-length"], headers["host"]]
        await talk.send(response(",".join(told).encode()))

    async with raw_agent(behave) as agent, door() as opened:
        ours = {"user-agent": "Other/2", "content-length": "1"}
        async with opened.call(agent.url, ours, b"{}") as answer:
            assert await answer.read() == f"Other/2,2,127.0.0.1:{agent.port}".encode()


async def test_an_agent_that_answers_first_may_still_take_the_call() -> None:
    """The connection serves no other call meanwhile."""
    size = 32 * 1024 * 1024
    taken: asyncio.Queue[int] = asyncio.Queue()

    async def behave(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(response(b"done"))
        await taken.put(len(await talk.reader.readexactly(size)))

    async with raw_agent(behave, takes_bytes=4096) as agent, door() as opened, asyncio.timeout(PATIENCE):
        assert await post(opened, agent.url, b"x" * size) == b"done"
        assert await taken.get() == size


async def test_calls_at_once_have_connections_of_their_own() -> None:
    both = asyncio.Barrier(2)

    async def behave(talk: Talk) -> None:
        _, body = await talk.request()
        await both.wait()
        await talk.send(response(body))

    async with raw_agent(behave) as agent, door() as opened:
        assert await asyncio.gather(post(opened, agent.url, b"1"), post(opened, agent.url, b"2")) == [
            b"1",
            b"2",
        ]


async def test_an_answer_that_was_not_read_is_not_in_the_way_of_the_next() -> None:
    long = response(b"x" * 500_000)
    async with raw_agent(answering(long, OK)) as agent, door() as opened:
        async with opened.call(agent.url, {}, b"") as answer:
            assert answer.head.status == 200
        async with opened.call(agent.url, {}, b"") as answer:
            async for _ in answer.chunks():
                break
        assert len(await post(opened, agent.url)) == 500_000
        assert agent.connections == 3, "a connection with a rest on it is closed"


async def test_chunks_come_as_they_are_sent() -> None:
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(head(content_type="text/event-stream", transfer_encoding="chunked"))
        for part in (b"one", b"two", b"three"):
            await talk.send(b"%x\r\n%s\r\n" % (len(part), part))
            await go_on.wait()
            go_on.clear()
        await talk.send(b"0\r\n\r\n")

    async with raw_agent(behave) as agent, door() as opened, opened.call(agent.url, {}, b"") as answer:
        assert answer.head.is_stream
        got = []
        async for chunk in answer.chunks():
            got.append(chunk)
            go_on.set()
        assert got == [b"one", b"two", b"three"]


async def test_a_stream_may_take_longer_than_an_answer() -> None:
    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(head(content_type="application/x-ndjson"))
        for _ in range(8):
            await talk.send(b"{}\n")
            await asyncio.sleep(0.05)  # the time is what is tested

    patience = Patience(answer=0.2, idle=0.3, stream=PATIENCE)
    async with raw_agent(behave) as agent, door(patience) as opened:
        assert await post(opened, agent.url) == b"{}\n" * 8


async def test_a_call_may_have_a_patience_of_its_own() -> None:
    async def behave(talk: Talk) -> None:
        await talk.request()
        await asyncio.sleep(0.4)  # longer than the door's own patience
        await talk.send(OK)

    async with raw_agent(behave) as agent, door(QUICK) as opened:
        with pytest.raises(CallTimedOut, match=r"did not begin to answer within 0\.3 s"):
            await post(opened, agent.url)
        async with opened.call(agent.url, {}, b"", patience=CALM) as answer:
            assert answer.head.status == 200


SENTENCE = b'{"text":"' + b"hello " * 20_000 + b'"}'


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", SENTENCE),
        ("", SENTENCE),
        ("gzip", gzip.compress(SENTENCE)),
        ("GZIP", gzip.compress(SENTENCE)),
        ("x-gzip", gzip.compress(SENTENCE)),
        ("gzip", gzip.compress(SENTENCE[:1000]) + gzip.compress(b"") + gzip.compress(SENTENCE[1000:])),
        ("gzip", gzip.compress(SENTENCE, 0)),
        ("deflate", zlib.compress(SENTENCE)),
        ("deflate", bare_deflate(SENTENCE)),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1000, 1])
async def test_a_compressed_answer_is_read(encoding: str, body: bytes, step: int) -> None:
    step = max(step, len(body) // 2000)
    body_parts = [body[start : start + step] for start in range(0, len(body), step)]

    async def behave(talk: Talk) -> None:
        await talk.request()
        await talk.send(head(content_encoding=encoding, content_length=str(len(body))), *body_parts)

    async with raw_agent(behave) as agent, door() as opened:
        assert await post(opened, agent.url) == SENTENCE


async def test_an_empty_answer_may_be_called_compressed() -> None:
    answers = (response(content_encoding="gzip"), response(status="204 No Content", content_encoding="gzip"))
    async with raw_agent(answering(*answers)) as agent, door() as opened:
        assert await post(opened, agent.url) == b""
        assert await post(opened, agent.url) == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "☃"])
async def test_another_compression_is_invalid(encoding: str) -> None:
    async with raw_agent(answering(response(b"....", content_encoding=encoding))) as agent, door() as opened:
        with pytest.raises(AnswerInvalid, match="content-encoding") as caught:
            await post(opened, agent.url)
        assert caught.value.status == 200


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("gzip", gzip.compress(SENTENCE, mtime=0)[:-5], "breaks off"),
        ("gzip", b"this is not gzip", "not readable as content-encoding gzip"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"and more", "not readable"),
        ("deflate", zlib.compress(b"x") + b"and more", "goes on after its end"),
        ("deflate", b"\xff" * 10, "not readable"),
    ],
)
async def test_broken_compression_is_invalid(encoding: str, body: bytes, message: str) -> None:
    async with raw_agent(answering(response(body, content_encoding=encoding))) as agent, door() as opened:
        with pytest.raises(AnswerInvalid, match=message) as caught:
            await post(opened, agent.url)
        assert caught.value.status == 200


@pytest.mark.parametrize(("extra", "is_well"), [(0, True), (1, False)])
async def test_the_limit_is_on_what_was_decompressed(extra: int, is_well: bool) -> None:
    body = b"x" * (5000 + extra)
    answers = (response(body), response(gzip.compress(body), content_encoding="gzip"))
    async with raw_agent(answering(*answers)) as agent, door(max_bytes=5000) as opened:
        for _ in answers:
            if is_well:
                assert await post(opened, agent.url) == body
            else:
                with pytest.raises(AnswerInvalid, match="over 5000 bytes"):
                    await post(opened, agent.url)


async def test_a_snippet_of_a_refusal() -> None:
    refusals = (
        response(b"no such model", "404 Not Found"),
        response(gzip.compress(b"x" * 100_000), "500 Oops", content_encoding="gzip"),
        response(b"....", "500 Oops", content_encoding="br"),
        response(b"1234567890", "400 Bad"),
    )
    async with raw_agent(answering(*refusals)) as agent, door() as opened:
        got = []
        for _ in refusals:
            async with opened.call(agent.url, {}, b"") as answer:
                got.append(await answer.snippet(10))
    assert got == [b"no such mo", b"x" * 10, b"", b"1234567890"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0), ("0", 0.0), ("1.5", 1.5), (" 7 ", 7.0), ("-1", None), ("", None), ("soon", None), ("٣", None),
        ("9" * 400, None), ("1e9", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert Head(503, {"retry-after": value}).retry_after == seconds


def test_retry_after_a_date() -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert Head(503, {"retry-after": value}).retry_after == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("content_type", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/x-ndjson", True),
        ("application/ndjson", True),
        ("application/jsonl", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_what_is_a_stream(content_type: str, is_stream: bool) -> None:
    assert Head(200, {"content-type": content_type}).is_stream is is_stream


# Hanging up


@pytest.fixture(params=["head", "stream", "answer"])
def phase(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_cancelled_call_hangs_up_at_once(phase: str) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def behave(talk: Talk) -> None:
        await talk.request()
        if phase != "head":
            kind = "text/event-stream" if phase == "stream" else "text/plain"
            await talk.send(head(content_type=kind, content_length="100"), b"some")
        else:
            reached.set()
        await talk.hung_up()
        closed.set()

    async def call(opened: Door, url: str) -> None:
        async with opened.call(url, {}, b"{}") as answer:
            async for _ in answer.chunks():
                reached.set()

    async with raw_agent(behave) as agent, door() as opened, asyncio.timeout(PATIENCE):
        task = asyncio.create_task(call(opened, agent.url))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


async def test_a_cancelled_call_does_not_go_on_sending() -> None:
    """Nor does it wait, with a connection that is closed by name only, for an agent to take what is left."""
    size = 32 * 1024 * 1024
    cancelled = asyncio.Event()
    ends: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()

    async def behave(talk: Talk) -> None:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await cancelled.wait()
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await ends.put((await talk.hung_up(), talk.was_reset))

    async with raw_agent(behave, takes_bytes=4096) as agent, door() as opened, asyncio.timeout(PATIENCE):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):  # by when nothing more fits between the two
                await post(opened, agent.url, b"x" * size)
        cancelled.set()
        received, was_reset = await ends.get()
        assert received < size
        assert was_reset


async def test_a_closed_door_stays_closed() -> None:
    shut = door()
    with pytest.raises(RuntimeError, match="closed"):
        await post(shut, "http://127.0.0.1/")


def test_the_literals_are_what_they_are_taken_for() -> None:
    """The system itself reads the odd ones as loopback: the test above would be no test otherwise."""
    for host in ("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1"):
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        assert {ip_address(each[4][0]) for each in found} == {ip_address("127.0.0.1")}
