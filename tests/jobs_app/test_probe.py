"""Measuring the machine before a training: a real job with the bundled model."""

from __future__ import annotations

import pytest

from datasets_app.operations import create_dataset
from finetune_engine.train.spec import TrainingSpec
from jobs_app import queries
from jobs_app.operations import start_probe
from work_kit.models import Job

pytestmark = pytest.mark.django_db
SPEC = {"num_train_epochs": 1.0, "r": 4}


def test_a_test_run_under_way_is_not_started_twice(actor, snapshot):
    first, second = (start_probe(actor=actor, base_model_key="demo-base", snapshot=snapshot, spec=SPEC) for _ in "ab")
    assert first == second
    assert queries.open_probe(actor.project, "demo-base") == first


@pytest.mark.django_db(transaction=True)
def test_a_test_run_measures_speed_and_memory_and_refines_the_estimate(actor, clauses_upload, run_jobs):
    dataset = create_dataset(actor=actor, upload=clauses_upload(40), name="Clauses")
    run_jobs()
    dataset.refresh_from_db()
    job = start_probe(actor=actor, base_model_key="demo-base", dataset=dataset, spec=SPEC)
    run_jobs()
    job = Job.objects.get(pk=job.pk)
    assert job.state == "succeeded", job.failure
    assert job.result["probe"]["tokens_per_second"] > 0
    assert job.result["probe"]["peak_bytes_train"] > 0
    found = queries.measurement("demo-base", job.host, TrainingSpec.from_dict(SPEC))
    assert found is not None
    assert found.source == "probe"
