"""Frozen snapshots: people's decisions in, a hashed file out, and the test rows stay test rows."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from django.urls import reverse
from django.utils import timezone

from datasets_app import operations, queries
from datasets_app.models import Dataset, Example
from finetune_engine.errors import UserError
from work_kit.models import Job


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


# --- the form, its preview and personal data ------------------------------------------------------------------


def at(name, project, dataset, *more):
    return reverse(f"datasets:{name}", args=[project.slug, dataset.pk, *more])


def test_the_form_shows_the_counts_before_anything_is_frozen(client_for, project, trainer, clauses):
    client = client_for(trainer)
    looked = client.post(
        at("freeze", project, clauses), {"train": 50, "validation": 25, "test": 25, "seed": 1, "look": "1"}
    )
    assert [part.count for part in looked.context["preview"].parts] == [30, 15, 15]
    assert not clauses.snapshots.exists()


def test_shares_that_do_not_add_up_are_refused_beside_their_field(client_for, project, trainer, clauses):
    sent = client_for(trainer).post(
        at("freeze", project, clauses), {"train": 50, "validation": 10, "test": 10, "seed": 1}
    )
    assert sent.status_code == 422
    assert "add up to 70" in sent.content.decode()


def test_a_look_at_wrong_shares_shows_what_is_wrong_and_no_counts(client_for, project, trainer, clauses):
    sent = client_for(trainer).post(
        at("freeze", project, clauses), {"train": 50, "validation": 10, "test": 10, "seed": 1, "look": "1"}
    )
    preview = sent.content.decode().partition('id="preview"')[2]
    assert sent.status_code == 422
    assert "add up to 70" in preview
    assert '<td class="num">' not in preview


def test_a_double_click_freezes_once(client_for, project, trainer, clauses):
    client = client_for(trainer)
    key = client.get(at("freeze", project, clauses)).context["form"].initial["idempotency_key"]
    form = {"train": 80, "validation": 10, "test": 10, "seed": 1, "stratify_by": "none", "idempotency_key": key}
    first = client.post(at("freeze", project, clauses), form)
    assert client.post(at("freeze", project, clauses), form).url == first.url
    snapshot = clauses.snapshots.get()
    assert (snapshot.stratify_by, snapshot.created_by) == ("", trainer)


def test_test_rows_of_an_earlier_snapshot_are_announced(client_for, project, trainer, clauses, freeze):
    freeze(clauses)
    page = client_for(trainer).get(at("freeze", project, clauses)).content.decode()
    assert "The 6 test rows of snapshot 1 stay test rows" in page


def test_a_split_that_came_with_the_file_is_announced_instead_of_counted(client_for, project, trainer, dataset_from):
    rows = [
        {"text": f"Clause {i} of deed {i * 7}", "label": "AB"[i % 2], "split": "test" if i % 5 == 0 else "train"}
        for i in range(30)
    ]
    dataset = dataset_from("split.jsonl", rows)
    page = client_for(trainer).get(at("freeze", project, dataset)).content.decode()
    assert "Your file divides the rows itself" in page


def test_columns_of_the_file_are_offered_to_keep_rows_together(client_for, project, trainer, dataset_from):
    rows = [{"text": f"Clause {i} of deed {i * 7}", "label": "AB"[i % 2], "contract": f"C{i // 5}"} for i in range(30)]
    dataset = dataset_from("contracts.jsonl", rows)
    form = client_for(trainer).get(at("freeze", project, dataset)).context["form"]
    assert [value for value, _words in form.fields["group_by"].choices] == ["", "contract"]


def test_a_column_that_does_not_exist_keeps_nothing_together_and_is_refused(actor, clauses):
    with pytest.raises(UserError, match="no column 'author'") as caught:
        operations.create_snapshot(actor=actor, dataset=clauses, group_by="author")
    assert caught.value.field == "group_by"


def test_near_duplicates_is_a_group_that_every_dataset_has(clauses, freeze):
    assert freeze(clauses, group_by="near_duplicates").state == "ready"


@pytest.mark.parametrize("pii", [{"soul": "mask"}, {"email": "burn"}, ["email"], "mask"])
def test_decisions_on_personal_data_that_make_no_sense_are_refused(actor, clauses, pii):
    with pytest.raises(UserError) as caught:
        operations.create_snapshot(actor=actor, dataset=clauses, pii=pii)
    assert caught.value.field == "pii"


@pytest.fixture
def letters(dataset_from):
    """Thirty rows, three of them with an e-mail address."""
    rows = [
        {
            "text": f"Letter {i} about matter {i * 7}" + (f", write to person{i}@example.org" if i % 10 == 0 else ""),
            "label": "AB"[i % 2],
        }
        for i in range(30)
    ]
    return dataset_from("letters.jsonl", rows)


def test_a_snapshot_masks_by_the_projects_decisions_and_says_how_many_rows(letters, freeze):
    snapshot = freeze(letters)
    texts = " ".join(row["messages"] for row in rows_of(snapshot).values())
    assert "[EMAIL_1]" in texts
    assert "@example.org" not in texts
    assert snapshot.pii["email"] == "mask"
    assert snapshot.personal["masked"] == {"email": 3}


def test_the_requests_own_decision_wins_over_the_projects(letters, freeze):
    snapshot = freeze(letters, pii={"email": "keep"})
    assert "person10@example.org" in " ".join(row["messages"] for row in rows_of(snapshot).values())
    assert (snapshot.pii["email"], snapshot.pii["phone"]) == ("keep", "mask")


def test_rows_with_rejected_personal_data_stay_out(letters, freeze):
    snapshot = freeze(letters, pii={"email": "reject"})
    assert snapshot.total == 27
    assert snapshot.personal["rejected"] == {"email": 3}


def test_the_api_takes_decisions_and_answers_what_was_done(client, api_key, letters, quick_jobs):
    headers = {"Authorization": f"Bearer {api_key('read', 'train')}"}
    address = f"/api/v1/datasets/{letters.pk}/snapshots"
    begun = client.post(address, {"pii": {"email": "reject"}}, content_type="application/json", headers=headers)
    assert begun.status_code == 202
    quick_jobs()
    done = client.get(f"{address}/1", headers=headers).json()
    assert done["pii"]["email"] == "reject"
    assert done["personal"]["rejected"] == {"email": 3}
    wrong = client.post(address, {"pii": {"email": "burn"}}, content_type="application/json", headers=headers)
    assert wrong.status_code == 422
    assert wrong.json()["error"]["param"] == "pii"


def test_the_page_says_what_was_masked_and_whether_the_test_is_honest(client_for, project, viewer, letters, freeze):
    freeze(letters)
    page = client_for(viewer).get(at("snapshot", project, letters, 1)).content.decode()
    assert "3 rows: replaced by a placeholder" in page
    assert "No rows outside train have the same input as a row in train." in page


def test_the_list_shows_each_snapshot_and_leads_to_what_changed(client_for, project, viewer, clauses, freeze):
    freeze(clauses)
    freeze(clauses)
    page = client_for(viewer).get(at("snapshots", project, clauses)).content.decode()
    assert at("snapshot", project, clauses, 2) in page
    assert at("snapshot_diff", project, clauses, 2) in page
    assert at("snapshot_diff", project, clauses, 1) not in page, "there is nothing before the first"


def test_the_api_lists_snapshots_in_pages(client, api_key, clauses, freeze):
    freeze(clauses)
    freeze(clauses)
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    address = f"/api/v1/datasets/{clauses.pk}/snapshots"
    first = client.get(address, {"limit": 1}, headers=headers).json()
    rest = client.get(address, {"limit": 1, "cursor": first["next_cursor"]}, headers=headers).json()
    assert [first["data"][0]["number"], rest["data"][0]["number"]] == [2, 1]


@pytest.mark.parametrize("name", ["snapshots", "snapshot", "freeze", "snapshot_diff"])
def test_no_page_makes_more_than_a_dozen_queries(
    client_for, project, owner, clauses, freeze, django_assert_max_num_queries, name
):
    freeze(clauses)
    freeze(clauses)
    number = [2] if name in {"snapshot", "snapshot_diff"} else []
    client = client_for(owner)
    with django_assert_max_num_queries(12):
        assert client.get(at(name, project, clauses, *number)).status_code == 200


# --- is the newest snapshot still what a freeze would give? ---------------------------------------------------


def current(snapshot):
    dataset = Dataset.objects.select_related("job", "project").get(pk=snapshot.dataset_id)
    return queries.is_current(snapshot, dataset)


def test_a_snapshot_is_current_while_nothing_happens(clauses, freeze):
    assert current(freeze(clauses))


def test_a_decision_makes_a_snapshot_old(actor, clauses, freeze):
    snapshot = freeze(clauses)
    example = Example.objects.get(dataset=clauses, row=1)
    operations.decide_example(actor=actor, dataset=clauses, example=example, action="reject")
    assert not current(snapshot)


def test_another_check_of_the_files_makes_a_snapshot_old(clauses, freeze):
    snapshot = freeze(clauses)
    Job.objects.filter(pk=clauses.job_id).update(finished_at=timezone.now())
    assert not current(snapshot)


def test_another_decision_on_personal_data_makes_a_snapshot_old(actor, clauses, freeze):
    from datasets_app.operations.policy import set_pii_decisions

    snapshot = freeze(clauses)
    set_pii_decisions(actor=actor, decisions={"email": "keep"})
    assert not current(snapshot)
