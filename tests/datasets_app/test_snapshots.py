"""Frozen snapshots: people's decisions in, a hashed file out, and the test rows stay test rows."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from datasets_app import operations, queries
from datasets_app.models import Example, Snapshot
from finetune_engine.errors import UserError


@pytest.fixture
def freeze(actor, quick_jobs):
    def make(dataset, **options):
        snapshot = operations.create_snapshot(actor=actor, dataset=dataset, **options)
        quick_jobs()
        return Snapshot.objects.select_related("dataset").get(pk=snapshot.pk)

    return make


def rows_of(snapshot):
    return {row["row"]: row for row in pq.read_table(queries.snapshot_parquet(snapshot)).to_pylist()}


def test_a_snapshot_holds_the_usable_rows_in_three_splits(clauses, freeze):
    snapshot = freeze(clauses)
    assert snapshot.state == "ready", snapshot.error
    assert snapshot.total == clauses.usable == 60
    assert snapshot.counts == {"train": 48, "validation": 6, "test": 6}
    assert len(snapshot.sha256) == 64
    assert snapshot.stratify_by == "label"
    assert set(rows_of(snapshot)) == set(range(1, 61))
    assert queries.latest_snapshot(clauses) == snapshot


def test_edits_and_decisions_are_in_the_snapshot_and_the_dataset_keeps_the_original(actor, clauses, freeze):
    def row(number):
        return Example.objects.get(dataset=clauses, row=number)

    operations.decide_example(actor=actor, dataset=clauses, example=row(1), action="reject")
    operations.edit_example(actor=actor, dataset=clauses, example=row(62), prompt="Mended clause", answer="Payment")
    snapshot = freeze(clauses)
    rows = rows_of(snapshot)
    assert 1 not in rows
    assert json.loads(rows[62]["messages"])[0]["content"] == "Mended clause"
    assert rows[62]["label"] == "Payment"


def test_a_snapshot_does_not_change_when_the_dataset_does_and_test_rows_stay_test_rows(actor, clauses, freeze):
    first = freeze(clauses)
    before = rows_of(first)
    for number in (1, 2, 3):
        example = Example.objects.get(dataset=clauses, row=number)
        operations.decide_example(actor=actor, dataset=clauses, example=example, action="reject")
    second = freeze(clauses, seed=7)
    assert second.number == 2
    assert rows_of(first) == before
    assert first.sha256 != second.sha256
    tested = {n for n, row in before.items() if row["split"] == "test"} - {1, 2, 3}
    after = rows_of(second)
    assert all(after[n]["split"] == "test" for n in tested)


def test_the_download_is_the_snapshot_line_by_line(client_for, project, viewer, clauses, freeze):
    snapshot = freeze(clauses)
    response = client_for(viewer).get(
        f"/p/{project.slug}/data/{clauses.pk}/snapshots/{snapshot.number}/download", {"split": "test"}
    )
    lines = [json.loads(line) for line in response.getvalue().splitlines()]
    assert len(lines) == snapshot.counts["test"]
    assert all(line["split"] == "test" and line["messages"][-1]["role"] == "assistant" for line in lines)
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_the_snapshot_page_shows_counts_labels_and_the_hash(client_for, project, viewer, clauses, freeze):
    snapshot = freeze(clauses)
    page = client_for(viewer).get(f"/p/{project.slug}/data/{clauses.pk}/snapshots/1").content.decode()
    assert snapshot.sha256 in page
    assert "No row occurs in two splits" in page
    assert "Confidentiality" in page


def test_too_few_rows_end_in_a_sentence_on_the_page(client_for, project, trainer, dataset_from, freeze):
    rows = [{"text": f"Clause {i} about something {i * 7}", "label": "ab"[i % 2]} for i in range(2)]
    dataset = dataset_from("two.jsonl", rows)
    snapshot = freeze(dataset)
    assert snapshot.state == "failed"
    page = client_for(trainer).get(f"/p/{project.slug}/data/{dataset.pk}/snapshots/1").content.decode()
    assert snapshot.error["message"] in page.replace("&#x27;", "'")


@pytest.mark.parametrize(
    "split",
    [
        {"train": 0.5, "validation": 0.1, "test": 0.1},
        {"train": 0, "validation": 0.5, "test": 0.5},
        {"train": "all"},
        {"learn": 1.0},
        {"train": float("nan"), "validation": 0.1, "test": 0.1},
        {"train": True, "validation": 0, "test": 0},
        [0.8, 0.1, 0.1],
    ],
)
def test_shares_that_make_no_sense_are_refused(actor, bare_dataset, split):
    bare_dataset.accepted = 10
    bare_dataset.save()
    with pytest.raises(UserError) as caught:
        operations.create_snapshot(actor=actor, dataset=bare_dataset, split=split)
    assert caught.value.field == "split"


def test_a_dataset_without_usable_rows_cannot_be_frozen(actor, bare_dataset):
    with pytest.raises(UserError, match="no usable row"):
        operations.create_snapshot(actor=actor, dataset=bare_dataset)


def test_deleting_the_dataset_takes_the_rows_of_its_snapshots_and_keeps_their_record(actor, clauses, freeze):
    from django.core.files.storage import default_storage

    snapshot = freeze(clauses)
    stored = snapshot.storage_name
    assert default_storage.exists(stored)
    operations.delete_dataset(actor=actor, dataset=clauses)
    snapshot.refresh_from_db()
    assert snapshot.state == "deleted"
    assert snapshot.sha256
    assert not default_storage.exists(stored)
    assert not default_storage.exists(clauses.upload.storage_name)
    assert not Example.objects.exists()
    assert not queries.ready_snapshots(actor.project).exists()
    with pytest.raises(UserError, match="deleted"):
        queries.snapshot_parquet(snapshot)
