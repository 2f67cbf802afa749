"""The native API of training."""

from __future__ import annotations

import json

import pytest

from accounts_app.models import Project
from datasets_app.models import Dataset
from jobs_app.models import TrainedModel, TrainingJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def post(client, headers):
    def send(url: str, body: dict | None = None, **extra: str):
        return client.post(url, json.dumps(body or {}), content_type="application/json", headers=headers | extra)

    return send


def test_a_job_is_created_with_flat_settings_and_answers_201(post, snapshot):
    answer = post("/api/v1/jobs", {"base_model": "demo-base", "snapshot": snapshot.pk, "num_train_epochs": 2, "r": 8})
    job = answer.json()
    assert (answer.status_code, job["status"]) == (201, "queued")
    assert job["settings"] == {"num_train_epochs": 2.0, "r": 8}
    assert job["spec"]["lora_alpha"] == 32


def test_a_dataset_may_stand_for_its_snapshot(post, dataset, snapshot):
    job = post("/api/v1/jobs", {"base_model": "demo-base", "dataset": dataset.pk}).json()
    assert job["snapshot"] == snapshot.pk


def test_an_idempotency_key_makes_one_job(post, snapshot):
    body = {"base_model": "demo-base", "snapshot": snapshot.pk}
    ids = {post("/api/v1/jobs", body, **{"Idempotency-Key": "same"}).json()["id"] for _ in range(3)}
    assert len(ids) == TrainingJob.objects.count() == 1


def test_an_unknown_setting_is_422_and_named(post, snapshot):
    answer = post("/api/v1/jobs", {"base_model": "demo-base", "snapshot": snapshot.pk, "learning_rat": 1})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, "learning_rat")
    assert "learning_rate" in error["message"]


def test_a_snapshot_of_another_project_is_404(post, snapshot, outsider):
    snapshot.project = Project.objects.exclude(pk=snapshot.project_id).get()
    snapshot.save()
    assert post("/api/v1/jobs", {"base_model": "demo-base", "snapshot": snapshot.pk}).status_code == 404


def test_an_earlier_model_and_rows_to_check_with_can_be_named(post, snapshot, trained, upload):
    rows = Dataset.objects.create(
        project=trained.project, upload=upload, name="Rows", state="ready", task_type="classification", accepted=9,
        total=9, import_attempt=1,
    )  # fmt: skip
    more = {"parent_model": trained.pk, "validation_dataset": rows.pk}
    job = post("/api/v1/jobs", {"base_model": "demo-base", "snapshot": snapshot.pk} | more).json()
    assert {name: job[name] for name in more} == more


@pytest.mark.parametrize("field", ["parent_model", "validation_dataset"])
def test_what_another_project_has_is_404_and_named(post, snapshot, trained, dataset, outsider, field):
    theirs = Project.objects.get(memberships__user=outsider)
    TrainedModel.objects.update(project=theirs)
    other = Dataset.objects.create(project=theirs, upload=dataset.upload, name="Rows", state="ready")
    values = {"parent_model": trained.pk, "validation_dataset": other.pk}
    answer = post("/api/v1/jobs", {"base_model": "demo-base", "snapshot": snapshot.pk, field: values[field]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, field)


def test_pause_resume_and_cancel(post, start):
    url = f"/api/v1/jobs/{start().pk}"
    assert post(f"{url}/pause").json()["status"] == "paused"
    assert post(f"{url}/resume").json()["status"] == "queued"
    assert post(f"{url}/cancel").json()["status"] == "cancelled"
    assert post(f"{url}/resume").status_code == 409


def test_events_as_json_are_oldest_first_after_a_cursor(client, headers, start):
    url = f"/api/v1/jobs/{start().pk}/events"
    asked = headers | {"Accept": "application/json"}
    events = client.get(url, headers=asked).json()["data"]
    assert [event["kind"] for event in events] == ["state", "warn"]
    assert client.get(url, {"after": events[0]["id"]}, headers=asked).json()["data"] == events[1:]


def test_events_are_a_stream_by_default(client, headers, start):
    answer = client.get(f"/api/v1/jobs/{start().pk}/events", headers=headers)
    assert answer["Content-Type"].startswith("text/event-stream")
    answer.close()


def test_base_models_say_what_can_be_used_and_hide_paths(client, headers):
    models = {row["key"]: row for row in client.get("/api/v1/base-models", headers=headers).json()["data"]}
    assert models["demo-base"]["is_available"] is True
    assert models["demo-base"]["availability"] == "On this machine"
    assert models["gpt-4"]["is_available"] is False
    assert "path" not in models["demo-base"]


def test_trained_models_are_listed_and_one_has_its_run_record(client, headers, trained):
    assert client.get("/api/v1/models", headers=headers).json()["data"][0]["api_name"] == trained.api_name
    assert client.get(f"/api/v1/models/{trained.pk}", headers=headers).json()["run"] == trained.run


def test_jobs_of_another_project_are_404(client, api_key, outsider, start):
    from accounts_app.models import Project

    key = {"Authorization": f"Bearer {api_key('admin', of=Project.objects.order_by('-id').first())}"}
    assert client.get(f"/api/v1/jobs/{start().pk}", headers=key).status_code == 404
    assert client.get("/api/v1/jobs", headers=key).json()["data"] == []
