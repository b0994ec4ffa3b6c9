"""Tokens of an issuer of one's own: a real server publishes its keys (JWKS), a real web process fetches them."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.integration.server import HOST, Client, Server, forged, unique
from tests.integration.test_access_tokens import signed

ISSUER, AUDIENCE = "https://issuer.example", "fleetlm"
PATH = "/api/conversations"
NOT_AUTHENTICATED = (401, "not_authenticated")

KEYS: dict[str, tuple[str, Any]] = {
    "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
    "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
}
STRANGER = rsa.generate_private_key(65537, 2048)
ALGORITHMS: dict[str, Any] = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "ed": OKPAlgorithm}


def key_set() -> bytes:
    keys = [
        json.loads(ALGORITHMS[name].to_jwk(key.public_key())) | {"kid": name, "use": "sig", "alg": algorithm}
        for name, (algorithm, key) in KEYS.items()
    ]
    return json.dumps({"keys": keys}).encode()


class Publisher(BaseHTTPRequestHandler):
    """Serves the issuer's public keys."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(key_set())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the base class
        return


@pytest.fixture(scope="module")
def issuing(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A web process that trusts the issuer."""
    with ThreadingHTTPServer((HOST, 0), Publisher) as publisher:
        thread = Thread(target=publisher.serve_forever)
        thread.start()
        environment = {
            "FLEETLM_JWT_JWKS_URL": f"http://{HOST}:{publisher.server_address[1]}/keys",
            "FLEETLM_JWT_ISSUER": ISSUER,
            "FLEETLM_JWT_AUDIENCE": AUDIENCE,
        }
        with Server(tmp_path_factory.mktemp("issuing") / "log", **environment) as server:
            yield server
        publisher.shutdown()
        thread.join()
    assert server.complaints() == []


def issued(
    name: str = "rsa", *, key: Any = None, kid: str | None = None, algorithm: str | None = None, **claims: Any
) -> str:
    """A token of the issuer; a claim that is None is left out."""
    own_algorithm, own_key = KEYS[name]
    all_claims = {
        "sub": "somebody",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(time.time()) + 60,
        **claims,
    }
    return jwt.encode(
        {claim: value for claim, value in all_claims.items() if value is not None},
        key or own_key,
        algorithm=algorithm or own_algorithm,
        headers={"kid": kid or name},
    )


@pytest.mark.parametrize("name", list(KEYS))
def test_a_token_of_the_issuer_is_taken(issuing: Server, api: Client, name: str) -> None:
    one = unique("one")
    key, other = api.group(one), api.group(one)
    token = Client(issuing, issued(name, sub=one))
    assert [c["key"] for c in token.ok("GET", PATH)["conversations"]] == [other, key]
    with token.socket() as socket:
        socket.join(f"conversation:{key}")
    narrowed = Client(issuing, issued(name, sub=one, conversations=[key]))
    assert narrowed.get(f"{PATH}/{key}").status == 200
    assert narrowed.get(f"{PATH}/{other}").verdict == (403, "not_a_member")


def test_one_audience_of_several_is_enough(issuing: Server) -> None:
    assert Client(issuing, issued(aud=["elsewhere", AUDIENCE])).get(PATH).status == 200


def test_tokens_of_the_server_itself_stay_good(issuing: Server) -> None:
    assert Client(issuing, forged({"sub": "somebody"})).get(PATH).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://another.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"sub": None},
        {"exp": None},
        {"sub": "a:b"},
        {"kid": "unknown"},
        {"kid": "ec"},
        {"key": STRANGER},
        {"algorithm": "RS512"},
        {"algorithm": "PS256"},
        {"nbf": int(time.time()) + 36_000},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_a_token_that_is_not_quite_the_issuers_is_refused(issuing: Server, changes: dict[str, Any]) -> None:
    token = issued(**changes)
    assert Client(issuing, token).get(PATH).verdict == NOT_AUTHENTICATED
    assert Client(issuing).get("/api/inbox/somebody/events", token=token).verdict == NOT_AUTHENTICATED


def test_an_expired_token_of_the_issuer_says_so(issuing: Server) -> None:
    assert Client(issuing, issued(exp=int(time.time()) - 60)).get(PATH).verdict == (401, "token_expired")


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "none"])
@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_the_public_key_is_no_secret(issuing: Server, form: Encoding, algorithm: str) -> None:
    public = KEYS["rsa"][1].public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    claims = {"sub": "somebody", "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60}
    token = signed({"alg": algorithm, "kid": "rsa"}, claims, secret=public)
    assert Client(issuing, token).get(PATH).verdict == NOT_AUTHENTICATED


def test_without_an_issuer_its_tokens_are_refused(server: Server) -> None:
    assert Client(server, issued()).get(PATH).verdict == NOT_AUTHENTICATED
