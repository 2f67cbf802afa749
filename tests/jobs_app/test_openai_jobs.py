"""``/v1/fine_tuning/jobs``, through the official SDK where it matters and by hand where the SDK would hide it."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from jobs_app.models import Checkpoint, TrainingJob
from work_kit.models import Job, JobEvent

pytestmark = pytest.mark.django_db
URL = "/v1/fine_tuning/jobs"


@pytest.fixture
def create(client, headers, dataset, snapshot):
    """``create(**body)``: the answer to a POST for the dataset's file."""

    def post(extra: dict[str, str] | None = None, **body):
        values = {"model": "demo-base", "training_file": f"file-{dataset.upload_id}"} | body
        return client.post(URL, json.dumps(values), content_type="application/json", headers=headers | (extra or {}))

    return post


def test_a_created_job_is_what_the_sdk_expects_with_its_numbers_resolved(create):
    from openai.types.fine_tuning import FineTuningJob

    answer = create(
        suffix="clauses",
        seed=7,
        metadata={"team": "legal"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 6}}},
    )
    assert answer.status_code == 200
    job = FineTuningJob.model_validate(answer.json(), strict=True)
    assert job.id.startswith("ftjob-")
    assert (job.status, job.seed, job.metadata, job.fine_tuned_model) == ("queued", 7, {"team": "legal"}, None)
    assert job.hyperparameters.model_dump() == {"n_epochs": 2, "batch_size": 6, "learning_rate_multiplier": 1.0}
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert (job.result_files, job.error, job.trained_tokens) == ([], None, None)


