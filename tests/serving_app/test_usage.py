"""What was asked and what it cost, by key, model and day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serving_app.models import TrafficBucket

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 5, 4, 23, 55, tzinfo=UTC)


@pytest.fixture
def traffic(project, api_key):
    from accounts_app.models import ApiKey

    api_key("predict")
    key = ApiKey.objects.get(scopes=["predict"])
    common = {"project": project, "requests": 10, "refused": 1, "failed": 2, "exact_hits": 3, "prompt_tokens": 100}
    common |= {"completion_tokens": 50, "latency_sum": 36.0}
    TrafficBucket.objects.create(start_at=MONDAY, model_name="m1", key_ref=key.pk, **common)
    TrafficBucket.objects.create(start_at=MONDAY.replace(day=5, hour=0, minute=0), model_name="m2", **common)
    TrafficBucket.objects.create(start_at=MONDAY, model_name="m1", is_shadow=True, **common)
    return key


@pytest.fixture
def usage(client, api_key):
    key = api_key("read")

    def ask(**query):
        return client.get("/api/v1/usage", query, headers={"Authorization": f"Bearer {key}"})

    return ask


def test_each_grouping_has_its_rows(traffic, usage) -> None:
    span = {"from": "2026-05-04", "to": "2026-05-06"}
    by_day = usage(by="day", **span).json()["data"]
    assert [(row["day"], row["requests"], row["tokens"]) for row in by_day] == [
        ("2026-05-04", 10, 150),
        ("2026-05-05", 10, 150),
    ]
    by_key = usage(by="key", **span).json()["data"]
    assert {(row["key"], row["errors"], row["refused"], row["cached"]) for row in by_key} == {
        (traffic.pk, 2, 1, 3), (None, 2, 1, 3),
    }  # fmt: skip
    assert {row["name"] for row in by_key} == {traffic.name, None}
    assert {row["model"] for row in usage(by="model", **span).json()["data"]} == {"m1", "m2"}


def test_a_span_ends_where_it_is_told_to(traffic, usage) -> None:
    rows = usage(by="model", **{"from": "2026-05-04", "to": "2026-05-04"}).json()["data"]
    assert [row["model"] for row in rows] == ["m1"]


def test_the_machines_hour_is_the_price_of_what_ran_here(traffic, usage, monkeypatch) -> None:
    span = {"from": "2026-05-04", "to": "2026-05-04"}
    assert usage(by="day", **span).json()["data"][0]["is_priced"] is False
    monkeypatch.setenv("MACHINE_HOUR_COST", "0.80 EUR")
    row = usage(by="day", **span).json()["data"][0]
    assert row["cost"] == [{"amount": "0.008000", "currency": "EUR"}]
    assert row["is_priced"] is True


def test_an_unknown_grouping_is_refused_by_name(traffic, usage) -> None:
    answer = usage(by="colour")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "by")


def test_the_page_tells_each_keys_month_and_what_was_asked_otherwise(client_for, viewer, project, api_key) -> None:
    from django.utils import timezone

    from accounts_app.models import ApiKey
    from serving_app.operations.prediction_log import bucket_start

    api_key("predict")
    key = ApiKey.objects.get()
    now = bucket_start(timezone.now())
    counts = {"project": project, "start_at": now, "model_name": "m", "prompt_tokens": 900, "completion_tokens": 334}
    TrafficBucket.objects.create(key_ref=key.pk, requests=4321, **counts)
    TrafficBucket.objects.create(requests=7, **counts)
    text = client_for(viewer).get(f"/p/{project.slug}/use/limits").content.decode()
    assert "4,321" in text
    assert "1,234" in text
    assert "People in the playground" in text


def test_a_project_without_a_key_is_told_what_goes_there(client_for, owner, project) -> None:
    text = client_for(owner).get(f"/p/{project.slug}/use/limits").content.decode()
    assert "No key can ask the model yet" in text
    assert "Make a key" in text
