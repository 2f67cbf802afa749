"""A dataset that is checked again: with one more file, one less, or other settings. Nothing that people did is lost."""

from __future__ import annotations

import json

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from datasets_app import operations, queries
from datasets_app.models import BulkAct, Dataset, Draft, Example, Finding, ReviewAct, RowLock, Source
from datasets_app.operations.housekeeping import tidy_data
from datasets_app.operations.import_results import finish_import
from finetune_engine.errors import UserError
from tests.datasets_app.conftest import clause_lines
from work_kit.models import Job
from work_kit.operations import request_stop


def rows_of(dataset: Dataset) -> list[Example]:
    dataset.refresh_from_db()
    return list(Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt).order_by("row"))


def fresh(dataset: Dataset) -> Dataset:
    return Dataset.objects.select_related("upload", "job", "project").get(pk=dataset.pk)


def more_lines(n: int, start: int = 1000) -> list[dict[str, str]]:
    return [
        {"text": f"Paragraph {i} obliges the tenant to keep room {i * 3} of the house in order.", "label": "Duties"}
        for i in range(start, start + n)
    ]


@pytest.fixture
def another(actor, upload_of):
    """``another("b.jsonl", rows)``: an upload of the project."""

    def make(name, rows):
        return operations.store_upload(actor=actor, file=upload_of(name, rows), name=name)

    return make


@pytest.fixture
def both(actor, clauses, another, quick_jobs):
    """A dataset of two files: 62 rows and 10 rows."""
    operations.append_file(actor=actor, dataset=clauses, upload=another("more.jsonl", more_lines(10)))
    quick_jobs()
    return fresh(clauses)


def test_a_new_dataset_has_its_file_as_number_one(clauses):
    source = Source.objects.get(dataset=clauses)
    assert (source.number, source.upload_id, source.first_row, source.rows) == (1, clauses.upload_id, 1, 62)
    assert source.report["format"] == "text_label"
    assert source.removed_at is None


def test_an_appended_file_adds_its_rows_after_the_others(both):
    assert both.state == "ready"
    assert both.counts["total"] == 72 == sum(n for name, n in both.counts.items() if name != "total")
    assert both.labels["Duties"] == 10
    rows = rows_of(both)
    assert [e.row for e in rows] == list(range(1, 73))
    assert rows[62].prompt_head.startswith("Paragraph 1000")
    cards = queries.source_cards(both)
    assert [(card.number, card.state, card.first_row, card.last_row) for card in cards] == [
        (1, "used", 1, 62),
        (2, "used", 63, 72),
    ]


def test_the_old_rows_are_read_while_the_check_runs(actor, clauses, another):
    operations.append_file(actor=actor, dataset=clauses, upload=another("more.jsonl", more_lines(10)))
    now = fresh(clauses)
    assert (now.state, now.total) == ("ready", 62)
    assert len(rows_of(now)) == 62
    assert queries.running_check(now) is not None
    assert [card.state for card in queries.source_cards(now)] == ["used", "adding"]


def test_decisions_edits_and_assignments_stay_with_their_rows(actor, clauses, another, quick_jobs, reviewer):
    def row(number):
        return Example.objects.get(dataset=clauses, import_attempt=clauses.visible_attempt, row=number)

    operations.decide_example(actor=actor, dataset=clauses, example=row(3), action="reject")
    operations.decide_example(actor=actor, dataset=clauses, example=row(61), action="accept")
    operations.edit_example(actor=actor, dataset=clauses, example=row(62), answer="Payment")
    Example.objects.filter(pk=row(7).pk).update(assigned_to=reviewer)
    before = fresh(clauses).counts
    decided_at = row(3).decided_at
    operations.append_file(actor=actor, dataset=clauses, upload=another("more.jsonl", more_lines(10)))
    quick_jobs()
    rows = rows_of(clauses)
    assert (rows[2].status, rows[2].decision, rows[2].checked_status) == ("rejected", "reject", "accepted")
    assert (rows[2].decided_by_id, rows[2].decided_at) == (actor.user.pk, decided_at)
    assert (rows[60].status, rows[60].decision) == ("accepted", "accept")
    assert (rows[61].status, rows[61].decision, rows[61].edited_label) == ("accepted", "edit", "Payment")
    assert rows[61].edited_messages[-1]["content"] == "Payment"
    assert (rows[6].assigned_to_id, rows[6].decision) == (reviewer.pk, "")
    after = fresh(clauses).counts
    assert after["total"] == before["total"] + 10 == sum(n for name, n in after.items() if name != "total")
    assert after["rejected"] == before["rejected"]


