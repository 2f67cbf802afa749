"""Which models were trained on this example? The page, the part of another page, and the API."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from datasets_app import operations
from datasets_app.models import Example
from datasets_app.queries.membership import snapshots_with_row
from datasets_app.queries.rows import full_rows


@pytest.fixture
def trained_on(actor):
    """``trained_on(snapshot, name)``: a model whose training on the snapshot has succeeded (without files)."""
    from jobs_app.models import TrainedModel
    from jobs_app.operations import start_training
    from jobs_app.queries import api_name

    def make(snapshot, name):
        training = start_training(actor=actor, name=name, base_model_key="demo-base", snapshot=snapshot, spec={})
        return TrainedModel.objects.create(
            project=training.project,
            training_job=training,
            name=name,
            base_model_key="demo-base",
            api_name=api_name(training),
            storage_prefix="none",
            manifest_sha256="0" * 64,
            size_bytes=1,
        )

    return make


def row_of(dataset, number):
    return full_rows(dataset, [Example.objects.get(dataset=dataset, row=number)])[0]


def numbers_in(snapshot, split):
    import pyarrow.parquet as pq

    from datasets_app.queries import snapshot_parquet

    return [r["row"] for r in pq.read_table(snapshot_parquet(snapshot)).to_pylist() if r["split"] == split]


def page_of(client, project, dataset, number):
    return client.get(reverse("row_models", args=[project.slug, dataset.pk, number])).content.decode()


def test_a_model_learned_from_a_row_of_its_train_split(client_for, project, viewer, clauses, freeze, trained_on):
    snapshot = freeze(clauses)
    trained_on(snapshot, "Clauses one")
    page = page_of(client_for(viewer), project, clauses, numbers_in(snapshot, "train")[0])
    assert "Clauses one" in page
    assert "These models learned from it" in page


def test_a_model_did_not_learn_from_a_row_of_the_test_split(client_for, project, viewer, clauses, freeze, trained_on):
    snapshot = freeze(clauses)
    trained_on(snapshot, "Clauses one")
    page = page_of(client_for(viewer), project, clauses, numbers_in(snapshot, "test")[0])
    assert "did not learn from it" in page


def test_a_row_that_stayed_out_is_in_no_snapshot(client_for, project, viewer, clauses, freeze):
    freeze(clauses)
    assert "None: no snapshot holds this row" in page_of(client_for(viewer), project, clauses, 62)


def test_a_duplicate_that_stayed_out_is_found_as_the_row_it_repeats(client_for, project, viewer, clauses, freeze):
    freeze(clauses)
    assert "There it is row 5" in page_of(client_for(viewer), project, clauses, 61)


def test_a_row_edited_since_is_still_found_and_said_to_differ(actor, clauses, freeze):
    freeze(clauses)
    example = Example.objects.get(dataset=clauses, row=5)
    operations.edit_example(actor=actor, dataset=clauses, example=example, prompt="Clause 4: the party shall pay.")
    freeze(clauses)
    found = snapshots_with_row(clauses, row_of(clauses, 5))
    assert [(one.snapshot.number, one.is_same_text) for one in found] == [(2, True), (1, False)]


def test_a_row_whose_number_moved_is_found_by_its_text(clauses, freeze):
    freeze(clauses)
    clauses.sources.create(number=2, upload=clauses.upload, removed_at=timezone.now())
    row = row_of(clauses, 7)
    row.example.row = 40
    found = snapshots_with_row(clauses, row)
    assert [one.row for one in found] == [7]


def test_the_api_says_the_same(client, api_key, clauses, freeze, trained_on):
    snapshot = freeze(clauses)
    model = trained_on(snapshot, "Clauses one")
    number = numbers_in(snapshot, "train")[0]
    address = f"/api/v1/datasets/{clauses.pk}/examples/{number}/models"
    use = client.get(address, headers={"Authorization": f"Bearer {api_key('read')}"}).json()["data"][0]
    assert (use["snapshot"], use["split"], use["learned_from"], use["same_text"]) == (1, "train", True, True)
    assert use["models"][0]["model"] == model.api_name


def test_the_snapshot_lists_its_models(client_for, project, viewer, client, api_key, clauses, freeze, trained_on):
    trained_on(freeze(clauses), "Clauses one")
    page = client_for(viewer).get(reverse("snapshot_models", args=[project.slug, clauses.pk, 1])).content.decode()
    assert "Clauses one" in page
    answer = client.get(
        f"/api/v1/datasets/{clauses.pk}/snapshots/1/models", headers={"Authorization": f"Bearer {api_key('read')}"}
    )
    assert [model["name"] for model in answer.json()["data"]] == ["Clauses one"]


def test_people_of_another_project_learn_nothing(client_for, project, outsider, clauses):
    client = client_for(outsider)
    assert client.get(reverse("row_models", args=[project.slug, clauses.pk, 1])).status_code == 404
    assert client.get(reverse("snapshot_models", args=[project.slug, clauses.pk, 1])).status_code == 404
