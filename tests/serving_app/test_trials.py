"""A second model beside the one in use: who answers, who listens, and what the two are compared by."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from django.utils import timezone

from finetune_engine.errors import UserError
from serving_app.choices import DeploymentRole
from serving_app.queries import Route, ServedModel
from serving_app.routing import chosen_model
from tests.serving_app.replica_process import StubReplica
from web_kit.ids import new_id

SIGNED = {"sign_off": "Tried by hand; good enough."}
MAIN = ServedModel("ft:main", "main", "m", deployment_id="1")
TRIAL = ServedModel("ft:trial", "trial", "t", deployment_id="2")


def _split(percent: int) -> Route:
    return Route(MAIN, TRIAL, DeploymentRole.SPLIT, percent)


@pytest.mark.parametrize("percent", [1, 20, 50, 99])
def test_a_split_gives_the_trial_its_share(percent) -> None:
    chosen = Counter(chosen_model(_split(percent), request_id=new_id()).name for _ in range(20_000))
    deviation = (percent / 100 * (1 - percent / 100) / 20_000) ** 0.5
    assert abs(chosen["trial"] / 20_000 - percent / 100) < 4 * deviation


def test_the_same_end_user_always_meets_the_same_model() -> None:
    for user in ("ann", "bob", "cy", "dee"):
        met = {chosen_model(_split(50), request_id=new_id(), end_user=user).name for _ in range(50)}
        assert len(met) == 1


def test_who_met_the_trial_still_meets_it_when_its_share_grows() -> None:
    users = [f"user-{number}" for number in range(500)]
    small = {user for user in users if chosen_model(_split(10), request_id="", end_user=user) is TRIAL}
    large = {user for user in users if chosen_model(_split(40), request_id="", end_user=user) is TRIAL}
    assert small
    assert small < large


def test_a_shadow_never_answers() -> None:
    route = Route(MAIN, TRIAL, DeploymentRole.SHADOW, 100)
    assert {chosen_model(route, request_id=new_id()).name for _ in range(50)} == {"main"}


@pytest.fixture(autouse=True)
def patient_table(monkeypatch) -> None:
    """The stand-ins send no heartbeats, and a busy machine may be slow."""
    monkeypatch.setattr("serving_app.queries.replicas.REPLICA_FRESH_SECONDS", 600.0)


@pytest.fixture
def beside(db, actor, trained):
    """``beside(role, percent)``: a trial beside a deployed model; both deployments."""
    from serving_app.operations import deploy_model, start_trial

    def begin(role: str = "shadow", percent: int = 100):
        main = deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
        trial = start_trial(actor=actor, trained_model=trained("Two"), role=role, percent=percent, **SIGNED)
        return main, trial

    return begin


@pytest.mark.django_db
def test_a_trial_needs_something_in_use(actor, trained) -> None:
    from serving_app.operations import start_trial

    with pytest.raises(UserError, match="Put a model into use first"):
        start_trial(actor=actor, trained_model=trained("Two"))


@pytest.mark.django_db
def test_only_a_trial_that_answers_people_needs_a_signature(actor, trained) -> None:
    from serving_app.operations import deploy_model, start_trial

    deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
    two = trained("Two")
    with pytest.raises(UserError, match="No owner has signed"):
        start_trial(actor=actor, trained_model=two, role="split", percent=20)
    assert start_trial(actor=actor, trained_model=two, role="shadow").role == "shadow"


def test_the_same_model_again_changes_the_share(actor, beside) -> None:
    from serving_app.operations import start_trial

    _, trial = beside("split", 10)
    changed = start_trial(actor=actor, trained_model=trial.trained_model, role="split", percent=40)
    assert (changed.pk, changed.share_percent) == (trial.pk, 40)


def test_a_second_trial_is_refused_while_one_runs(actor, beside, trained) -> None:
    from serving_app.operations import start_trial

    beside()
    with pytest.raises(UserError, match="Another model is on trial"):
        start_trial(actor=actor, trained_model=trained("Three"))


def test_ending_a_trial_leaves_the_main_model_alone(actor, project, beside) -> None:
    from serving_app.operations import end_trial
    from serving_app.queries import current_deployment, current_trial, route_of

    main, trial = beside()
    assert end_trial(actor=actor, trial=trial).state == "retired"
    assert current_trial(project) is None
    assert current_deployment(project) == main
    assert route_of(project, "").trial is None


def test_promoting_puts_the_model_into_use_and_ends_the_trial(actor, project, beside) -> None:
    from serving_app.operations import promote_trial
    from serving_app.queries import current_deployment, current_trial

    main, trial = beside()
    promote_trial(actor=actor, trial=trial)
    assert current_deployment(project).trained_model == trial.trained_model
    assert current_deployment(project).previous == main
    assert current_trial(project) is None


@pytest.mark.django_db
def test_promoting_demands_the_signature_as_always(actor, trained) -> None:
    from serving_app.operations import deploy_model, promote_trial, start_trial

    deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
    trial = start_trial(actor=actor, trained_model=trained("Two"))
    with pytest.raises(UserError, match="No owner has signed"):
        promote_trial(actor=actor, trial=trial)


def test_a_model_on_trial_cannot_be_deleted(beside) -> None:
    from serving_app.queries import use_of_model

    _, trial = beside()
    assert "on trial" in use_of_model(trial.trained_model)


def _prediction(deployment, output: str, **more):
    from serving_app.models import Prediction

    values = {"latency_seconds": 0.1, "status": 200, "at": timezone.now(), "door": "chat"} | more
    return Prediction.objects.create(
        request_id=new_id(),
        project=deployment.project,
        deployment=deployment,
        model_name=deployment.model_name,
        input={"messages": [{"role": "user", "content": "Which clause?"}]},
        output=output,
        **values,
    )


def test_pairs_with_different_answers_come_first_and_are_counted(beside) -> None:
    from serving_app.queries.trials import comparison_of

    main, trial = beside()
    for number, output in enumerate(["Payment", " Payment ", "Notice", ""]):
        asked = _prediction(main, "Payment")
        status = 200 if output else 500
        seconds = 0.2 + number / 10
        _prediction(trial, output, door="shadow", shadow_of=asked.request_id, latency_seconds=seconds, status=status)
    _prediction(main, "Not copied")
    told = comparison_of(trial)
    assert (told.equal.count, told.equal.n) == (2, 3)
    assert told.pairs[0].trial.output == "Notice"
    assert (told.main.requests, told.tried.requests) == (4, 4)
    assert told.tried.errors.count == 1
    assert told.tried.p95 == pytest.approx(0.4)
    assert 0.0 < told.equal.low < 2 / 3 < told.equal.high < 1.0


def test_texts_that_are_not_kept_are_not_called_equal(beside) -> None:
    from serving_app.queries.trials import comparison_of

    main, trial = beside()
    asked = _prediction(main, "")
    _prediction(trial, "", door="shadow", shadow_of=asked.request_id)
    assert comparison_of(trial).pairs[0].is_equal is None
    assert comparison_of(trial).equal.n == 0


def test_a_split_compares_what_each_model_was_asked(beside) -> None:
    from serving_app.queries.trials import comparison_of

    main, trial = beside("split", 20)
    for _ in range(3):
        _prediction(main, "Payment", verdict="good")
    _prediction(trial, "Notice", verdict="bad")
    told = comparison_of(trial)
    assert (told.main.requests, told.tried.requests) == (3, 1)
    assert (told.main.good.value, told.tried.good.value) == (1.0, 0.0)
    assert told.pairs == []


@pytest.mark.django_db(transaction=True)
def test_a_shadow_answers_for_the_log_alone_and_delays_nobody(project, ask, beside, tmp_path) -> None:
    from serving_app.models import Prediction
    from serving_app.operations import announce_replica

    main, trial = beside()
    shadowing = f"ft:{trial.trained_model_id}"
    stub = StubReplica(f"unix:{tmp_path / 's.sock'}", texts={shadowing: "from the shadow"})
    announce_replica(address=stub.address, host="here", pid=1)
    try:
        answer = ask("/predict", {"text": "Which clause?"}).json()
        assert answer["prediction"] == f"ft:{main.trained_model_id}"
        _until(lambda: Prediction.objects.filter(door="shadow").exists())
        copy = Prediction.objects.get(door="shadow")
        assert (copy.output, copy.shadow_of, copy.deployment_id) == (
            "from the shadow",
            answer["request_id"],
            trial.pk,
        )
    finally:
        stub.stop()


@pytest.mark.django_db(transaction=True)
def test_a_shadow_that_fails_costs_nobody_anything(project, ask, beside, tmp_path) -> None:
    from serving_app.models import Prediction
    from serving_app.operations import announce_replica

    _, trial = beside()
    stub = StubReplica(f"unix:{tmp_path / 's.sock'}", fails=[f"ft:{trial.trained_model_id}"])
    announce_replica(address=stub.address, host="here", pid=1)
    try:
        assert ask("/predict", {"text": "Which clause?"}).status_code == 200
        _until(lambda: Prediction.objects.filter(door="shadow", status=500).exists())
    finally:
        stub.stop()


@pytest.mark.django_db(transaction=True)
def test_shadows_under_way_are_bounded(project, ask, beside, tmp_path) -> None:
    from serving_app.models import Prediction
    from serving_app.operations import announce_replica
    from serving_app.routing import MOST_SHADOWS

    _, trial = beside()
    stub = StubReplica(f"unix:{tmp_path / 's.sock'}", slow={f"ft:{trial.trained_model_id}": 3.0}, answer_seconds=0.0)
    announce_replica(address=stub.address, host="here", pid=1)
    try:
        began = time.monotonic()
        for number in range(MOST_SHADOWS + 6):
            assert ask("/predict", {"text": f"Question {number}"}).status_code == 200
        assert time.monotonic() - began < 3.0 * (MOST_SHADOWS + 6)
        _until(lambda: Prediction.objects.filter(door="shadow").exists(), 20)
        time.sleep(0.5)
        assert Prediction.objects.filter(door="shadow").count() <= MOST_SHADOWS + 6
        assert stub.told()["most_at_once"] <= MOST_SHADOWS + 1
    finally:
        stub.stop()


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_the_api_starts_compares_promotes_and_ends(client, api_key, actor, trained, db) -> None:
    from serving_app.operations import deploy_model

    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    main = deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
    two = trained("Two")
    url = f"/api/v1/deployments/{main.pk}/trial"
    post = {"content_type": "application/json", "headers": headers}
    assert client.get(f"{url}/comparison", headers=headers).status_code == 404
    begun = client.post(url, {"model": two.api_name, "role": "shadow", "percent": 50}, **post)
    assert (begun.status_code, begun.json()["role"], begun.json()["share_percent"]) == (201, "shadow", 50)
    told = client.get(f"{url}/comparison", headers=headers).json()
    assert (told["role"], told["equal_answers"]["n"], told["pairs"]) == ("shadow", 0, [])
    assert client.delete(url, headers=headers).json()["status"] == "retired"
    assert client.delete(url, headers=headers).status_code == 404
    client.post(url, {"model": two.api_name}, **post)
    assert client.post(f"{url}/promote", {}, **post).status_code == 409
    promoted = client.post(f"{url}/promote", SIGNED, **post).json()
    assert (promoted["model"], promoted["status"], promoted["role"]) == (two.api_name, "active", "main")
    assert client.post(url, {"model": "demo-base", "percent": 0}, **post).status_code == 422


def test_the_page_starts_shows_and_ends_a_trial(client_for, owner, project, actor, trained, db) -> None:
    from serving_app.operations import deploy_model
    from serving_app.queries import current_trial

    client = client_for(owner)
    address = f"/p/{project.slug}/use/trial"
    assert "No model was tried yet" in client.get(address).content.decode()
    deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
    two = trained("Two <b>")
    client.post(address, {"model": two.pk, "role": "shadow", "percent": "100"})
    trial = current_trial(project)
    _prediction(trial, "<i>Notice</i>", door="shadow", shadow_of=_prediction(trial, "x").request_id)
    page = client.get(address).content.decode()
    assert "Two &lt;b&gt;" in page
    assert "Sign off and put into use" in page
    client.post(f"{address}/{trial.pk}/end")
    assert current_trial(project) is None