def test_taking_the_first_file_out_moves_the_second_up_with_its_decisions(actor, both, quick_jobs, another):
    row = Example.objects.get(dataset=both, import_attempt=both.visible_attempt, row=65)
    operations.decide_example(actor=actor, dataset=both, example=row, action="reject")
    text = row.prompt_head
    Draft.objects.create(dataset=both, row=66, user=actor.user, messages=[])
    Draft.objects.create(dataset=both, row=4, user=actor.user, messages=[])
    RowLock.objects.create(dataset=both, row=66, user=actor.user, expires_at=timezone.now())
    acts = ReviewAct.objects.filter(dataset=both, row=65).count()
    halves = [BulkAct.objects.create(dataset=both, action="accept", reached_row=reached) for reached in (40, 64)]
    operations.remove_file(actor=actor, dataset=both, source=both.sources.get(number=1))
    quick_jobs()
    rows = rows_of(both)
    assert [e.row for e in rows] == list(range(1, 11))
    assert (rows[2].prompt_head, rows[2].decision, rows[2].status) == (text, "reject", "rejected")
    assert list(Draft.objects.values_list("row", flat=True)) == [4]
    assert ReviewAct.objects.filter(dataset=both, row=3).count() == acts
    assert not RowLock.objects.exists()
    assert [BulkAct.objects.get(pk=half.pk).reached_row for half in halves] == [0, 2]
    now = fresh(both)
    assert now.upload.name == "more.jsonl"
    assert now.counts["total"] == 10
    assert [card.state for card in queries.source_cards(now)] == ["removed", "used"]


def test_a_file_that_was_taken_out_is_restored_in_its_place(actor, both, quick_jobs):
    operations.remove_file(actor=actor, dataset=both, source=both.sources.get(number=1))
    quick_jobs()
    operations.restore_file(actor=actor, dataset=fresh(both), source=both.sources.get(number=1))
    quick_jobs()
    rows = rows_of(both)
    assert len(rows) == 72
    assert rows[0].prompt_head.startswith("Clause 0")
    assert fresh(both).upload.name == "clauses.jsonl"


def test_the_only_file_cannot_be_taken_out(actor, clauses):
    with pytest.raises(UserError, match="only file"):
        operations.remove_file(actor=actor, dataset=clauses, source=clauses.sources.get())


def test_a_check_that_fails_leaves_everything_as_it_was(actor, both, another, quick_jobs):
    bad = another("colours.csv", b"colour,size\nred,1\n")
    before = [(e.row, e.prompt_head) for e in rows_of(both)]
    operations.append_file(actor=actor, dataset=both, upload=bad)
    quick_jobs()
    now = fresh(both)
    assert now.state == "ready"
    assert "colour" in queries.failed_check(now)["message"]
    assert [(e.row, e.prompt_head) for e in rows_of(both)] == before
    assert [card.name for card in queries.source_cards(now)] == ["clauses.jsonl", "more.jsonl"]
    assert bad.deleted_at is None, "the upload is kept"


def test_a_check_that_is_cancelled_leaves_everything_as_it_was(actor, both, another):
    job = operations.append_file(actor=actor, dataset=both, upload=another("third.jsonl", more_lines(5, 2000)))
    request_stop(actor=actor, job=job, action="cancel")
    now = fresh(both)
    assert (now.state, now.total, queries.running_check(now), queries.failed_check(now)) == ("ready", 72, None, None)
    assert [card.state for card in queries.source_cards(now)] == ["used", "used"]


def test_a_second_check_waits_until_the_first_has_ended(actor, clauses, another):
    operations.recheck_dataset(actor=actor, dataset=clauses)
    with pytest.raises(UserError) as caught:
        operations.append_file(actor=actor, dataset=clauses, upload=another("more.jsonl", more_lines(3)))
    assert (caught.value.code, caught.value.status) == ("being_checked", 409)
    assert Source.objects.filter(dataset=clauses).count() == 1


