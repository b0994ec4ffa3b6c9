"""API keys: their form, and what is kept of them."""

import hashlib
import re

import pytest

from fleetlm.auth.keys import check_scopes, digest_of, fill_key
from fleetlm.models import ApiKey


def test_a_key_has_the_form_and_is_kept_as_a_digest() -> None:
    row = ApiKey(name="one", scopes=["read"])
    text = fill_key(row)
    assert re.fullmatch(r"flk_[A-Za-z0-9_-]{43}", text)
    assert (row.prefix, row.digest) == (text[:12], hashlib.sha256(text.encode()).digest())
    assert text not in str(row.__dict__)


def test_any_text_has_a_digest() -> None:
    assert len({digest_of(text) for text in ("", "flk_", "é", "\ud800", "x" * 100_000)}) == 5


def test_no_two_keys_are_alike() -> None:
    assert len({fill_key(ApiKey()) for _ in range(100)}) == 100


def test_scopes_are_known_and_in_order() -> None:
    assert check_scopes(["write", "read", "write"]) == ["read", "write"]
    with pytest.raises(ValueError, match="unknown scope: root"):
        check_scopes(["read", "root"])
    with pytest.raises(ValueError, match="at least one"):
        check_scopes([])
