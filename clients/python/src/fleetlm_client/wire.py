"""How things are written: JSON, keys and paths."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote


def encode(value: Any) -> str:
    """Compact JSON. Raises `TypeError` and `ValueError` for what JSON cannot hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()  # half of a surrogate pair can be in a Python text, but not be sent
    return text


def canonical_key(key: str) -> str:
    """A dm is named by its two participants in either order; the sorted one is its key."""
    return ":".join(sorted(key.split(":"))) if key.count(":") == 1 else key


def path(*parts: str) -> str:
    """A path of these parts, each written so that it stays one."""
    return "/".join(quote(part, safe="") for part in parts)
