"""Health tells monitors what they need and strangers nothing more."""

from __future__ import annotations

import pytest
from django.test import Client

from finetune_engine import __version__

pytestmark = pytest.mark.django_db


def test_health_names_no_model_to_a_stranger() -> None:
    assert Client().get("/health").json() == {"status": "healthy", "model": None, "version": __version__}


def test_liveness_asks_no_database(django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert Client().get("/health/live").status_code == 200


def test_readiness_says_what_is_missing() -> None:
    body = Client().get("/health/ready").json()
    assert body == {"status": "ready", "database": "ok", "model_server": "unavailable"}


def test_the_apis_page_lists_every_call() -> None:
    text = Client().get("/api/v1/docs").content.decode()
    paths = Client().get("/api/v1/openapi.json").json()["paths"]
    assert len(paths) > 20
    assert all(path in text for path in paths)
