"""Health, with the engines there, away and silent."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.http import JsonResponse
from django.test import RequestFactory

from observability import health, health_views


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health._State, "latest", None)
    monkeypatch.setattr(health._State, "migrated", False)
    monkeypatch.setattr(health._State, "draining", False)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose server takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def forget_migration() -> Iterator[None]:
    """A database from before the newest migration."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_migrations SET app = 'gone' WHERE app = 'inbox' AND name = '0002_storage'"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'inbox' WHERE app = 'gone'")


async def ask(view: Any) -> tuple[int, dict[str, Any]]:
    response: JsonResponse = await view(RequestFactory().get("/health"))
    return response.status_code, json.loads(response.content)


def send_postgres_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name, value in {"HOST": "127.0.0.1", "PORT": port}.items():
        monkeypatch.setitem(settings.DATABASES["default"], name, value)


def send_valkey_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    elsewhere = settings.FLEETLM.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"})
    monkeypatch.setattr(settings, "FLEETLM", elsewhere)


async def test_all_is_well() -> None:
    dependencies = {"postgres": "ok", "migrations": "ok", "valkey": "ok"}
    assert await ask(health_views.ready) == (200, {"status": "ok", "dependencies": dependencies})
    status, body = await ask(health_views.summary)
    assert (status, body["status"], body["version"]) == (200, "ok", "1.0.0")


async def test_a_silent_postgres_makes_it_unready_in_time_and_stays_alive(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    send_postgres_to(monkeypatch, silent_port)
    began = time.monotonic()
    waiting = asyncio.create_task(ask(health_views.ready))
    await asyncio.sleep(0)
    assert await ask(health_views.live) == (200, {"status": "ok"})
    assert not waiting.done()
    status, body = await waiting
    assert (status, body["status"], body["dependencies"]["postgres"]) == (503, "unavailable", "unreachable")
    assert time.monotonic() - began < 3


async def test_a_refused_postgres_makes_it_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    send_postgres_to(monkeypatch, 9)
    status, body = await ask(health_views.ready)
    assert (status, body["dependencies"]["postgres"]) == (503, "unreachable")


async def test_without_valkey_it_is_degraded_and_ready(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    send_valkey_to(monkeypatch, silent_port)
    status, body = await ask(health_views.ready)
    assert (status, body["status"], body["dependencies"]["valkey"]) == (200, "degraded", "unreachable")


async def test_a_missing_migration_makes_it_unready(forget_migration: None) -> None:
    status, body = await ask(health_views.ready)
    assert (status, body["dependencies"]["migrations"]) == (503, "missing")


async def test_draining_makes_it_unready_at_once(monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    send_postgres_to(monkeypatch, silent_port)
    health.begin_drain()
    assert await asyncio.wait_for(ask(health_views.ready), 0.5) == (503, {"status": "draining"})
    health.end_drain()
    assert not health.is_draining()


async def test_many_who_ask_share_one_round_of_checks() -> None:
    found = await asyncio.gather(*(health.check() for _ in range(50)))
    assert len({id(one) for one in found}) == 1
