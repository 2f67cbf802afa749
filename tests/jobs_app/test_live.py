"""What the page of a running training draws before any script runs, and what it hands to the script."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from django.utils import timezone

from jobs_app.queries import live_job
from web_kit.live_job import MOST_POINTS
from work_kit.models import Job, JobEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(start):
    training = start()
    Job.objects.filter(pk=training.pk).update(state="running", phase="training", progress_done=2, progress_total=10)
    training.work.refresh_from_db()
    return training


@pytest.fixture
def say(running):
    def tell(kind: str, *rows: dict) -> None:
        JobEvent.objects.bulk_create(
            [JobEvent(job_id=running.pk, attempt=1, kind=kind, data=row, at=timezone.now()) for row in rows]
        )

    return tell


@pytest.fixture
def page(client_for, owner, project, running):
    return lambda: client_for(owner).get(f"/p/{project.slug}/train/{running.pk}").content.decode()


def _curve(text: str, key: str) -> str:
    return text.partition(f'data-live-curve="{key}"')[2].partition("</figure>")[0]


def test_each_number_that_is_told_has_a_curve_and_the_others_wait_hidden(say, page):
    say("metric", *({"step": n, "train_loss": 1.0, "learning_rate": 1e-4, "memory_bytes": 2**30} for n in (1, 2)))
    text = page()
    assert "1.0 GB" in _curve(text, "memory_bytes")
    assert "<svg" in _curve(text, "learning_rate")
    for key in ("rewards_margin", "grad_norm"):
        assert " hidden" in _curve(text, key).partition(">")[0]


def test_samples_come_by_check_the_newest_first_and_are_never_markup(say, page):
    say(
        "sample",
        {"step": 5, "prompt": "Which kind?", "answer": "Old answer", "reference": "Payment"},
        {"step": 10, "prompt": "<img src=x onerror=alert(1)>", "answer": "New answer", "reference": ""},
    )
    text = page()
    assert text.index("New answer") < text.index("Old answer")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_a_long_run_hands_over_no_more_points_than_can_be_seen_but_every_check_and_every_break(say, running):
    say(
        "metric",
        *(
            {"step": n, "train_loss": "nan" if n == 4_001 else 1.0} | ({"valid_loss": 0.5} if n % 999 == 0 else {})
            for n in range(1, 6_001)
        ),
    )
    points = live_job(running, events_url="/").points
    assert len(points) <= MOST_POINTS + 10
    assert [point["step"] for point in points if "valid_loss" in point] == [999, 1998, 2997, 3996, 4995, 5994]
    assert [point["step"] for point in points if point["train_loss"] == "nan"] == [4001]
    assert points[-1]["step"] == 6_000


def test_the_points_for_the_script_are_strict_json(say, page):
    say("metric", {"step": 1, "train_loss": "nan", "grad_norm": "inf"})
    block = re.search(r'<script id="live-points" type="application/json">(.*?)</script>', page(), re.S)
    assert block is not None
    assert json.loads(block.group(1)) == [{"step": 1, "train_loss": "nan", "grad_norm": "inf"}]


def test_the_numbers_come_as_csv_while_it_runs(say, client_for, owner, project, running):
    say("metric", {"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": 0.4, "valid_loss": 0.6})
    answer = client_for(owner).get(f"/p/{project.slug}/train/{running.pk}/metrics.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert rows == [
        {"step": "1", "train_loss": "0.5", "valid_loss": ""},
        {"step": "2", "train_loss": "0.4", "valid_loss": "0.6"},
    ]
