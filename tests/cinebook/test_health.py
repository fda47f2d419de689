"""Health tells a load balancer whether seats can be sold, and an operator what is away."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from pytest_django import Settings

from tests.factories import UserFactory

NOWHERE = "unix:///nonexistent/redis.sock?db=0"


@pytest.mark.django_db
def test_all_is_well(client: Client) -> None:
    answer = client.get("/api/v1/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "up", "redis": "up", "channel_layer": "up"}
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_without_redis_sales_go_on(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = settings.LIVE_REDIS_URL = NOWHERE

    answer = client.get("/api/v1/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "database": "up", "redis": "down", "channel_layer": "down"}


def test_without_postgresql_nothing_can_be_sold(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(connection, "cursor", refuse)

    answer = client.get("/api/v1/health")

    assert answer.status_code == 503
    assert answer.json()["status"] == "down"


@pytest.mark.django_db
def test_a_probe_by_address_is_answered_whatever_hosts_are_allowed(client: Client) -> None:
    assert client.get("/api/v1/health", headers={"host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/api/v1/health", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_whoever_is_signed_in_gets_the_same_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(UserFactory())

    def refuse() -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(connection, "cursor", refuse)

    assert client.get("/api/v1/health").status_code == 503


def test_health_cannot_be_posted_to(client: Client) -> None:
    assert client.post("/api/v1/health").status_code == 405
