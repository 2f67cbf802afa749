"""The log behind the answers' back: batched, with its counts, and harmed by nothing that happens beside it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from serving_app.gateway.entries import Entry, Refusal
from web_kit.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 5, 4, 10, 3, 7, tzinfo=UTC)


def _entry(project, **values) -> Entry:
    given = {
        "request_id": new_id(), "project_id": project.pk, "door": "chat", "model_name": "m", "latency_seconds": 0.03,
        "at": AT, "prompt_tokens": 10, "completion_tokens": 5, "confidence": 0.83, "question_length": 40,
        "input": {"messages": []},
    }  # fmt: skip
    return Entry(**(given | values))


@pytest.fixture
def log():
    from serving_app.gateway.database import PredictionLog

    found = PredictionLog()
    yield found
    assert found.flush()


def test_five_minutes_of_a_model_and_key_become_one_row_of_counts(project, log) -> None:
    from serving_app.histograms import CONFIDENCE_EDGES, LATENCY_EDGES, quantile
    from serving_app.models import Prediction, TrafficBucket

    for status in (200, 200, 404, 499, 503):
        log.put(_entry(project, status=status))
    log.put(_entry(project, cached=True, cache_kind="exact", calibrated=0.4, needs_human=True))
    log.put(Refusal(project.pk, "", "m", AT))
    log.put(_entry(project, at=AT.replace(minute=5)))
    assert log.flush()
    first, second = TrafficBucket.objects.order_by("start_at")
    assert first.start_at == AT.replace(minute=0, second=0)
    assert second.start_at == AT.replace(minute=5, second=0)
    counts = (first.requests, first.refused, first.failed, first.left, first.exact_hits, first.needs_human)
    assert counts == (7, 2, 1, 1, 1, 1)
    assert (first.prompt_tokens, first.completion_tokens) == (50, 25), "an answer from a cache cost no tokens"
    assert first.latency_sum == pytest.approx(0.09)
    assert sum(first.latency) == sum(first.question_length) == 3
    assert first.confidence_sum == pytest.approx(0.83 + 0.83 + 0.4)
    assert 0.02 < quantile(first.latency, LATENCY_EDGES, 0.5) <= 0.035
    assert quantile(first.confidence, CONFIDENCE_EDGES, 0.01) < 0.45, "calibrated where it is known"
    assert Prediction.objects.count() == 7, "what was turned away at the door is only counted"


def test_shadows_are_counted_apart(project, log) -> None:
    from serving_app.models import TrafficBucket

    log.put(_entry(project))
    log.put(_entry(project, shadow_of=new_id()))
    assert log.flush()
    assert sorted(TrafficBucket.objects.values_list("is_shadow", "requests")) == [(False, 1), (True, 1)]


def test_a_project_that_vanished_does_not_take_the_others_along(project, log) -> None:
    from serving_app import metrics
    from serving_app.models import Prediction

    lost = metrics.LOG_LOST._value.get()
    gone = _entry(project, project_id=new_id())
    left = _entry(project, api_key_id=new_id(), deployment_id=new_id())
    for entry in (gone, left, Refusal(new_id(), "", "", AT)):
        log.put(entry)
    assert log.flush()
    row = Prediction.objects.get()
    assert (row.request_id, row.api_key_id, row.deployment_id) == (left.request_id, None, None)
    assert metrics.LOG_LOST._value.get() - lost == 1


def test_a_question_with_a_nul_in_it_is_kept_without(project, log) -> None:
    from serving_app.models import Prediction

    log.put(
        _entry(
            project,
            task="t\x00",
            output="a\x00b",
            input={"messages": [{"role": "user", "content": "\\u0000 and \x00"}]},
        )
    )
    assert log.flush()
    row = Prediction.objects.get()
    assert (row.output, row.task) == ("a\ufffdb", "t\ufffd")
    assert row.input["messages"][0]["content"] == "\\u0000 and \ufffd"


def test_the_counts_are_the_sums_of_the_log(project) -> None:
    from datetime import timedelta
    from random import Random

    from serving_app.models import Prediction
    from serving_app.operations import log_predictions
    from serving_app.queries.usage import usage_of

    dice = Random(3)
    entries = [
        _entry(
            project,
            at=AT + timedelta(minutes=dice.randrange(3 * 24 * 60)),
            model_name=dice.choice(["m1", "m2"]),
            status=dice.choice([200, 200, 400, 404, 429, 499, 500, 503]),
            cached=(kind := dice.choice(["", "", "exact", "semantic"])) != "",
            cache_kind=kind,
            prompt_tokens=dice.choice([None, dice.randrange(99)]),
            completion_tokens=dice.choice([None, dice.randrange(99)]),
            shadow_of=dice.choice(["", "", "", "another"]),
        )
        for _ in range(300)
    ]
    for start in range(0, len(entries), 17):
        log_predictions(predictions=entries[start : start + 17])
    rows = list(Prediction.objects.filter(shadow_of=""))
    wanted = (
        len(rows),
        sum(400 <= row.status < 500 and row.status != 499 for row in rows),
        sum(row.status >= 500 for row in rows),
        sum(row.status == 499 for row in rows),
        sum(row.cached for row in rows),
        sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in rows if not row.cached),
    )
    names = ("requests", "refused", "errors", "left", "cached", "tokens")
    for by in ("day", "model", "key"):
        usages = usage_of(project, AT - timedelta(minutes=5), AT + timedelta(days=4), by)
        assert tuple(sum(getattr(one, name) for one in usages) for name in names) == wanted
    for usage in usage_of(project, AT - timedelta(minutes=5), AT + timedelta(days=4), "day"):
        assert usage.requests == sum(row.at.astimezone(UTC).date().isoformat() == usage.group for row in rows)


def test_the_same_question_is_written_once(project) -> None:
    from serving_app.models import Prediction
    from serving_app.operations import log_predictions

    entry = _entry(project)
    log_predictions(predictions=[entry])
    log_predictions(predictions=[entry, _entry(project)])
    assert Prediction.objects.count() == 2


def test_what_waited_meanwhile_goes_in_few_transactions_of_a_bounded_size(project, log, monkeypatch) -> None:
    from serving_app.gateway import database
    from serving_app.models import Prediction

    batches: list[int] = []
    all_wait, write = threading.Event(), database.log_predictions

    def held(**batch: Any) -> None:
        assert all_wait.wait(60)
        batches.append(len(batch["predictions"]))
        write(**batch)

    monkeypatch.setattr(database, "LARGEST_BATCH", 200)
    monkeypatch.setattr(database, "log_predictions", held)
    for _ in range(450):
        log.put(_entry(project))
    all_wait.set()
    assert log.flush()
    assert Prediction.objects.count() == sum(batches) == 450
    assert max(batches) <= 200
    assert len(batches) <= 4, "one that was on its way, and three for the rest"


def test_while_the_database_is_away_entries_wait_and_beyond_the_most_they_are_shed_and_counted(
    project, log, monkeypatch
) -> None:
    from django.db import OperationalError

    from serving_app import metrics
    from serving_app.gateway import database
    from serving_app.models import Prediction

    write, is_away, in_hand = database.log_predictions, [True], threading.Event()

    def writing(**batch):
        if is_away[0]:
            in_hand.set()
            raise OperationalError("gone")
        write(**batch)

    monkeypatch.setattr(database, "log_predictions", writing)
    monkeypatch.setattr(database, "MOST_WAITING", 10)
    lost = metrics.LOG_LOST._value.get()
    log.put(_entry(project))
    assert in_hand.wait(60)  # and the thread insists
    for _ in range(15):
        log.put(_entry(project))
    assert not log.flush(0.2)
    assert metrics.LOG_LOST._value.get() - lost == 5
    is_away[0] = False
    assert log.flush()
    assert Prediction.objects.count() == 11


def test_texts_are_made_fit_before_they_are_written(project, log) -> None:
    from serving_app.masking import forget_rules
    from serving_app.models import LogPolicy, Prediction, TrafficBucket

    LogPolicy.objects.create(project=project, keeps_texts=False)
    forget_rules()
    log.put(_entry(project, question_text="secret", output="also secret"))
    assert log.flush()
    row = Prediction.objects.get()
    assert (row.question_text, row.output, row.input) == ("", "", {})
    assert sum(TrafficBucket.objects.get().question_length[3:]) == 1, "its length was counted before"


def test_the_server_writes_down_what_is_left_when_it_ends(project, monkeypatch) -> None:
    import asyncio

    from finetune_site import asgi
    from serving_app.gateway import database
    from serving_app.models import Prediction

    monkeypatch.setattr(database, "FLUSH_SECONDS", 30.0)
    asgi.prediction_log.put(_entry(project))
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(asgi.application({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert Prediction.objects.count() == 1
