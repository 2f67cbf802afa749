"""The way of a deployment from its row to its answers, and everything that can go wrong on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.serving_app.conftest import wait_until
from tests.serving_app.replica_process import StubReplica, free_address

pytestmark = pytest.mark.django_db(transaction=True)
SIGNED = {"sign_off": "Tried by hand; good enough."}


@pytest.fixture(autouse=True)
def patient_table(monkeypatch) -> None:
    """The stand-ins send no heartbeats, and a busy machine may be slow."""
    monkeypatch.setattr("serving_app.queries.replicas.REPLICA_FRESH_SECONDS", 600.0)


@pytest.fixture
def replica(transactional_db, tmp_path) -> Iterator[StubReplica]:
    from serving_app.operations import announce_replica

    stub = StubReplica(f"unix:{tmp_path / 'stub.sock'}")
    announce_replica(address=stub.address, host="here", pid=1)
    yield stub
    stub.stop()


@pytest.fixture
def deploy(actor):
    from serving_app.operations import deploy_model

    return lambda model, **more: deploy_model(actor=actor, trained_model=model, **(SIGNED | more))


def _prepared(deployment):
    from serving_app.rollout import prepare_waiting

    prepare_waiting()
    deployment.refresh_from_db()
    return deployment


def _with_template(trained_model, sha256: str):
    trained_model.run = {"template_sha256": sha256}
    trained_model.save()
    return trained_model


def test_with_no_server_running_a_model_is_in_use_at_once(trained, deploy) -> None:
    deploy(trained("One"))
    assert deploy(trained("Two")).state == "active"


def test_the_one_before_answers_until_the_servers_have_loaded_the_next(project, trained, deploy, replica) -> None:
    from serving_app.queries import current_deployment

    first, second = deploy(trained("One")), deploy(trained("Two"))
    assert (second.state, current_deployment(project)) == ("preparing", first)
    assert _prepared(second).state == "active"
    first.refresh_from_db()
    assert first.state == "retired"
    assert second.previous == first
    assert f"ft:{second.trained_model_id}" in replica.told()["models"]


def test_the_template_that_answers_is_the_one_that_was_trained_with(trained, deploy, replica) -> None:
    deploy(trained("One"))
    second = _prepared(deploy(_with_template(trained("Two"), "t" * 64)))
    assert second.progress["template"] == "same"


def test_another_template_keeps_the_model_out_of_use(project, trained, deploy, replica) -> None:
    from serving_app.queries import current_deployment

    first = deploy(trained("One"))
    second = _prepared(deploy(_with_template(trained("Two"), "o" * 64)))
    assert second.state == "failed"
    assert "another chat template" in second.problem
    assert current_deployment(project) == first


def test_a_model_in_use_at_once_is_looked_at_afterwards(trained, deploy, replica) -> None:
    first = _prepared(deploy(_with_template(trained("One"), "o" * 64)))
    assert first.state == "active", "there is nothing better to return to"
    assert "another chat template" in first.problem


def test_what_the_server_says_is_told(project, trained, deploy, replica) -> None:
    deploy(trained("One"))
    replica.change(load_problem="The adapter does not fit its base model.")
    second = _prepared(deploy(trained("Two")))
    assert (second.state, second.problem) == ("failed", "The adapter does not fit its base model.")


def test_a_model_that_takes_two_servers_down_with_it_fails_and_takes_no_third(
    trained, deploy, replica, tmp_path
) -> None:
    from serving_app.operations import announce_replica

    others = [StubReplica(free_address(), dies_loading=True), StubReplica(free_address())]
    replica.change(dies_loading=True)
    for other in others:
        announce_replica(address=other.address, host="here", pid=1)
    try:
        deploy(trained("One"))
        second = _prepared(deploy(trained("Two")))
        assert second.state == "failed"
        assert "ended while they loaded it" in second.problem
        assert others[1].process is not None
        assert others[1].process.poll() is None
    finally:
        for other in others:
            other.stop()


def test_a_server_that_is_restarting_is_waited_for(trained, deploy, replica) -> None:
    deploy(trained("One"))
    second = deploy(trained("Two"))
    replica.kill()
    work = threading.Thread(target=_prepared, args=(second,))
    work.start()
    time.sleep(1.0)
    replica.start()
    work.join(20)
    second.refresh_from_db()
    assert second.state == "active"


def test_what_is_on_its_way_can_be_called_off(project, actor, trained, deploy, replica) -> None:
    from serving_app.models import Deployment
    from serving_app.operations import retire_deployment
    from serving_app.queries import current_deployment

    first = deploy(trained("One"))
    second = deploy(trained("Two"))
    replica.change(load_seconds=4.0)
    work = threading.Thread(target=_prepared, args=(second,))
    work.start()
    wait_until(lambda: Deployment.objects.get(pk=second.pk).progress.get("loading"), 20, "nobody loads it")
    retire_deployment(actor=actor, deployment=second)
    work.join(20)
    second.refresh_from_db()
    assert second.state == "retired"
    assert current_deployment(project) == first


def test_choosing_another_model_meanwhile_calls_the_first_choice_off(trained, deploy, replica) -> None:
    deploy(trained("One"))
    second, third = deploy(trained("Two")), deploy(trained("Three"))
    assert _prepared(third).state == "active"
    second.refresh_from_db()
    assert second.state == "retired"


def test_choosing_what_is_in_use_calls_off_what_is_on_its_way(trained, deploy, replica) -> None:
    one = trained("One")
    first = deploy(one)
    second = deploy(trained("Two"))
    assert deploy(one) == first
    second.refresh_from_db()
    assert second.state == "retired"


def test_only_one_at_a_time_prepares_and_a_lost_claim_writes_nothing(trained, deploy, replica) -> None:
    from serving_app.operations import preparing

    deploy(trained("One"))
    second = deploy(trained("Two"))
    token = preparing.claim_preparation(deployment_id=second.pk)
    assert token
    assert preparing.claim_preparation(deployment_id=second.pk) is None
    assert not preparing.activate_deployment(deployment_id=second.pk, token="another", checked={})
    second.refresh_from_db()
    assert second.state == "preparing"


def test_one_whose_caretaker_died_is_taken_up_again(trained, deploy, replica, monkeypatch) -> None:
    from serving_app import rollout
    from serving_app.operations import preparing

    deploy(trained("One"))
    second = deploy(trained("Two"))
    monkeypatch.setattr(preparing, "CLAIM_SECONDS", 0.2)
    assert preparing.claim_preparation(deployment_id=second.pk)
    time.sleep(0.3)
    monkeypatch.setattr(rollout, "FORGOTTEN_SECONDS", 0.0)
    rollout.look_after()
    second.refresh_from_db()
    assert second.state == "active"


def test_rolling_back_is_at_once_while_the_servers_still_have_the_model(actor, trained, deploy, replica) -> None:
    from serving_app.models import Replica
    from serving_app.operations import roll_back

    deploy(trained("One"))
    second = _prepared(deploy(trained("Two")))
    Replica.objects.update(loaded=[f"ft:{second.trained_model_id}", f"ft:{second.previous.trained_model_id}"])
    assert roll_back(actor=actor, deployment=second).state == "active"


def test_rolling_back_to_a_model_that_was_unloaded_loads_it_first(actor, trained, deploy, replica) -> None:
    from serving_app.operations import roll_back

    deploy(trained("One"))
    second = _prepared(deploy(trained("Two")))
    back = roll_back(actor=actor, deployment=second)
    assert back.state == "preparing"
    assert _prepared(back).state == "active"


def test_a_trained_model_answers_as_it_was_judged_until_somebody_decides_otherwise(actor, trained, deploy) -> None:
    from serving_app.operations import change_settings, deploy_model

    assert deploy_model(actor=actor, base_model_key="demo-base").default_temperature is None
    first = deploy(trained("One"))
    assert first.default_temperature == 0.0
    change_settings(actor=actor, deployment=first, default_temperature=None)
    second = deploy(trained("Two"))
    assert second.default_temperature is None
    second.trained_model.delete()
    assert deploy(trained("Three")).default_temperature is None, "the model was deleted, the decision stands"


def test_settings_go_along_and_a_threshold_only_to_a_calibrated_model(actor, project, trained, deploy) -> None:
    from serving_app.models import Calibration
    from serving_app.operations import change_settings

    one, two, three = trained("One"), trained("Two"), trained("Three")
    for model in (one, two):
        Calibration.objects.create(project=project, trained_model=model, curve={"x": [0.0, 1.0], "y": [0.0, 1.0]})
    first = deploy(one)
    change_settings(actor=actor, deployment=first, default_temperature=0.0, uses_exact_cache=False, ask_human_below=0.8)
    second = deploy(two)
    assert (second.default_temperature, second.uses_exact_cache, second.ask_human_below) == (0.0, False, 0.8)
    third = deploy(three)
    assert (third.default_temperature, third.uses_exact_cache, third.ask_human_below) == (0.0, False, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"default_temperature": 3}, "invalid_value"),
        ({"default_temperature": float("nan")}, "invalid_value"),
        ({"uses_exact_cache": "yes"}, "invalid_value"),
        ({"ask_human_below": 1.5}, "invalid_value"),
        ({"alias": "other"}, "unknown_field"),
    ],
)
def test_settings_are_checked(actor, trained, deploy, changes, code) -> None:
    from finetune_engine.errors import UserError
    from serving_app.operations import change_settings

    with pytest.raises(UserError) as refused:
        change_settings(actor=actor, deployment=deploy(trained("One")), **changes)
    assert refused.value.code == code


def test_vllm_is_refused_where_no_server_has_it(trained, deploy, replica) -> None:
    from finetune_engine.errors import UserError

    with pytest.raises(UserError, match="No model server with vLLM"):
        deploy(trained("One"), backend="vllm")


def test_the_chosen_backend_reaches_the_server_with_the_models_id(trained, deploy, replica) -> None:
    from serving_app.models import Replica
    from serving_app.queries import route_of

    Replica.objects.update(backends=["transformers", "vllm"])
    deployment = _prepared(deploy(trained("One"), backend="vllm"))
    assert route_of(deployment.project, "").main.serving_id == f"ft:{deployment.trained_model_id}@vllm"
    assert replica.told()["models"] == [f"ft:{deployment.trained_model_id}@vllm"]


def test_the_api_tells_the_progress_and_changes_settings(client, trained, api_key, deploy, replica) -> None:
    from serving_app.operations import preparing

    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    deploy(trained("One"))
    second = deploy(trained("Two"))
    token = preparing.claim_preparation(deployment_id=second.pk)
    preparing.note_progress(deployment_id=second.pk, token=token, ready=[replica.address], replicas=2)
    told = client.get(f"/api/v1/deployments/{second.pk}", headers=headers).json()
    assert (told["status"], told["progress"]) == ("preparing", {"ready": 1, "replicas": 2})
    url = f"/api/v1/deployments/{second.pk}"
    changed = client.patch(url, {"default_temperature": 0}, content_type="application/json", headers=headers)
    assert changed.json()["settings"]["default_temperature"] == 0.0
    assert changed.json()["settings"]["uses_exact_cache"] is True, "what was not sent stays"
    refused = client.patch(url, {"default_temperature": 9}, content_type="application/json", headers=headers)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "default_temperature")


def test_every_task_that_beat_calls_is_known_to_the_workers() -> None:
    from finetune_site.celery import app

    app.loader.import_default_modules()
    called = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {"serving_app.tasks.look_after_deployments"} <= called <= set(app.tasks)
    assert "serving_app.tasks.prepare_deployments" in app.tasks
