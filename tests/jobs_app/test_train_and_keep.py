"""The whole way, with the real supervisor, the real child process and the bundled base model."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest

from datasets_app.models import Upload
from datasets_app.operations import create_dataset
from jobs_app import queries
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import start_training
from work_kit.files import verify_tree
from work_kit.models import Job

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
QUICK = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_length": 64}


@pytest.fixture
def done(actor, clauses_upload, run_jobs):
    """A dataset that was still to be imported when the training was started; then everything ran."""
    dataset = create_dataset(actor=actor, upload=clauses_upload(60), name="Clauses")
    training = start_training(
        actor=actor, name="Clauses", base_model_key="demo-base", dataset=dataset, spec=QUICK, suffix="desk"
    )
    run_jobs()
    training.refresh_from_db()
    assert training.work.state == "succeeded", (training.work.failure_reason, training.work.failure)
    return training


def test_a_training_started_with_its_upload_waits_freezes_trains_and_leaves_one_verified_model(
    done, project, client_for, owner
):
    model = TrainedModel.objects.get()
    files = queries.model_files(model.api_name, project)
    verify_tree(files.adapter)
    assert (files.adapter / "adapter_model.safetensors").is_file()
    assert files.digest == model.manifest_sha256
    assert model.api_name == f"ft:demo-base:{project.slug}:desk:{done.pk}"
    assert model.metrics["trained_tokens"] > 0
    assert model.run["snapshot"]["sha256"] == done.snapshot.sha256
    assert done.work.result["trained_model"] == model.pk

    results = Upload.objects.get(pk=model.results_upload_id)
    assert results.purpose == "fine-tune-results"
    rows = list(csv.DictReader(io.StringIO((files.adapter / "metrics.csv").read_text())))
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))

    checkpoints = queries.usable_checkpoints(done)
    assert checkpoints
    assert queries.model_files(queries.checkpoint_name(checkpoints[0]), project).adapter.is_dir()

    browser = client_for(owner)
    page = browser.get(f"/p/{project.slug}/train/{done.pk}")
    assert "The model is ready" in page.content.decode()
    answer = browser.get(f"/p/{project.slug}/train/models/{model.pk}/download")
    assert answer["Content-Disposition"].startswith("attachment")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    assert archive.testzip() is None
    assert set(json.loads(archive.read("model/manifest.json"))["files"]) < {
        name.removeprefix("model/") for name in archive.namelist()
    }


def test_a_training_goes_on_from_a_stored_checkpoint_on_another_host(actor, clauses_upload, run_jobs, settings):
    import shutil
    from pathlib import Path

    from work_kit.models import JobEvent

    dataset = create_dataset(actor=actor, upload=clauses_upload(60), name="Clauses")
    first = start_training(actor=actor, name="One", base_model_key="demo-base", dataset=dataset, spec=QUICK)
    run_jobs()
    # The same training again, whose first attempt got to an earlier checkpoint and whose host is gone.
    second = start_training(actor=actor, name="Two", base_model_key="demo-base", dataset=dataset, spec=QUICK)
    early = Checkpoint.objects.filter(training_job=first, is_committed=True).order_by("step").first()
    early.pk, early.training_job = "z" * 26, second
    early.save(force_insert=True)
    shutil.rmtree(Path(settings.WORK_DIR))
    run_jobs()
    second.work.refresh_from_db()
    assert second.work.state == "succeeded"
    steps = [e.data["step"] for e in JobEvent.objects.filter(job_id=second.pk, kind="metric").order_by("id")]
    assert steps[0] == early.step + 1
    models = {model.name: model for model in TrainedModel.objects.all()}
    assert models["One"].metrics["valid_loss"] == models["Two"].metrics["valid_loss"]


def test_a_failed_import_fails_the_training_with_its_sentence(actor, run_jobs):
    from django.core.files.uploadedfile import SimpleUploadedFile

    from datasets_app.operations import store_upload

    upload = store_upload(actor=actor, file=SimpleUploadedFile("bad.jsonl", b"{}\n{}\n"), name="bad.jsonl")
    dataset = create_dataset(actor=actor, upload=upload, name="Bad")
    training = start_training(actor=actor, name="Bad", base_model_key="demo-base", dataset=dataset, spec={})
    run_jobs()
    job = Job.objects.get(pk=training.pk)
    dataset.refresh_from_db()
    assert (job.state, job.failure_reason) == ("failed", "bad_data")
    assert dataset.error["message"] in job.failure["message"]
    assert not TrainedModel.objects.exists()