def test_the_same_key_begins_one_check(actor, clauses, another):
    upload = another("more.jsonl", more_lines(3))
    first = operations.append_file(actor=actor, dataset=clauses, upload=upload, idempotency_key="twice")
    assert operations.append_file(actor=actor, dataset=clauses, upload=upload, idempotency_key="twice") == first
    assert Source.objects.filter(dataset=clauses).count() == 2


def test_other_settings_change_what_is_found_and_are_kept(actor, dataset_from, quick_jobs):
    rows = [
        {
            "prompt": f"What about matter {i}? " + "And so on, please. " * (30 * (i % 2)),
            "completion": f"{i} is done, no doubt.",
        }
        for i in range(24)
    ]
    dataset = dataset_from("long.jsonl", rows)
    assert "too_long" not in dataset.codes
    settings = {"context_tokens": 60, "over_length": "drop", "base_model": "demo-base"}
    operations.recheck_dataset(actor=actor, dataset=dataset, settings=settings)
    quick_jobs()
    now = fresh(dataset)
    assert (now.job.state, now.rejected, now.codes.get("too_long")) == ("succeeded", 12, 12), now.job.failure
    assert now.options["over_length"] == "drop"
    operations.recheck_dataset(actor=actor, dataset=now, settings={"over_length": "keep", "context_tokens": None})
    quick_jobs()
    assert fresh(dataset).rejected == 0
    assert "over_length" not in fresh(dataset).options
    assert fresh(dataset).options["base_model"] == "demo-base"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"over_length": "burn"}, "over_length"),
        ({"context_tokens": 3}, "context_tokens"),
        ({"context_tokens": True}, "context_tokens"),
        ({"base_model": "no-such-model"}, "base_model"),
        ({"task_type": "poetry"}, "task_type"),
        ({"colour": "red"}, "settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(actor, clauses, settings, field):
    with pytest.raises(UserError) as caught:
        operations.recheck_dataset(actor=actor, dataset=clauses, settings=settings)
    assert caught.value.field == field


def test_what_the_project_cleans_is_applied_at_the_next_check(actor, clauses, quick_jobs):
    from datasets_app.operations.policy import set_cleaning

    rule = {"find": "notice", "replace": "warning", "is_regex": False}
    set_cleaning(actor=actor, steps=None, replacements=[rule], boilerplate=[])
    operations.recheck_dataset(actor=actor, dataset=clauses)
    quick_jobs()
    assert "of warning" in rows_of(clauses)[0].prompt_head
    assert fresh(clauses).options["replacements"] == [rule]
    assert sum(fresh(clauses).cleaning.values()) >= 60


def test_the_audit_trail_counts_the_rules_for_cleaning_and_never_holds_them(actor, clauses):
    from accounts_app.models import AuditEntry
    from datasets_app.operations.policy import set_cleaning

    rule = {"find": "Rosa Weber", "replace": "the tenant", "is_regex": False}
    set_cleaning(actor=actor, steps=None, replacements=[rule], boilerplate=["Weber and Sons *"])
    operations.recheck_dataset(actor=actor, dataset=clauses)
    operations.create_dataset(actor=actor, upload=clauses.upload)
    assert AuditEntry.objects.filter(act="dataset.recheck").get().data["replacements"] == 1
    assert not any("Weber" in json.dumps(entry.data) for entry in AuditEntry.objects.all())


def test_a_dataset_that_failed_can_be_read_in_another_way(actor, dataset_from, quick_jobs):
    rows = "".join(f"The {i}th sentence of the speech,kind {i % 2}\n" for i in range(20))
    dataset = dataset_from("odd.csv", f"Äußerung,Sorte\n{rows}".encode())
    assert dataset.state == "failed"
    mapping = {"prompt": ["Äußerung"], "completion": "Sorte", "label": "Sorte"}
    operations.recheck_dataset(actor=actor, dataset=dataset, readings={1: {"format": "auto", "mapping": mapping}})
    assert fresh(dataset).state == "processing"
    quick_jobs()
    assert fresh(dataset).state == "ready"
    assert fresh(dataset).labels == {"kind 0": 10, "kind 1": 10}
    assert dataset.sources.get().options["mapping"] == mapping


def test_an_acceptance_is_not_carried_to_a_row_that_can_no_longer_be_read(actor, clauses, quick_jobs):
    row = Example.objects.get(dataset=clauses, import_attempt=1, row=5)
    operations.decide_example(actor=actor, dataset=clauses, example=row, action="accept")
    Example.objects.filter(dataset=clauses, import_attempt=1, row=62).update(decision="accept", status="accepted")
    operations.recheck_dataset(actor=actor, dataset=clauses)
    quick_jobs()
    rows = rows_of(clauses)
    assert (rows[4].decision, rows[61].decision, rows[61].status) == ("accept", "", "rejected")


def test_a_decision_from_a_page_that_is_older_than_the_check_is_refused_rather_than_lost(actor, clauses, quick_jobs):
    old_page = fresh(clauses)
    row = Example.objects.get(dataset=clauses, import_attempt=1, row=5)
    operations.recheck_dataset(actor=actor, dataset=clauses)
    quick_jobs()
    with pytest.raises(UserError) as caught:
        operations.decide_example(actor=actor, dataset=old_page, example=row, action="reject")
    assert caught.value.status == 409
    assert rows_of(clauses)[4].decision == ""


def test_a_file_whose_bytes_were_deleted_stops_the_check_with_its_name(actor, both):
    operations.delete_upload(actor=actor, upload=both.upload)
    with pytest.raises(UserError, match=r"clauses\.jsonl was deleted"):
        operations.recheck_dataset(actor=actor, dataset=fresh(both))


def test_a_bulk_act_can_still_be_undone_after_a_check(actor, clauses, quick_jobs):
    bulk = BulkAct.objects.create(dataset=clauses, user=actor.user, action="reject")
    Example.objects.filter(dataset=clauses, row__in=[1, 2]).update(bulk_act=bulk, decision="reject", status="rejected")
    operations.recheck_dataset(actor=actor, dataset=clauses)
    quick_jobs()
    assert [e.row for e in rows_of(clauses) if e.bulk_act_id == bulk.pk] == [1, 2]


def test_the_rows_of_the_old_check_go_after_a_while_and_the_new_ones_stay(actor, clauses, quick_jobs):
    operations.recheck_dataset(actor=actor, dataset=clauses)
    quick_jobs()
    old_prefix, now = clauses.storage_prefix, fresh(clauses)
    tidy_data()
    assert Example.objects.filter(dataset=clauses, import_attempt=1).exists(), "somebody may still read them"
    Dataset.objects.filter(pk=clauses.pk).update(tidy_after=timezone.now())
    tidy_data()
    assert not Example.objects.filter(dataset=clauses, import_attempt=1).exists()
    assert not Finding.objects.filter(dataset=clauses, import_attempt=1).exists()
    assert len(rows_of(clauses)) == 62
    assert not default_storage.exists(f"{old_prefix}/report.json")
    assert default_storage.exists(f"{now.storage_prefix}/report.json")
    assert fresh(clauses).tidy_after is None


def test_nothing_is_tidied_while_a_check_runs(actor, clauses):
    operations.recheck_dataset(actor=actor, dataset=clauses)
    Example.objects.create(
        dataset=clauses, import_attempt=2, row=1, status="accepted", checked_status="accepted", chunk=0, offset=0
    )
    Dataset.objects.filter(pk=clauses.pk).update(tidy_after=timezone.now())
    tidy_data()
    assert Example.objects.filter(dataset=clauses, import_attempt=2).exists()
    assert fresh(clauses).tidy_after > timezone.now()


def test_a_large_dataset_is_deleted_at_once_for_people_and_emptied_by_the_caretaker(actor, clauses, monkeypatch):
    from datasets_app.operations import deletion

    monkeypatch.setattr(deletion, "FEW_ROWS", 10)
    operations.delete_dataset(actor=actor, dataset=clauses)
    assert not queries.datasets_of(actor.project).exists()
    assert Example.objects.filter(dataset=clauses).exists()
    tidy_data()
    assert not Example.objects.filter(dataset=clauses).exists()
    assert not default_storage.exists(clauses.upload.storage_name)
    assert Source.objects.get(dataset=clauses).upload.deleted_at is not None


def test_a_file_that_two_datasets_use_stays_until_the_last_is_deleted(actor, clauses, quick_jobs):
    twin = operations.create_dataset(actor=actor, upload=clauses.upload, name="Twin")
    quick_jobs()
    operations.delete_dataset(actor=actor, dataset=clauses)
    assert default_storage.exists(clauses.upload.storage_name)
    operations.delete_dataset(actor=actor, dataset=fresh(twin))
    assert not default_storage.exists(clauses.upload.storage_name)


def test_a_result_that_comes_for_a_deleted_dataset_is_thrown_away(actor, clauses):
    job = operations.recheck_dataset(actor=actor, dataset=clauses)
    Dataset.objects.filter(pk=clauses.pk).update(deleted_at=timezone.now())
    job.attempt = 1
    report = {"counts": {"total": 1}, "chunks": [], "task_type": "chat"}
    assert finish_import(job=job, report=report, storage_prefix="x") is None


def test_through_the_real_worker_a_crash_and_a_second_attempt_lose_nothing(actor, clauses, another, run_jobs):
    row = Example.objects.get(dataset=clauses, import_attempt=1, row=5)
    operations.decide_example(actor=actor, dataset=clauses, example=row, action="reject")
    job = operations.append_file(actor=actor, dataset=clauses, upload=another("more.jsonl", more_lines(10)))
    # What a worker leaves that died after inserting rows, before its commit:
    Job.objects.filter(pk=job.pk).update(attempt=1)
    Example.objects.create(
        dataset=clauses, import_attempt=2, row=1, status="rejected", checked_status="rejected", chunk=0, offset=0
    )
    run_jobs()
    now = fresh(clauses)
    assert (now.job.state, now.import_attempt, now.total) == ("succeeded", 3, 72), now.job.failure
    rows = rows_of(now)
    assert (len(rows), rows[4].status, rows[0].status) == (72, "rejected", "accepted")
    assert not Example.objects.filter(dataset=clauses, import_attempt=2).exists()


# --- the page and the API -----------------------------------------------------------------------------------


def url(name, project, *args):
    return reverse(f"datasets:{name}", args=[project.slug, *args])


def test_a_file_is_appended_by_the_pages(client_for, project, trainer, clauses, quick_jobs, upload_of):
    client = client_for(trainer)
    page = client.get(url("sources", project, clauses.pk)).content.decode()
    assert f"{url('upload', project)}?into={clauses.pk}" in page
    sent = client.post(f"{url('upload', project)}?into={clauses.pk}", {"file": upload_of("more.jsonl", more_lines(10))})
    looked = client.get(sent.url)
    assert "Add these rows" in looked.content.decode()
    form = looked.context["form"]
    chosen = {"prompt": form.initial["prompt"], "completion": form.initial["completion"]}
    begun = client.post(sent.url, chosen | {"idempotency_key": form.initial["idempotency_key"]})
    assert begun.url == url("sources", project, clauses.pk)
    assert "Being added" in client.get(begun.url).content.decode()
    assert "Being checked again" in client.get(url("list", project)).content.decode()
    quick_jobs()
    assert fresh(clauses).total == 72
    assert "63 to 72" in client.get(begun.url).content.decode()


def test_a_file_is_taken_out_and_restored_by_the_page(client_for, project, trainer, both, quick_jobs):
    client = client_for(trainer)
    client.post(url("source", project, both.pk, 2), {"action": "remove"})
    quick_jobs()
    page = client.get(url("sources", project, both.pk)).content.decode()
    assert "Taken out" in page
    assert "Restore" in page
    client.post(url("source", project, both.pk, 2), {"action": "restore"})
    quick_jobs()
    assert fresh(both).total == 72


def test_other_settings_are_chosen_on_the_page(client_for, project, trainer, clauses, quick_jobs):
    client = client_for(trainer)
    sent = client.post(url("check_again", project, clauses.pk), {"task_type": "completion", "over_length": "cut"})
    assert sent.status_code == 302
    quick_jobs()
    assert fresh(clauses).task_type == "completion"
    wrong = client.post(url("check_again", project, clauses.pk), {"context_tokens": "2"})
    assert wrong.status_code == 422


def test_a_file_is_read_in_another_way_by_the_page_and_by_the_api(
    client_for, project, trainer, dataset_from, quick_jobs, call
):
    lines = "".join(f"The {i}th sentence of the speech,kind {i % 2},mood {i % 3}\n" for i in range(30))
    dataset = dataset_from("odd.csv", f"Äußerung,Sorte,Laune\n{lines}".encode())
    client = client_for(trainer)
    page = client.get(url("sources", project, dataset.pk)).content.decode()
    assert "Read it differently" in page
    address = f"{url('preview', project, dataset.upload_id)}?into={dataset.pk}&number=1"
    assert "Read it this way" in client.get(address).content.decode()
    chosen = {"prompt": ["Äußerung"], "completion": "Sorte", "label": "Sorte"}
    assert client.post(address, chosen).url == url("sources", project, dataset.pk)
    quick_jobs()
    assert fresh(dataset).labels == {"kind 0": 15, "kind 1": 15}
    assert dataset.sources.count() == 1
    reading = {"number": 1, "mapping": {"prompt": ["Äußerung"], "completion": "Laune", "label": "Laune"}}
    body = json.dumps({"sources": [reading]})
    sent = call("post", f"/datasets/{dataset.pk}/recheck", data=body, content_type="application/json")
    assert sent.status_code == 202, sent.content
    quick_jobs()
    assert set(fresh(dataset).labels) == {"mood 0", "mood 1", "mood 2"}
    assert client.get(f"{address}7").status_code == 404


def test_the_page_says_why_the_last_check_failed(client_for, project, viewer, actor, both, another, quick_jobs):
    operations.append_file(actor=actor, dataset=both, upload=another("colours.csv", b"colour,size\nred,1\n"))
    quick_jobs()
    page = client_for(viewer).get(url("sources", project, both.pk)).content.decode()
    assert "everything is as it was before" in page
    assert "colour" in page


def test_the_files_page_makes_few_queries(client_for, project, owner, both, django_assert_max_num_queries):
    client = client_for(owner)
    with django_assert_max_num_queries(12):
        assert client.get(url("sources", project, both.pk)).status_code == 200


@pytest.fixture
def call(client, api_key):
    def make(method, path, scopes="read,train", **kwargs):
        headers = {"Authorization": f"Bearer {api_key(*scopes.split(','))}", **kwargs.pop("headers", {})}
        return getattr(client, method)(f"/api/v1{path}", headers=headers, **kwargs)

    return make


def test_the_api_appends_takes_out_restores_and_checks_again(call, clauses, quick_jobs):
    content = "".join(json.dumps(row) + "\n" for row in more_lines(10)).encode()
    path = f"/datasets/{clauses.pk}/sources"
    sent = call("post", path, data={"file": SimpleUploadedFile("more.jsonl", content)})
    assert sent.status_code == 202, sent.content
    assert sent.json()["status"] == "processing"
    again = call("post", path, data={"file": SimpleUploadedFile("more.jsonl", content)})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "being_checked")
    quick_jobs()
    listed = call("get", path).json()
    assert [(s["number"], s["status"], s["rows"]) for s in listed["data"]] == [(1, "used", 62), (2, "used", 10)]
    assert call("delete", f"{path}/1").status_code == 202
    quick_jobs()
    assert call("get", f"/datasets/{clauses.pk}").json()["counts"]["total"] == 10
    assert call("post", f"{path}/1/restore").status_code == 202
    quick_jobs()
    body = json.dumps({"task_type": "completion", "over_length": "cut"})
    assert (
        call("post", f"/datasets/{clauses.pk}/recheck", data=body, content_type="application/json").status_code == 202
    )
    quick_jobs()
    got = call("get", f"/datasets/{clauses.pk}").json()
    assert (got["counts"]["total"], got["task_type"]) == (72, "completion")
    assert call("delete", f"{path}/7").status_code == 404


def test_a_repeated_call_with_the_same_key_stores_one_file(call, clauses):
    content = "".join(json.dumps(row) + "\n" for row in clause_lines(3)).encode()
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        data = {"file": SimpleUploadedFile("more.jsonl", content)}
        assert call("post", f"/datasets/{clauses.pk}/sources", data=data, headers=headers).status_code == 202
    assert Source.objects.filter(dataset=clauses).count() == 2
