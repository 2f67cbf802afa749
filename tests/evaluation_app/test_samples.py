"""The single answers: page by page, filtered, as a table, and kept."""

from __future__ import annotations

import csv
import io
import json

import pytest

from evaluation_app.queries import sample_rows
from evaluation_app.queries.sample_filter import SampleFilter, filter_of
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db
ROWS = [3, 9, 11, 20, 21]


@pytest.fixture
def with_samples(done):
    """Five cases, three models. The third exists in the file and among the contenders."""
    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from evaluation_app.models import Contender

    Contender.objects.create(evaluation=done, key="model_2", kind="prompted", name="=HYPERLINK(1)", prompt={"shots": 2})
    frame = pl.DataFrame(
        {
            "row": ROWS,
            "prompt": [f"question {row}" for row in ROWS],
            "reference": ["Payment"] * 5,
            "label": ["Payment"] * 5,
            "metadata": [json.dumps({"desk": "north" if row < 12 else "south"}) for row in ROWS],
            "messages": [json.dumps([{"role": "user", "content": f"question {row}"}]) for row in ROWS],
            "base_answer": ["x"] * 5,
            "base_correct": [False, True, False, False, False],
            "base_score": [0.0, 1.0, 0.0, 0.0, 0.0],
            "base_nll": [2.0] * 5,
            "tuned_answer": ["Payment", "Term", "Payment", "Term", "Payment"],
            "tuned_correct": [True, False, True, False, True],
            "tuned_score": [1.0, 0.0, 1.0, 0.0, 1.0],
            "tuned_nll": [0.1] * 5,
            "model_2_answer": ["Payment", "=1+1", None, "", "Term"],
            "model_2_correct": [True, False, False, False, False],
            "model_2_score": [1.0, 0.0, 0.0, 0.0, 0.0],
        }
    )
    file = io.BytesIO()
    frame.write_parquet(file)
    done.samples_name = default_storage.save(f"evaluations/{done.pk}/1/samples.parquet", ContentFile(file.getvalue()))
    done.save()
    return done


def found(evaluation, **chosen) -> list[int]:
    return [row.row for row in sample_rows(evaluation, chosen=SampleFilter(**chosen))[0]]


@pytest.mark.parametrize("chosen", [SampleFilter(), SampleFilter(column="desk", value="north")])
def test_pages_follow_each_other_without_gap_or_repeat(with_samples, chosen) -> None:
    seen, cursor = [], None
    while True:
        rows, cursor = sample_rows(with_samples, cursor, 2, chosen=chosen)
        seen += [row.row for row in rows]
        if cursor is None:
            break
    assert seen == ([3, 9, 11] if chosen else ROWS)


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"outcome": "wrong"}, [9, 20]),
        ({"outcome": "right"}, [3, 11, 21]),
        ({"outcome": "improved"}, [3, 11, 21]),
        ({"outcome": "worsened"}, [9]),
        ({"outcome": "right", "model": "model_2"}, [3]),
        ({"outcome": "improved", "model": "model_2"}, [3]),
        ({"column": "desk", "value": "south"}, [20, 21]),
        ({"column": "no such", "value": "south"}, []),
        ({"text": "QUESTION 2"}, [20, 21]),
        ({"text": "=1+1"}, [9]),
        ({"text": "question 2", "outcome": "wrong"}, [20]),
    ],
)
def test_a_filter_keeps_what_it_says(with_samples, chosen, rows) -> None:
    assert found(with_samples, **chosen) == rows


def test_answers_that_fail_a_rule(with_samples, project) -> None:
    from evaluation_app.models import AcceptanceRule

    rule = AcceptanceRule.objects.create(
        project=project, name="No terms", kind="excludes", demand={"texts": ["Term"], "ignore_case": True}
    )
    assert found(with_samples, rule=rule.pk) == [9, 20]
    assert found(with_samples, rule=rule.pk, model="model_2") == [21]


def test_another_projects_rule_is_not_found(with_samples, outsider) -> None:
    from evaluation_app.models import AcceptanceRule

    theirs = outsider.memberships.get().project
    rule = AcceptanceRule.objects.create(project=theirs, name="x", kind="excludes", demand={"texts": ["Term"]})
    with pytest.raises(UserError) as error:
        found(with_samples, rule=rule.pk)
    assert error.value.status == 404


def test_a_model_or_outcome_that_is_none_is_refused(with_samples) -> None:
    with pytest.raises(UserError, match="has no model"):
        found(with_samples, outcome="right", model="nobody")
    with pytest.raises(UserError, match="right, wrong"):
        filter_of({"outcome": "beautiful"})


def test_the_page_shows_every_models_answer_and_keeps_the_filter(client_for, viewer, project, with_samples) -> None:
    url = f"/p/{project.slug}/results/{with_samples.pk}/samples"
    text = client_for(viewer).get(f"{url}?outcome=wrong").content.decode()
    assert "question 9" in text
    assert "question 3" not in text
    assert "=HYPERLINK(1)" in text
    assert f"{url}.csv?outcome=wrong" in text


