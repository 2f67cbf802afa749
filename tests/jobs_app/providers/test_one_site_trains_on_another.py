"""One Tunesmith is the provider of another's training: a whole site beside us, asked like any provider."""

from __future__ import annotations

from urllib.parse import urlsplit

import openai
import pytest

from jobs_app.choices import Provider
from jobs_app.models import BaseModel, Checkpoint, TrainedModel
from jobs_app.operations import start_training
from jobs_app.operations.connections import add_connection, check_connection
from work_kit.choices import State
from work_kit.models import JobEvent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def other(site, settings, actor) -> openai.OpenAI:
    """The other site, seen with the key that our project has there."""
    address = f"{site.address}/v1"
    settings.OUTBOUND_ALLOWED_HOSTS = [urlsplit(address).netloc]
    settings.PROVIDER_POLL_SECONDS = 0.3
    key = site.project_key("Provider of models")[1]
    BaseModel.objects.create(
        key="theirs", name="Their demo base", provider=Provider.ENDPOINT, location="demo-base", base_url=address
    )
    connection = add_connection(actor=actor, name="The other site", base_url=address, key=key)
    assert check_connection(actor=actor, connection=connection).problem == ""
    return openai.OpenAI(base_url=address, api_key=key)


def test_our_job_is_carried_out_there_and_its_model_answers_there(other, actor, rows, carry_out) -> None:
    training = carry_out(
        start_training(
            actor=actor,
            name="Clauses",
            base_model_key="theirs",
            snapshot=rows,
            spec={"num_train_epochs": 2},
            suffix="clauses",
            cost_approved=True,
        )
    )
    told = [event.data.get("message") for event in JobEvent.objects.filter(job=training.work).order_by("id")]
    assert training.work.state == State.SUCCEEDED, (training.work.failure, told)
    model = TrainedModel.objects.get(training_job=training)
    metrics = JobEvent.objects.filter(job=training.work, kind="metric")
    job = other.fine_tuning.jobs.retrieve(training.remote["state"]["job"])
    assert model.remote_name == job.fine_tuned_model
    assert model.remote_name in [listed.id for listed in other.models.list()]
    assert job.metadata == {"tunesmith_job": training.pk}
    assert metrics.count() >= 4
    assert Checkpoint.objects.filter(training_job=training, is_committed=True).exists()
    assert model.metrics["trained_tokens"] == job.trained_tokens
    assert model.results_upload_id
    assert len(list(other.fine_tuning.jobs.list())) == 1
