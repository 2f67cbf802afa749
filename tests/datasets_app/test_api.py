"""``/api/v1/datasets``: the JSON twin of the pages."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from datasets_app.models import Dataset, Upload


@pytest.fixture
def call(client, api_key):
    """``call("get", "/datasets", scopes="read")`` with a key of the project."""

    def make(method, path, scopes="read,train", key=None, **kwargs):
        headers = {"Authorization": f"Bearer {key or api_key(*scopes.split(','))}", **kwargs.pop("headers", {})}
        return getattr(client, method)(f"/api/v1{path}", headers=headers, **kwargs)

    return make


def jsonl(n=20):
    rows = [{"text": f"Clause {i} about the thing {i * 3}", "label": "ab"[i % 2]} for i in range(n)]
    return SimpleUploadedFile("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def test_an_upload_answers_202_at_once_and_becomes_ready(call, quick_jobs):
    sent = call("post", "/datasets", data={"file": jsonl(), "name": "By API"})
    assert sent.status_code == 202, sent.content
    assert sent.json()["status"] == "processing"
    quick_jobs()
    got = call("get", f"/datasets/{sent.json()['id']}").json()
    assert (got["status"], got["name"], got["format"]) == ("ready", "By API", "text_label")
    assert got["counts"].pop("total") == 20 == sum(got["counts"].values())
    assert got["error"] is None


def test_the_same_idempotency_key_stores_one_file(call):
    headers = {"Idempotency-Key": "once"}
    first = call("post", "/datasets", data={"file": jsonl()}, headers=headers).json()
    second = call("post", "/datasets", data={"file": jsonl()}, headers=headers).json()
    assert first["id"] == second["id"]
    assert (Dataset.objects.count(), Upload.objects.count()) == (1, 1)


def test_a_failed_dataset_says_where_and_what(call, quick_jobs):
    file = SimpleUploadedFile("columns.csv", b"colour,size\nred,1\n")
    made = call("post", "/datasets", data={"file": file}).json()
    quick_jobs()
    got = call("get", f"/datasets/{made['id']}").json()
    assert got["status"] == "failed"
    assert got["error"]["code"] == "wrong_columns"
    assert "colour" in got["error"]["found"]
    refused = call("get", f"/datasets/{made['id']}/examples")
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "dataset_not_ready"


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        ({}, 422, "file"),
        ({"file": lambda: SimpleUploadedFile("e.csv", b"")}, 422, "file"),
        ({"file": jsonl, "format": "yaml"}, 422, "format"),
        ({"file": jsonl, "task_type": "poetry"}, 422, "task_type"),
        ({"file": jsonl, "mapping": "{not json"}, 422, "mapping"),
        ({"file": jsonl, "mapping": '["a"]'}, 422, "mapping"),
    ],
)
def test_a_bad_call_names_the_parameter(call, data, status, param):
    sent = call("post", "/datasets", data={k: v() if callable(v) else v for k, v in data.items()})
    assert sent.status_code == status, sent.content
    assert sent.json()["error"]["param"] == param
    assert len(sent.json()["error"]["message"]) > 10
    assert not Dataset.objects.exists()


def test_a_file_above_the_limit_is_413(call, settings):
    settings.MAX_UPLOAD_BYTES = 100
    assert call("post", "/datasets", data={"file": jsonl()}).status_code == 413


def test_rows_come_page_by_page_with_their_findings(call, clauses):
    seen, cursor = [], ""
    while cursor is not None:
        page = call("get", f"/datasets/{clauses.pk}/examples", data={"limit": 25, "cursor": cursor}).json()
        seen += page["data"]
        cursor = page["next_cursor"]
    assert [row["row"] for row in seen] == list(range(1, 63))
    assert seen[0]["messages"][-1] == {"role": "assistant", "content": "Termination"}
    assert seen[0]["label"] == "Termination"
    assert seen[60]["findings"][0]["code"] == "duplicate_exact"
    assert seen[60]["findings"][0]["related_row"] == 5
    only = call("get", f"/datasets/{clauses.pk}/examples", data={"status": "rejected", "code": "empty_answer"}).json()
    assert [row["row"] for row in only["data"]] == [62]


@pytest.mark.parametrize("query", ["status=good", "split=dev", "cursor=abc", "cursor=²", "limit=0", "limit=many"])
def test_a_bad_filter_is_refused(call, bare_dataset, query):
    assert call("get", f"/datasets/{bare_dataset.pk}/examples?{query}").status_code == 422


def test_a_row_is_edited_accepted_and_undone(call, clauses):
    def change(**body):
        path = f"/datasets/{clauses.pk}/examples/62"
        return call("patch", path, data=json.dumps(body), content_type="application/json")

    assert change(action="accept").status_code == 422
    edited = change(action="edit", label="Payment").json()
    assert (edited["status"], edited["decision"], edited["label"]) == ("accepted", "edit", "Payment")
    assert edited["original"].startswith('{"text": "A clause that nobody')
    assert call("get", f"/datasets/{clauses.pk}").json()["counts"]["rejected"] == 1
    assert change(action="undo").json()["status"] == "rejected"
    assert change(action="burn").status_code == 422
    assert change(action="edit").status_code == 422
    assert change(action="edit", messages=[{"role": "user", "content": "x"}]).status_code == 422


def test_rejected_rows_come_as_csv_that_no_spreadsheet_takes_for_formulas(call, dataset_from):
    rows = [{"text": f"Clause {i} about the thing {i * 3}", "label": "ab"[i % 2]} for i in range(10)]
    evil = '=HYPERLINK("http://evil","x")'
    dataset = dataset_from("evil.jsonl", [*rows, {"text": evil, "label": ""}, {"text": "  @SUM(A1)", "label": ""}])
    response = call("get", f"/datasets/{dataset.pk}/rejected.csv")
    assert response["Content-Disposition"].startswith("attachment")
    table = list(csv.DictReader(io.StringIO(response.getvalue().decode("utf-8-sig"))))
    assert [row["row"] for row in table] == ["11", "12"]
    assert not any(cell.lstrip()[:1] in "=+-@" for row in table for cell in row.values() if cell.strip())
    assert "no answer" in table[0]["reasons"].lower() or "empty" in table[0]["reasons"].lower()


def test_a_snapshot_is_frozen_read_and_downloaded(call, clauses, quick_jobs):
    body = {"split": {"train": 0.6, "validation": 0.2, "test": 0.2}, "seed": 3}
    path = f"/datasets/{clauses.pk}/snapshots"
    sent = call("post", path, data=json.dumps(body), content_type="application/json")
    assert sent.status_code == 202, sent.content
    quick_jobs()
    got = call("get", f"{path}/1").json()
    assert (got["status"], got["counts"]) == ("ready", {"train": 36, "validation": 12, "test": 12})
    assert got["leakage"]["exact_across_splits"] == 0
    assert [s["number"] for s in call("get", path).json()["data"]] == [1]
    lines = call("get", f"{path}/1/download").getvalue().splitlines()
    assert len(lines) == 60
    parquet = call("get", f"{path}/1/download?format=parquet").getvalue()
    assert parquet[:4] == parquet[-4:] == b"PAR1"
    assert call("get", f"{path}/1/download?format=exe").status_code == 422
    assert call("get", f"{path}/9").status_code == 404
    assert call("post", path, data='{"split": {"train": 2}}', content_type="application/json").status_code == 422
    empty = call("post", path, data="", content_type="application/json")
    assert empty.status_code == 202, "all settings have defaults"


def test_deleting_needs_an_admin_key_and_takes_everything(call, clauses):
    assert call("delete", f"/datasets/{clauses.pk}").status_code == 403
    assert call("delete", f"/datasets/{clauses.pk}", scopes="admin").status_code == 204
    assert call("get", f"/datasets/{clauses.pk}").status_code == 404
    assert call("get", "/datasets").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("get", "/examples"),
        ("get", "/examples/1"),
        ("patch", "/examples/1"),
        ("post", "/findings/pii"),
        ("get", "/rejected.csv"),
        ("post", "/snapshots"),
        ("get", "/snapshots"),
        ("get", "/snapshots/1"),
        ("get", "/snapshots/1/download"),
        ("delete", ""),
    ],
)
def test_another_projects_dataset_looks_exactly_like_a_missing_one(call, bare_dataset, outsider, api_key, method, path):
    from accounts_app.models import Project

    theirs = api_key("admin", of=Project.objects.exclude(pk=bare_dataset.project_id).get())
    body = {"action": "reject"} if method in {"patch", "post"} and "snapshots" not in path else {}
    extra = {"data": json.dumps(body), "content_type": "application/json"} if method in {"patch", "post"} else {}
    foreign = call(method, f"/datasets/{bare_dataset.pk}{path}", key=theirs, **extra)
    missing = call(method, f"/datasets/{'0' * 26}{path}", key=theirs, **extra)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content


def test_a_read_key_reads_and_does_not_write(call, bare_dataset):
    assert call("get", "/datasets", scopes="read").status_code == 200
    assert call("post", "/datasets", scopes="read", data={"file": jsonl()}).status_code == 403
    assert call("get", "/datasets", key="tsk_nonsense").status_code == 401


def test_an_option_that_a_snapshot_does_not_know_is_refused_by_name(call, clauses):
    refused = call("post", f"/datasets/{clauses.pk}/snapshots", data={"masks": "all"}, content_type="application/json")
    assert refused.status_code == 422
    assert "masks" in refused.json()["error"]["message"]