def test_openai_numbers_become_training_settings(create):
    create(hyperparameters={"n_epochs": 2, "batch_size": 6, "learning_rate_multiplier": 0.5}, training={"r": 4})
    from jobs_app.queries import automatic_learning_rate

    spec = TrainingJob.objects.get().spec
    assert spec["num_train_epochs"] == 2
    assert spec["per_device_train_batch_size"] * spec["gradient_accumulation_steps"] == 6
    assert spec["learning_rate"] == pytest.approx(automatic_learning_rate("demo-base") * 0.5)
    assert spec["r"] == 4


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"colour": "red"}, "colour"),
        ({"validation_file": "file-x"}, "validation_file"),
        ({"validation_file": ""}, "validation_file"),
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.type"),
        ({"method": {"type": "supervised", "supervised": {"beta": 1}}}, "method.supervised.beta"),
        ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"beta": 1}}}},
            "method.supervised.hyperparameters.beta",
        ),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}}, "method.dpo.hyperparameters.beta"),
        ({"method": {"type": "dpo"}, "training": {"method": "kto"}}, "training.method"),
        (
            {
                "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2}}},
                "hyperparameters": {"n_epochs": 1},
            },
            "hyperparameters",
        ),
        ({"model": "ft:demo-base:other:x:1"}, "model"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"temperature": 1}}, "hyperparameters.temperature"),
        ({"hyperparameters": {"learning_rate_multiplier": -1}}, "hyperparameters.learning_rate_multiplier"),
        ({"training": {"r": 0}}, "training.r"),
        ({"training": {"colour": "red"}}, "training.colour"),
        ({"model": "gpt-9"}, "model"),
        ({"model": "gpt-4o-mini"}, "model"),
        ({"training_file": "file-nothing"}, "training_file"),
        ({"training_file": None}, "training_file"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"suffix": "a:b"}, "suffix"),
        ({"seed": "one"}, "seed"),
        ({"cost_approved": "yes"}, "cost_approved"),
        ({"metadata": {"k": 1}}, "metadata"),
    ],
)
def test_what_cannot_be_done_is_400_and_named(create, body, param):
    answer = create(**body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert error["message"]
    assert not TrainingJob.objects.exists()


@pytest.fixture
def pairs(project, owner):
    """A checked dataset of preference pairs (without its rows), frozen."""
    from datasets_app.models import Dataset, Snapshot, Upload

    upload = Upload.objects.create(
        project=project, name="pairs.jsonl", size=10, sha256="3" * 64, storage_name="uploads/pairs", created_by=owner
    )
    dataset = Dataset.objects.create(
        project=project, upload=upload, name="Pairs", state="ready", task_type="preference", total=9, accepted=9
    )
    Snapshot.objects.create(
        project=project, dataset=dataset, number=1, state="ready", task_type="preference", counts={"train": 9}
    )
    return dataset


def test_preferences_are_learnt_with_beta_and_told_in_openais_words(create, pairs):
    from openai.types.fine_tuning import FineTuningJob

    numbers = {"n_epochs": 2, "beta": 0.2, "learning_rate_multiplier": "auto", "batch_size": "auto"}
    answer = create(
        training_file=f"file-{pairs.upload_id}", method={"type": "dpo", "dpo": {"hyperparameters": numbers}}
    )
    job = FineTuningJob.model_validate(answer.json(), strict=True)
    assert (job.method.type, job.method.supervised) == ("dpo", None)
    assert (job.method.dpo.hyperparameters.beta, job.method.dpo.hyperparameters.n_epochs) == (0.2, 2)
    spec = TrainingJob.objects.get().spec
    assert (spec["method"], spec["beta"]) == ("dpo", 0.2)


def test_pairs_are_not_learnt_as_if_they_were_examples(create, pairs):
    error = create(training_file=f"file-{pairs.upload_id}").json()["error"]
    assert (error["code"], error["param"]) == ("preference_data", "method")


def test_a_method_without_a_word_at_openai_is_told_as_none(create, pairs):
    answer = create(training_file=f"file-{pairs.upload_id}", training={"method": "kto"})
    assert answer.json()["method"] is None


def test_with_a_validation_file_all_of_the_training_file_is_learnt(create, actor, clauses_upload, dataset, snapshot):
    from datasets_app.operations import create_dataset

    checked = create_dataset(actor=actor, upload=clauses_upload(8, "check.jsonl"), name="Check")
    answer = create(validation_file=f"file-{checked.upload_id}").json()
    assert (answer["validation_file"], answer["status"]) == (f"file-{checked.upload_id}", "validating_files")
    training = TrainingJob.objects.get()
    assert training.validation_dataset == checked
    assert training.snapshot != snapshot
    assert training.snapshot.split == {"train": 1.0, "validation": 0.0, "test": 0.0}


def test_a_file_cannot_check_itself(create, dataset):
    error = create(validation_file=f"file-{dataset.upload_id}").json()["error"]
    assert (error["code"], error["param"]) == ("validation_is_training", "validation_file")


def test_a_trained_model_is_gone_on_from(create, trained):
    answer = create(model=trained.api_name, suffix="again").json()
    assert answer["model"] == trained.api_name
    training = TrainingJob.objects.get(pk=answer["id"].removeprefix("ftjob-"))
    assert (training.parent_model, training.base_model_key) == (trained, "demo-base")


def test_a_checkpoint_is_gone_on_from_only_as_a_model(create, trained):
    Checkpoint.objects.create(
        training_job=trained.training_job, attempt=1, step=4, is_committed=True, storage_prefix="x"
    )
    error = create(model=f"{trained.api_name}:ckpt-step-4").json()["error"]
    assert (error["code"], error["param"]) == ("model_is_checkpoint", "model")


def test_the_numbers_of_a_job_at_a_provider_are_those_that_it_was_told(create, client, headers):
    job_id = create().json()["id"]
    TrainingJob.objects.update(remote={"hyperparameters": {"n_epochs": 3}})
    told = client.get(f"{URL}/{job_id}", headers=headers).json()["hyperparameters"]
    assert told == {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}


def test_every_field_of_a_job_is_one_that_the_package_knows(create):
    from openai.types.fine_tuning import FineTuningJob

    assert set(create().json()) == {*FineTuningJob.model_fields, "user_provided_suffix"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/fine_tuning/checkpoints/ft:demo-base:p::1:ckpt-step-1/permissions"),
        ("POST", "/v1/fine_tuning/alpha/graders/run"),
        ("POST", "/v1/fine_tuning/alpha/graders/validate"),
    ],
)
def test_what_is_not_offered_says_so(client, headers, method, path):
    answer = client.generic(method, path, b"{}", content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_offered")


def test_a_file_of_another_project_looks_missing(create, outsider, upload):
    from accounts_app.models import Project

    upload.project = Project.objects.exclude(pk=upload.project_id).get()
    upload.save()
    assert create().json()["error"]["param"] == "training_file"


def test_a_repeated_post_returns_the_first_job_and_a_second_one_does_not(create):
    first = create().json()["id"]
    assert create({"x-stainless-retry-count": "1"}).json()["id"] == first
    assert create().json()["id"] != first
    assert TrainingJob.objects.count() == 2


def test_a_repeat_with_another_body_is_a_job_of_its_own(create):
    first = create(seed=1).json()["id"]
    assert create({"x-stainless-retry-count": "1"}, seed=2).json()["id"] != first


def test_an_idempotency_key_returns_the_first_job(create):
    assert create({"Idempotency-Key": "a"}).json()["id"] == create({"Idempotency-Key": "a"}).json()["id"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("queued", "queued"),
        ("preparing", "validating_files"),
        ("running", "running"),
        ("saving", "running"),
        ("stopping", "running"),
        ("paused", "paused"),
        ("succeeded", "succeeded"),
        ("cancelled", "cancelled"),
    ],
)
def test_each_state_has_openais_word(create, client, headers, state, status):
    job_id = create().json()["id"]
    Job.objects.filter(pk=job_id.removeprefix("ftjob-")).update(state=state)
    assert client.get(f"{URL}/{job_id}", headers=headers).json()["status"] == status


