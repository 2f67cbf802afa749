"""A training at a provider, from the start to the model: real child processes, a real socket."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.db import connection as database

from finetune_engine.errors import UserError
from finetune_engine.train.provider.settings import KEY_VARIABLE
from jobs_app import queries
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import budgets, connections, delete_trained_model
from jobs_app.operations.checkpoint_models import use_checkpoint
from jobs_app.runner import actor_of
from serving_app.operations import deploy_model
from serving_app.queries import route_of
from tests.protocol_server.script import Become, Call, Fail, Stay, Succeed, learning_then
from tests.protocol_server.script import Checkpoint as At
from work_kit.choices import State
from work_kit.kinds import kind_of
from work_kit.models import Job, JobEvent
from work_kit.operations import request_stop, resume_job

pytestmark = pytest.mark.django_db(transaction=True)
CREATE, ONE_JOB = "/fine_tuning/jobs", r"/fine_tuning/jobs/ftjob-\d+"


def only(server) -> dict:
    assert len(server.jobs) == 1
    return next(iter(server.jobs.values())).body


def asks(actor, training, action: str) -> Call:
    """The person's click, at this moment of the provider's job."""

    def click() -> None:
        try:
            request_stop(actor=actor, job=Job.objects.get(pk=training.pk), action=action)
        finally:
            database.close()

    return Call(click)


def test_the_job_succeeds_and_its_model_has_a_name_there_a_cost_and_no_files_here(send, carry_out, server) -> None:
    training = carry_out(send(suffix="clauses"))
    model = TrainedModel.objects.get(training_job=training)
    assert training.work.state == State.SUCCEEDED, training.work.failure
    assert model.remote_name == only(server)["fine_tuned_model"]
    assert (model.storage_prefix, model.size_bytes, model.connection) == ("", 0, training.connection)
    assert model.metrics["trained_tokens"] == 4200
    assert (training.cost_amount, training.cost_currency) == (Decimal("0.012600"), "USD")


def test_its_metrics_events_and_checkpoints_are_the_providers(send, carry_out) -> None:
    training = carry_out(send())
    steps = [event.data["step"] for event in JobEvent.objects.filter(job=training.work, kind="metric").order_by("id")]
    told = [event.data.get("message") for event in JobEvent.objects.filter(job=training.work, kind="log")]
    marks = Checkpoint.objects.filter(training_job=training).order_by("step")
    assert steps == [1, 2, 3]
    assert "The job has successfully completed" in told
    assert [(mark.step, mark.is_committed) for mark in marks] == [(2, True), (3, True)]
    assert use_checkpoint(actor=actor_of(training.work), checkpoint=marks[0]).remote_name.endswith(":ckpt-step-2")


def test_a_cost_that_nobody_can_know_is_null_with_a_reason(send, base_model) -> None:
    training = send()
    base_model.facts = {}
    base_model.save()
    budgets.record_cost(training=training, trained_tokens=4200)
    assert training.cost_amount is None
    assert "price" in training.remote["cost_unknown"]


def test_the_child_gets_the_key_and_no_other_secret_of_the_site(send) -> None:
    training = send()
    found = kind_of("jobs.train").secrets(training.work)
    assert list(found) == [KEY_VARIABLE]


def test_what_the_provider_says_when_it_fails_is_read_here_and_the_key_is_nowhere(
    send, carry_out, server, settings
) -> None:
    server.script = lambda: learning_then(Fail("blocked", "The data breaks the usage policy.", "training_file"))
    training = carry_out(send())
    told = str(list(JobEvent.objects.values("data"))) + str(training.remote) + str(training.work.params)
    files = [path for path in settings.WORK_DIR.rglob("*") if path.is_file()]
    assert (training.work.state, training.work.failure_reason) == (State.FAILED, "bad_data")
    assert "breaks the usage policy" in training.work.failure["message"]
    assert files
    assert server.key not in told
    assert all(server.key.encode() not in path.read_bytes() for path in files)


def test_a_refused_key_fails_the_job_as_the_providers_error(send, carry_out, connection, server) -> None:
    training = send()
    server.key = "sk-changed-meanwhile"
    work = carry_out(training).work
    assert (work.state, work.failure_reason) == (State.FAILED, "provider_error")
    assert "Incorrect API key" in work.failure["message"]
    assert server.count("POST", CREATE) == 0


def test_cancel_reaches_the_provider(send, carry_out, server, actor) -> None:
    training = send()
    server.script = lambda: learning_then(asks(actor, training, "cancel"), Stay())
    assert carry_out(training).work.state == State.CANCELLED
    assert only(server)["status"] == "cancelled"


def test_pause_and_resume_reach_the_provider_and_no_second_job_is_made(send, carry_out, server, actor) -> None:
    training = send()
    server.script = lambda: learning_then(asks(actor, training, "pause"), Stay())
    assert carry_out(training).work.state == State.PAUSED
    assert only(server)["status"] == "paused"
    server.jobs[only(server)["id"]].script = [Become("running"), Succeed()]
    resume_job(actor=actor, job=training.work)
    assert carry_out(training).work.state == State.SUCCEEDED
    assert server.count("POST", CREATE) == 1


def test_a_paused_job_that_is_cancelled_here_is_cancelled_there_by_a_job_of_its_own(
    send, carry_out, server, actor
) -> None:
    training = send()
    server.script = lambda: learning_then(asks(actor, training, "pause"), Stay())
    carry_out(training)
    request_stop(actor=actor, job=Job.objects.get(pk=training.pk), action="cancel")
    carry_out(training)
    assert only(server)["status"] == "cancelled"
    assert Job.objects.get(kind="jobs.cancel_remote").state == State.SUCCEEDED


def test_stop_and_keep_makes_a_model_of_the_best_checkpoint(send, carry_out, server, actor) -> None:
    training = send()
    server.script = lambda: learning_then(
        At(5, {"full_valid_loss": 0.4}), asks(actor, training, "stop_and_keep"), Stay()
    )
    training = carry_out(training)
    assert training.work.state == State.SUCCEEDED, training.work.failure
    assert TrainedModel.objects.get(training_job=training).remote_name.endswith(":ckpt-step-5")
    assert only(server)["status"] == "cancelled"


def test_a_killed_worker_costs_no_second_paid_job(send, carry_out, server) -> None:
    """The child is killed while the job runs there; the next attempt takes it over."""
    import psutil

    def kill() -> None:
        for child in psutil.Process().children(recursive=True):
            if "cancel-remote" not in child.cmdline() and "finetune_engine" in child.cmdline():
                child.kill()

    server.script = lambda: learning_then(Call(kill), Become("running"), Succeed())
    training = send()
    carry_out(training)
    Job.objects.filter(pk=training.pk).update(available_at="2020-01-01T00:00:00Z")
    training = carry_out(training)
    assert training.work.attempt == 2
    assert training.work.state == State.SUCCEEDED
    assert server.count("POST", CREATE) == 1


def test_without_a_key_the_start_says_who_can_add_one(actor, rows, base_model) -> None:
    from jobs_app.operations import start_training

    with pytest.raises(UserError, match="Providers and budget") as refused:
        start_training(actor=actor, name="x", base_model_key="tiny-chat", snapshot=rows, spec={}, cost_approved=True)
    assert refused.value.code == "no_connection"
    assert not Job.objects.exists()


def test_another_projects_connection_is_none(actor, rows, base_model, server, outsider, send) -> None:
    from accounts_app.models import Membership
    from accounts_app.permissions import project_for

    slug = Membership.objects.get(user=outsider).project.slug
    stranger = project_for(outsider, slug, "view")
    theirs = connections.add_connection(actor=stranger, name="x", base_url=server.address, key="sk-of-a-stranger")
    with pytest.raises(UserError) as refused:
        send(connection=theirs)
    assert refused.value.code == "no_connection"


def test_a_method_that_no_provider_has_is_refused_at_the_start(send) -> None:
    with pytest.raises(UserError) as refused:
        send(spec={"method": "kto"})
    assert refused.value.code == "method_not_at_provider"


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, {"n_epochs": 9, "batch_size": 4, "learning_rate_multiplier": 0.1}),  # 9 passes suit 12 rows
        ({"spec": {"num_train_epochs": 2.0}}, {"n_epochs": 2}),
        (
            {"provider_settings": {"n_epochs": "auto", "batch_size": 8, "learning_rate_multiplier": "auto"}},
            {"n_epochs": "auto", "batch_size": 8, "learning_rate_multiplier": "auto"},
        ),
    ],
)
def test_the_numbers_are_computed_or_as_asked(send, tmp_path, changes, sent) -> None:
    kind_of("jobs.train").prepare(send(**changes).work, tmp_path / "work")
    numbers = json.loads((tmp_path / "work" / "spec.json").read_text())["provider"]["hyperparameters"]
    assert {name: numbers[name] for name in sent} == sent


@pytest.fixture
def kept_there(send, connection) -> TrainedModel:
    """A model that the provider keeps."""
    training = send()
    Job.objects.filter(pk=training.pk).update(state="succeeded", phase="done")
    return TrainedModel.objects.create(
        project=training.project,
        training_job=training,
        name="Clauses",
        base_model_key="tiny-chat",
        api_name=queries.api_name(training),
        remote_name="ft:tiny-chat:org::abc",
        connection=connection,
        run={"provider": {"job": "ftjob-1"}},
    )


def test_what_needs_files_says_that_the_model_lives_at_its_provider(kept_there, actor, client_for, owner) -> None:
    with pytest.raises(UserError, match="lives at its provider"):
        queries.model_files(kept_there.api_name, actor.project)
    download = client_for(owner).get(f"/p/{actor.project.slug}/train/models/{kept_there.pk}/download")
    assert download.status_code == 409


def test_it_is_put_into_use_and_asked_there(kept_there, connection, actor) -> None:
    from serving_app.replicas.resolving import resolve

    deployment = deploy_model(actor=actor, trained_model=kept_there, sign_off="Tried by hand; good enough.")
    told = resolve(route_of(actor.project, "").main.serving_id)
    assert deployment.state == "active"
    assert (told.base_url, told.model, told.key) == (
        connection.base_url,
        kept_there.remote_name,
        connections.key_of(connection),
    )
    assert told.key not in repr(told)


def test_its_key_cannot_be_deleted_while_it_is_in_use(kept_there, connection, actor) -> None:
    deploy_model(actor=actor, trained_model=kept_there, sign_off="Tried by hand; good enough.")
    with pytest.raises(UserError, match="is asked with this key"):
        connections.delete_connection(actor=actor, connection=connection)


def test_without_its_key_its_questions_go_nowhere_else(kept_there, actor, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    deploy_model(actor=actor, trained_model=kept_there, sign_off="Tried by hand; good enough.")
    kept_there.connection = None
    kept_there.save()
    with pytest.raises(UserError, match="no key"):
        route_of(actor.project, "")


def test_it_cannot_run_here(kept_there, actor) -> None:
    with pytest.raises(UserError, match="only the provider can run it"):
        deploy_model(actor=actor, trained_model=kept_there, backend="transformers", sign_off="Tried by hand.")


def test_its_page_shows_the_name_there_and_offers_no_download(kept_there, actor, client_for, owner) -> None:
    page = client_for(owner).get(f"/p/{actor.project.slug}/train/models/{kept_there.pk}")
    assert page.status_code == 200
    assert kept_there.remote_name in page.content.decode()
    assert "/download" not in page.content.decode()


def test_no_page_offers_what_needs_its_files(kept_there, actor, client_for, owner) -> None:
    browser, project = client_for(owner), f"/p/{actor.project.slug}"
    training = browser.get(f"{project}/train/{kept_there.training_job_id}").content.decode()
    assert "Its provider keeps it" in training
    assert "Deploy" not in training


def test_the_page_use_offers_it_and_says_where_it_is(kept_there, actor, client_for, owner) -> None:
    use = client_for(owner).get(f"/p/{actor.project.slug}/use/")
    assert use.status_code == 200
    assert kept_there.pk in use.content.decode()
    assert "at its provider" in use.content.decode()


def test_the_home_page_offers_to_judge_it_where_it_is_kept(kept_there, actor, client_for, owner) -> None:
    home = client_for(owner).get(f"/p/{actor.project.slug}/").content.decode()
    assert f"/p/{actor.project.slug}/results/new?model={kept_there.pk}" in home
    assert f'value="{kept_there.pk}"' not in home


def test_an_openai_model_goes_to_a_chosen_address_without_a_key_at_openai(send, connection, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    training = send(base_model_key="gpt-4o-mini", connection=connection)
    assert (training.connection, training.remote["base_url"]) == (connection, connection.base_url)


def test_it_can_be_deleted_here(kept_there, actor) -> None:
    delete_trained_model(actor=actor, model=kept_there)
    assert not TrainedModel.objects.exists()
