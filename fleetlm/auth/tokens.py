"""Participant tokens: JWTs signed with the server's secret (HS256), or by an issuer of your own (its JWKS)."""

import time
from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings

from conversations import rules
from conversations.errors import FleetLMError, NotAuthenticated, TokenExpired, Unavailable
from fleetlm.auth.principal import Principal

LEEWAY_SECONDS = 5
REMEMBERED_CHARACTERS = 4_096
"""A longer token is verified each time, so that many of them do not fill the memory."""

ISSUER_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]


def mint(participant_id: str, ttl: int, conversations: list[str] | None = None) -> tuple[str, float]:
    """A token for this participant, good for `ttl` seconds, and when it ends (seconds since 1970)."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": rules.check_id(participant_id, "participant_id"),
        "iat": now,
        "exp": now + ttl,
    }
    if conversations is not None:
        claims["conversations"] = [rules.canonical_key(key) for key in conversations]
    return jwt.encode(claims, settings.FLEETLM.secret_key, algorithm="HS256"), float(now + ttl)


def verify(token: str) -> Principal:
    """The participant that a token stands for. Raises `NotAuthenticated` or `TokenExpired`; may fetch the issuer's keys."""
    principal = (_remembered if len(token) <= REMEMBERED_CHARACTERS else _verified)(token)
    if principal.expires_at is not None and principal.expires_at < time.time():
        raise TokenExpired
    return principal


def _verified(token: str) -> Principal:
    try:
        claims = _decode(token)
        subject, keys = claims["sub"], claims.get("conversations")
        if not isinstance(subject, str) or not (keys is None or isinstance(keys, list)):
            raise NotAuthenticated("The token's sub or conversations claim has the wrong type.")
        return Principal(
            scopes=frozenset({"read", "write"}),
            participant_id=rules.check_id(subject, "sub"),
            conversations=None if keys is None else frozenset(rules.canonical_key(str(key)) for key in keys),
            # With the leeway, for sockets too: one that is closed before its token is refused would come back at once.
            expires_at=float(claims["exp"]) + LEEWAY_SECONDS,
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except jwt.PyJWKClientConnectionError as error:
        # Not the token's fault: a client that is told so does not throw its session away.
        raise Unavailable(
            "The keys of the token's issuer cannot be fetched right now; try again shortly."
        ) from error
    except (jwt.PyJWTError, OverflowError) as error:
        raise NotAuthenticated(f"The token is not valid: {error}") from None
    except NotAuthenticated:
        raise
    except FleetLMError as error:
        raise NotAuthenticated(f"The token is not valid: {error}") from None


def _decode(token: str) -> dict[str, Any]:
    config = settings.FLEETLM
    claims = ["sub", "exp"]
    algorithm = jwt.get_unverified_header(token).get("alg")
    if algorithm in ISSUER_ALGORITHMS and config.jwt_jwks_url:
        # The algorithm is checked against the key that the issuer published: a token cannot choose a weaker one.
        key = _issuer_keys(config.jwt_jwks_url).get_signing_key_from_jwt(token)
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=config.jwt_issuer or None,
            audience=config.jwt_audience or None,
            options={"require": claims, "verify_aud": bool(config.jwt_audience)},
            leeway=LEEWAY_SECONDS,
        )
    return jwt.decode(
        token,
        config.secret_key,
        algorithms=["HS256"],
        options={"require": claims, "verify_aud": False},
        leeway=LEEWAY_SECONDS,
    )


_remembered = lru_cache(maxsize=10_000)(_verified)


@lru_cache(maxsize=1)
def _issuer_keys(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, cache_keys=True, lifespan=300, timeout=5)
