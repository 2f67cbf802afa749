"""What can be chosen beyond models and data."""

from __future__ import annotations

import pytest

from evaluation_app.operations.evaluation_settings import checked_settings

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"weights": {"quality": -0.1, "robustness": 1.1}}, "weights"),
        ({"weights": {"quality": 0.5, "robustness": 0.2}}, "weights"),
        ({"weights": {"beauty": 1.0}}, "weights"),
        ({"weights": {"quality": True}}, "weights"),
        ({"headline": "perplexity"}, "headline"),
        ({"metrics": ["beauty"]}, "metrics"),
        ({"judge": {"connection": "nowhere", "model": "x"}}, "judge"),
        ({"discordance": 0}, "discordance"),
        ({"discordance": 1.5}, "discordance"),
        ({"fairness": {"lists": {"places": [["Berlin"]]}}}, "fairness"),
        ({"fairness": {"lists": {"places": [["Berlin"], []]}}}, "fairness"),
        ({"slices": {"columns": [str(n) for n in range(9)]}}, "slices"),
        ({"cost": {"device_hour": {"amount": -1, "currency": "EUR"}}}, "cost"),
        ({"surprise": 1}, "settings"),
    ],
)
def test_what_makes_no_sense_names_its_field(project, snapshot, raw, field) -> None:
    kept, problems = checked_settings(raw, project=project, snapshot=snapshot)
    assert [problem.field for problem in problems] == [field]
    assert field not in kept


def test_weights_are_shares_and_percents_are_understood(project, snapshot) -> None:
    kept, problems = checked_settings(
        {"weights": {"quality": 60, "cost": 40, "fairness": 0}}, project=project, snapshot=snapshot
    )
    assert problems == []
    assert kept == {"weights": {"quality": 0.6, "cost": 0.4}}


def test_a_sum_that_is_off_is_told_in_percent(project, snapshot) -> None:
    _kept, problems = checked_settings({"weights": {"quality": 0.7}}, project=project, snapshot=snapshot)
    assert "70 %" in problems[0].sentence


def test_a_judge_gets_a_usual_number_of_cases(project, snapshot, connection) -> None:
    raw = {"judge": {"connection": connection.pk, "model": " judge ", "rubric": ""}}
    kept, problems = checked_settings(raw, project=project, snapshot=snapshot)
    assert problems == []
    assert kept["judge"] == {"connection": connection.pk, "model": "judge", "rubric": "", "sample": 50}


def test_nothing_said_is_nothing_kept(project, snapshot) -> None:
    raw = {"headline": "", "weights": None, "slices": {}, "judge": None}
    assert checked_settings(raw, project=project, snapshot=snapshot) == ({}, [])


def test_a_figure_that_is_no_metric_of_answers_is_refused_before_anything_waits(project, snapshot) -> None:
    _kept, problems = checked_settings({"metrics": ["retention"]}, project=project, snapshot=snapshot)
    assert [problem.field for problem in problems] == ["metrics"]


def test_a_blank_column_to_group_by_is_none(project, snapshot) -> None:
    assert checked_settings({"group_by": "  "}, project=project, snapshot=snapshot) == ({}, [])


def test_a_column_beyond_those_that_are_offered_can_be_named(project, snapshot) -> None:
    import io
    import json

    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from evaluation_app.queries.columns import MOST_OFFERED

    names = [f"column {n:03}" for n in range(MOST_OFFERED + 1)]
    file = io.BytesIO()
    pl.DataFrame({"metadata": [json.dumps(dict.fromkeys(names, "x"))]}).write_parquet(file)
    default_storage.save("snapshots/none/snapshot.parquet", ContentFile(file.getvalue()))
    kept, problems = checked_settings({"slices": {"columns": [names[-1]]}}, project=project, snapshot=snapshot)
    assert (kept, problems) == ({"slices": {"columns": [names[-1]]}}, [])