def test_a_search_without_hits_keeps_the_form(client_for, viewer, project, with_samples) -> None:
    text = client_for(viewer).get(f"/p/{project.slug}/results/{with_samples.pk}/samples?q=zzz").content.decode()
    assert "No such case" in text
    assert 'value="zzz"' in text


def test_programs_filter_alike(client, api_key, with_samples) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    where = f"/api/v1/evaluations/{with_samples.pk}/samples"
    body = client.get(f"{where}?tuned=wrong&limit=1", headers=headers).json()
    assert ([row["row"] for row in body["data"]], body["next_cursor"]) == ([9], "9")
    row = client.get(f"{where}?q=%3D1&column=desk&value=north", headers=headers).json()["data"][0]
    assert (row["tuned_answer"], row["answers"]["model_2"]["answer"]) == ("Term", "=1+1")
    assert row["metadata"] == {"desk": "north"}


def test_the_table_holds_no_formula(client_for, viewer, project, with_samples) -> None:
    response = client_for(viewer).get(f"/p/{project.slug}/results/{with_samples.pk}/samples.csv?outcome=wrong")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    head, first, second = csv.reader(io.StringIO(text))
    assert head[:4] == ["row", "asked", "expected", "label"]
    assert "'=HYPERLINK(1)" in head
    assert "'=1+1" in first
    assert [first[0], second[0]] == ["9", "20"]


def test_an_empty_table_still_has_its_head(client_for, viewer, project, with_samples) -> None:
    response = client_for(viewer).get(f"/p/{project.slug}/results/{with_samples.pk}/samples.csv?q=zzz")
    assert b"".join(response.streaming_content).decode("utf-8-sig").startswith("row,asked,expected")


def test_chosen_cases_are_kept_for_ever(client_for, reviewer, viewer, project, with_samples) -> None:
    from evaluation_app.models import RegressionCase

    url = f"/p/{project.slug}/results/{with_samples.pk}"
    text = client_for(reviewer).get(f"{url}/samples").content.decode()
    assert f'action="{url}/keep"' in text
    assert client_for(viewer).post(f"{url}/keep", {"row": ["9"]}).status_code == 403
    client_for(reviewer).post(f"{url}/keep", {"row": ["9", "20"]})
    assert sorted(case.origin["row"] for case in RegressionCase.objects.all()) == [9, 20]
    assert 'type="checkbox"' not in client_for(viewer).get(f"{url}/samples").content.decode()


def test_a_file_from_before_is_still_read(done) -> None:
    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    done.contenders.all().delete()
    columns = {"row": [1], "prompt": ["q"], "reference": ["a"], "label": [None], "base_answer": ["b"]}
    columns |= {
        "base_correct": [False],
        "base_nll": [1.0],
        "tuned_answer": ["a"],
        "tuned_correct": [True],
        "tuned_nll": [0.1],
    }
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    done.samples_name = default_storage.save(f"evaluations/{done.pk}/old.parquet", ContentFile(file.getvalue()))
    (row,), _following = sample_rows(done, chosen=SampleFilter(outcome="improved"))
    assert [(one.key, one.answer) for one in row.answers] == [("base", "b"), ("tuned", "a")]


def test_a_bad_marker_is_refused(client, api_key, with_samples) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    response = client.get(f"/api/v1/evaluations/{with_samples.pk}/samples?cursor=x", headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize("wrong", ["rule=nothing", "outcome=right&model=nobody"])
def test_a_wrong_filter_is_refused_before_the_download_begins(client_for, viewer, project, with_samples, wrong) -> None:
    answer = client_for(viewer).get(f"/p/{project.slug}/results/{with_samples.pk}/samples.csv?{wrong}")
    assert answer.status_code in {404, 422}
    assert not answer.streaming


def test_a_chosen_part_that_the_report_does_not_list_stays_chosen(client_for, viewer, project, with_samples) -> None:
    url = f"/p/{project.slug}/results/{with_samples.pk}/samples?slice=desk=north"
    assert '<option value="desk=north" selected>' in client_for(viewer).get(url).content.decode()


def test_answers_that_were_taken_out_of_the_storage_are_said_to_be_gone(client_for, viewer, project, done) -> None:
    done.samples_name = "evaluations/gone/1/samples.parquet"
    done.save()
    answer = client_for(viewer).get(f"/p/{project.slug}/results/{done.pk}/samples")
    assert answer.status_code == 410
    assert "no longer in the storage" in answer.content.decode()


def test_what_a_database_cannot_hold_is_left_out_of_a_filter() -> None:
    assert filter_of({"rule": "a\0b", "q": "\0"}) == SampleFilter(rule="ab")