def test_a_job_whose_file_is_still_checked_validates_files(create, dataset, snapshot):
    snapshot.delete()
    dataset.state = "processing"
    dataset.save()
    assert create().json()["status"] == "validating_files"


def test_a_failed_job_says_why_in_code_message_and_param(create, client, headers):
    job_id = create().json()["id"]
    Job.objects.filter(pk=job_id.removeprefix("ftjob-")).update(
        state="failed", failure_reason="bad_data", failure={"code": "empty_file", "message": "The file has 0 bytes."}
    )
    error = client.get(f"{URL}/{job_id}", headers=headers).json()["error"]
    assert error == {"code": "empty_file", "message": "The file has 0 bytes.", "param": "training_file"}


def test_a_finished_job_names_its_model_tokens_and_result_file(trained, client, headers):
    trained.results_upload_id = "r" * 26
    trained.save()
    job = client.get(f"{URL}/{trained.training_job.openai_id}", headers=headers).json()
    assert job["fine_tuned_model"] == trained.api_name
    assert (job["trained_tokens"], job["result_files"]) == (900, [f"file-{'r' * 26}"])


def test_lists_are_newest_first_with_after_limit_and_metadata(create, client, headers):
    ids = [create(metadata={"n": str(n)}).json()["id"] for n in range(3)]
    first = client.get(URL, {"limit": 2}, headers=headers).json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    rest = client.get(URL, {"after": ids[1]}, headers=headers).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    found = client.get(URL, {"metadata[n]": "1"}, headers=headers).json()
    assert [job["id"] for job in found["data"]] == [ids[1]]


