"""The single answers, a page at a time."""

from __future__ import annotations

import io

import pytest

pytestmark = pytest.mark.django_db


@pytest.fixture
def with_samples(done):
    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    rows = [3, 9, 11, 20, 21]
    frame = pl.DataFrame(
        {
            "row": rows,
            "prompt": [f"question {row}" for row in rows],
            "reference": ["Payment"] * 5,
            "label": ["Payment"] * 5,
            "base_answer": ["x"] * 5,
            "base_correct": [False] * 5,
            "base_nll": [2.0] * 5,
            "tuned_answer": ["Payment", "Term", "Payment", "Term", "Payment"],
            "tuned_correct": [True, False, True, False, True],
            "tuned_nll": [0.1] * 5,
        }
    )
    file = io.BytesIO()
    frame.write_parquet(file)
    done.samples_name = default_storage.save(f"evaluations/{done.pk}/1/samples.parquet", ContentFile(file.getvalue()))
    done.save()
    return done


def test_pages_follow_each_other_without_gap_or_repeat(with_samples) -> None:
    from evaluation_app.queries import sample_rows

    seen, cursor = [], None
    while True:
        rows, cursor = sample_rows(with_samples, cursor, 2)
        seen += [row.row for row in rows]
        if cursor is None:
            break
    assert seen == [3, 9, 11, 20, 21]


def test_only_what_the_trained_model_got_wrong(client_for, viewer, project, with_samples, client, api_key) -> None:
    text = client_for(viewer).get(f"/p/{project.slug}/results/{with_samples.pk}/samples?tuned=wrong").content.decode()
    assert "question 9" in text
    assert "question 3" not in text
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    body = client.get(f"/api/v1/evaluations/{with_samples.pk}/samples?tuned=wrong&limit=1", headers=headers).json()
    assert [row["row"] for row in body["data"]] == [9]
    assert body["next_cursor"] == "9"


def test_a_bad_marker_is_refused(client, api_key, with_samples) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    response = client.get(f"/api/v1/evaluations/{with_samples.pk}/samples?cursor=x", headers=headers)
    assert response.status_code == 400
