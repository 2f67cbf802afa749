"""The three stop buttons on a training that really runs."""

from __future__ import annotations

import threading
import time

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from datasets_app.operations import create_dataset
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import start_training
from work_kit import supervisor
from work_kit.models import JobEvent
from work_kit.operations import request_stop, resume_job

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LONG = {
    "num_train_epochs": 8,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "max_length": 64,
    "save_steps": 4,
    "early_stopping_patience": 0,
}


@pytest.fixture
def running(actor, clauses_upload, run_jobs):
    """A training in a worker's hands that has saved its first checkpoint, and the thread of that worker."""
    dataset = create_dataset(actor=actor, upload=clauses_upload(60), name="Clauses")
    supervisor.run_waiting("cpu")
    dataset.refresh_from_db()
    training = start_training(actor=actor, name="Long", base_model_key="demo-base", dataset=dataset, spec=LONG)
    supervisor.run_waiting("cpu")

    def work() -> None:
        supervisor.run_waiting("gpu")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 120
    while not Checkpoint.objects.filter(training_job=training, is_committed=True).exists():
        assert time.monotonic() < deadline, "the training does not begin"
        assert thread.is_alive()
        time.sleep(0.1)
    yield training, thread
    thread.join(120)


def test_a_paused_training_goes_on_where_it_stopped_and_no_step_is_missing_or_double(actor, running, run_jobs):
    training, thread = running
    request_stop(actor=actor, job=training.work, action="pause")
    thread.join(120)
    training.work.refresh_from_db()
    assert training.work.state == "paused"
    done = JobEvent.objects.filter(job_id=training.pk, kind="metric").count()
    resume_job(actor=actor, job=training.work)
    run_jobs()
    training.work.refresh_from_db()
    assert training.work.state == "succeeded"
    steps = [e.data["step"] for e in JobEvent.objects.filter(job_id=training.pk, kind="metric").order_by("id")]
    assert steps == list(range(1, 97))
    assert done < 96


def test_stop_and_keep_leaves_a_model_of_the_steps_so_far(actor, running):
    training, thread = running
    request_stop(actor=actor, job=training.work, action="stop_and_keep")
    thread.join(120)
    training.work.refresh_from_db()
    assert training.work.state == "succeeded"
    assert TrainedModel.objects.get().metrics["step"] < 96


def test_cancel_discards_what_was_saved(actor, running):
    training, thread = running
    prefixes = list(Checkpoint.objects.filter(is_committed=True).values_list("storage_prefix", flat=True))
    request_stop(actor=actor, job=training.work, action="cancel")
    thread.join(120)
    training.work.refresh_from_db()
    assert training.work.state == "cancelled"
    assert prefixes
    assert not Checkpoint.objects.exists()
    assert not any(default_storage.exists(f"{prefix}/manifest.json") for prefix in prefixes)
    assert not TrainedModel.objects.exists()