def test_cancel_is_obeyed_at_once_while_waiting_and_twice_is_no_mistake(create, client, headers):
    job_id = create().json()["id"]
    for _ in range(2):
        answer = client.post(f"{URL}/{job_id}/cancel", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_cancelling_what_has_succeeded_is_400_so_that_the_sdk_does_not_repeat_it(trained, client, headers):
    answer = client.post(f"{URL}/{trained.training_job.openai_id}/cancel", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "job_has_ended")


def test_pause_and_resume_go_back_to_the_queue(create, client, headers):
    job_id = create().json()["id"]
    assert client.post(f"{URL}/{job_id}/pause", headers=headers).json()["status"] == "paused"
    assert client.post(f"{URL}/{job_id}/resume", headers=headers).json()["status"] == "queued"


def test_events_are_newest_first_in_pages_and_begin_with_the_row_counts(create, client, headers):
    from openai.types.fine_tuning import FineTuningJobEvent

    job_id = create().json()["id"]
    job = Job.objects.get(pk=job_id.removeprefix("ftjob-"))
    for step in range(1, 4):
        JobEvent.objects.create(
            job=job, attempt=1, kind="metric", at=timezone.now(), data={"step": step, "train_loss": 1.0 / step}
        )
    page = client.get(f"{URL}/{job_id}/events", {"limit": 2}, headers=headers).json()
    assert [event["data"]["step"] for event in page["data"]] == [3, 2]
    assert page["has_more"] is True
    rest = client.get(f"{URL}/{job_id}/events", {"after": page["data"][-1]["id"]}, headers=headers).json()
    events = [FineTuningJobEvent.model_validate(event) for event in [*page["data"], *rest["data"]]]
    assert {event.type for event in events} == {"message", "metrics"}
    warning = [event for event in events if event.level == "warn"][-1]
    assert warning.data["counts"] == {"accepted": 38, "flagged": 2, "needs_review": 4, "rejected": 6}


def test_a_step_repeated_after_an_interruption_is_told_once(create, client, headers):
    job_id = create().json()["id"]
    Job.objects.filter(pk=job_id.removeprefix("ftjob-")).update(attempt=2)
    job = Job.objects.get(pk=job_id.removeprefix("ftjob-"))
    for attempt, step in [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4)]:
        JobEvent.objects.create(
            job=job, attempt=attempt, kind="metric", at=timezone.now(), data={"step": step, "train_loss": 1.0}
        )
    page = client.get(f"{URL}/{job_id}/events", {"limit": 100}, headers=headers).json()
    steps = [event["data"]["step"] for event in page["data"] if event["type"] == "metrics"]
    assert steps == [4, 3, 2, 1]


def test_checkpoints_are_committed_ones_with_their_model_name(create, client, headers):
    from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

    job_id = create(suffix="v1").json()["id"]
    training = TrainingJob.objects.get()
    for step, committed in [(10, True), (20, True), (30, False)]:
        Checkpoint.objects.create(
            training_job=training,
            attempt=1,
            step=step,
            is_committed=committed,
            storage_prefix="x",
            metrics={"train_loss": 0.5, "train_accuracy": 0.9, "valid_loss": 0.6},
        )
    page = client.get(f"{URL}/{job_id}/checkpoints", headers=headers).json()
    rows = [FineTuningJobCheckpoint.model_validate(row) for row in page["data"]]
    assert [row.step_number for row in rows] == [20, 10]
    assert rows[0].id.startswith("ftckpt_")
    assert rows[0].metrics.train_mean_token_accuracy == 0.9
    assert rows[0].metrics.full_valid_loss == 0.6
    assert rows[0].fine_tuned_model_checkpoint.endswith(f"{training.pk}:ckpt-step-20")


def test_a_key_that_may_only_read_cannot_create(client, api_key, dataset, snapshot):
    answer = client.post(
        URL,
        json.dumps({"model": "demo-base", "training_file": f"file-{dataset.upload_id}"}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {api_key('read')}"},
    )
    assert answer.status_code == 403


def test_another_projects_job_looks_missing(create, client, api_key, outsider):
    from accounts_app.models import Project

    job_id = create().json()["id"]
    key = api_key("admin", of=Project.objects.order_by("-id").first())
    for path in ("", "/events", "/checkpoints"):
        answer = client.get(f"{URL}/{job_id}{path}", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 404
