"""Putting models into use, going back, taking them out."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from accounts_app.models import AuditEntry
from accounts_app.permissions import project_for
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db


@pytest.fixture
def deploy(actor):
    from serving_app.operations import deploy_model

    signed = {"sign_off": "Tried by hand; good enough."}
    return lambda model, **kwargs: deploy_model(actor=actor, trained_model=model, **(signed | kwargs))


def _current(project):
    from serving_app.queries import current_deployment

    return current_deployment(project)


def test_the_newest_deployment_answers_and_the_one_before_is_kept(project, trained, deploy) -> None:
    one, two = trained("One"), trained("Two")
    first = deploy(one)
    second = deploy(two)
    first.refresh_from_db()
    assert (first.state, second.state) == ("retired", "active")
    assert first.retired_at is not None
    assert second.previous == first
    assert _current(project) == second


def test_deploying_what_is_in_use_changes_nothing(trained, deploy) -> None:
    model = trained()
    assert deploy(model) == deploy(model)
    assert AuditEntry.objects.filter(act="deployment.create").count() == 1


def test_rolling_back_twice_goes_back_two_models(project, actor, trained, deploy) -> None:
    from serving_app.operations import roll_back

    one, two, three = trained("One"), trained("Two"), trained("Three")
    for model in (one, two, three):
        deploy(model)
    back = roll_back(actor=actor, deployment=_current(project))
    assert back.trained_model == two
    back = roll_back(actor=actor, deployment=back)
    assert back.trained_model == one
    with pytest.raises(UserError, match="no earlier model"):
        roll_back(actor=actor, deployment=back)
    assert _current(project) == back


def test_rolling_back_passes_over_a_model_that_was_deleted(project, actor, trained, deploy) -> None:
    from serving_app.operations import roll_back

    one, two, three = trained("One"), trained("Two"), trained("Three")
    for model in (one, two, three):
        deploy(model)
    two.delete()
    assert roll_back(actor=actor, deployment=_current(project)).trained_model == one


def test_a_deployment_that_is_not_in_use_cannot_be_rolled_back(actor, trained, deploy) -> None:
    from serving_app.operations import roll_back

    old = deploy(trained("One"))
    deploy(trained("Two"))
    with pytest.raises(UserError, match="not in use any more"):
        roll_back(actor=actor, deployment=old)


def test_retiring_leaves_nothing_in_use(project, actor, trained, deploy) -> None:
    from serving_app.operations import retire_deployment

    deployment = deploy(trained())
    retire_deployment(actor=actor, deployment=deployment)
    retire_deployment(actor=actor, deployment=deployment)
    assert _current(project) is None
    assert AuditEntry.objects.filter(act="deployment.retire").count() == 1


def test_only_an_owner_deploys(project, trainer, trained) -> None:
    from serving_app.operations import deploy_model

    with pytest.raises(PermissionDenied):
        deploy_model(actor=project_for(trainer, project.slug, "view"), trained_model=trained())


def test_another_projects_model_is_refused(actor, trained, outsider, deploy) -> None:
    from accounts_app.models import Project

    with pytest.raises(UserError) as error:
        deploy(trained("Theirs", of=Project.objects.get(memberships__user=outsider)))
    assert error.value.status == 404


def test_the_api_deploys_rolls_back_and_retires(client, project, trained, api_key) -> None:
    one, two = trained("One"), trained("Two")
    headers = {"Authorization": f"Bearer {api_key('admin')}"}

    def post(path, body=None):
        return client.post(f"/api/v1/deployments{path}", body or {}, content_type="application/json", headers=headers)

    first = post("", {"model": one.api_name, "sign_off": "Tried by hand; good enough."})
    assert first.status_code == 201
    second = post("", {"model": two.pk, "sign_off": "Tried by hand; good enough."}).json()
    assert second["model"] == two.api_name
    back = post(f"/{second['id']}/rollback").json()
    assert back["model"] == one.api_name
    assert post(f"/{back['id']}/retire").json()["status"] == "retired"
    listed = client.get("/api/v1/deployments", headers=headers).json()["data"]
    assert [entry["status"] for entry in listed] == ["retired"] * 3
    assert post("", {"model": "nonsense"}).status_code == 404
    assert post(f"/{'0' * 26}/rollback").status_code == 404


def test_a_model_that_nobody_stands_for_is_not_put_into_use(project, trained, deploy) -> None:
    with pytest.raises(UserError, match="No owner has signed") as refused:
        deploy(trained(), sign_off="")
    assert (refused.value.code, refused.value.status, refused.value.field) == ("sign_off_missing", 409, "sign_off")
    assert _current(project) is None


def test_a_signature_given_beforehand_is_enough(project, actor, trained, deploy) -> None:
    from evaluation_app.operations import sign_off_model

    model = trained()
    sign_off_model(actor=actor, trained_model=model, statement="Tried by hand; good enough.")
    assert deploy(model, sign_off="") == _current(project)


def test_a_signature_that_was_taken_back_is_none(actor, trained, deploy) -> None:
    from evaluation_app.operations import sign_off_model, withdraw_sign_off

    model = trained()
    signed = sign_off_model(actor=actor, trained_model=model, statement="Tried by hand; good enough.")
    withdraw_sign_off(actor=actor, sign_off=signed, reason="It was not.")
    with pytest.raises(UserError, match="No owner has signed"):
        deploy(model, sign_off="")


def test_rolling_back_to_a_model_that_was_in_use_needs_no_new_signature(project, actor, trained, deploy) -> None:
    from evaluation_app.models import SignOff
    from evaluation_app.operations import withdraw_sign_off
    from serving_app.operations import roll_back

    one = trained("One")
    deploy(one)
    deploy(trained("Two"))
    withdraw_sign_off(actor=actor, sign_off=SignOff.objects.get(trained_model=one))
    assert roll_back(actor=actor, deployment=_current(project)).trained_model == one
    assert AuditEntry.objects.get(act="deployment.roll_back").data["is_signed_off"] is False


def test_the_page_says_when_nobody_stands_for_what_is_in_use(
    client_for, owner, project, actor, trained, deploy
) -> None:
    from evaluation_app.models import SignOff
    from evaluation_app.operations import withdraw_sign_off

    model = trained("One")
    deploy(model)
    address, words = f"/p/{project.slug}/use/", "No owner stands for this model at present."
    assert words not in client_for(owner).get(address).content.decode()
    withdraw_sign_off(actor=actor, sign_off=SignOff.objects.get(trained_model=model))
    assert words in client_for(owner).get(address).content.decode()


def test_a_base_model_that_does_not_exist_is_not_put_into_use(client_for, owner, project) -> None:
    from serving_app.models import Deployment

    asked = {"base_model": "no-such-model"}
    answer = client_for(owner).post(f"/p/{project.slug}/use/deploy", asked)
    assert answer.status_code == 404
    assert not Deployment.objects.exists()


def test_a_base_model_needs_no_signature(project, actor) -> None:
    from serving_app.operations import deploy_model

    assert deploy_model(actor=actor, base_model_key="demo-base") == _current(project)


def test_the_api_refuses_an_unsigned_model_with_the_way_out(client, trained, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    body = {"model": trained().api_name}
    answer = client.post("/api/v1/deployments", body, content_type="application/json", headers=headers)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "sign_off_missing"
    assert "'sign_off'" in answer.json()["error"]["message"]


@pytest.mark.django_db(transaction=True)
def test_a_model_that_comes_into_use_and_one_that_is_called_off_do_not_block_each_other(trained, deploy, actor) -> None:
    """Both take the project first. The other way round, one of them would be ended by PostgreSQL."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from serving_app.models import Deployment
    from serving_app.operations import preparing

    deploy(trained("One"))
    coming = Deployment.objects.create(
        project=actor.project, trained_model=trained("Two"), model_name="two", state="preparing"
    )
    token = preparing.claim_preparation(deployment_id=coming.pk)
    with CaptureQueriesContext(connection) as queries:
        assert preparing.activate_deployment(deployment_id=coming.pk, token=token, checked={})
    if connection.vendor == "postgresql":
        locks = [query["sql"] for query in queries if "FOR " in query["sql"] and "UPDATE" in query["sql"]]
        assert "accounts_project" in locks[0].split("FROM")[1]
        assert "_deployment" in locks[1].split("FROM")[1]
    else:
        asked = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
        assert 'FROM "accounts_project"' in asked[1]


def test_calling_off_what_came_into_use_meanwhile_takes_nothing_out_of_use(project, actor, trained, deploy) -> None:
    from serving_app.models import Deployment
    from serving_app.operations import retire_deployment

    seen = deploy(trained("One"))
    seen.state = "preparing"  # as it was when the button was drawn
    with pytest.raises(UserError, match="came into use"):
        retire_deployment(actor=actor, deployment=seen)
    assert Deployment.objects.get(pk=seen.pk).state == "active"


def test_the_page_offers_a_trial_only_where_there_is_another_model(client_for, owner, project, trained, deploy) -> None:
    deploy(trained("One"))
    page = client_for(owner).get(f"/p/{project.slug}/use/").content.decode()
    assert "Begin the trial" not in page
    trained("Two")
    assert "Begin the trial" in client_for(owner).get(f"/p/{project.slug}/use/").content.decode()


def test_a_trial_on_its_way_can_be_called_off_on_its_page(client_for, owner, project, actor, trained, deploy) -> None:
    from serving_app.models import Deployment
    from serving_app.operations import start_trial

    deploy(trained("One"))
    trial = start_trial(actor=actor, trained_model=trained("Two"))
    Deployment.objects.filter(pk=trial.pk).update(state="preparing")
    assert "Call it off" in client_for(owner).get(f"/p/{project.slug}/use/trial").content.decode()


def test_a_key_that_a_base_model_in_use_is_asked_with_is_not_deleted(project, actor) -> None:
    from jobs_app.choices import Provider
    from jobs_app.models import BaseModel, ProviderConnection
    from serving_app.models import Deployment
    from serving_app.queries import use_of_connection

    address = "http://127.0.0.1:9/v1"
    BaseModel.objects.create(
        key="theirs", name="Theirs", provider=Provider.ENDPOINT, location="theirs", base_url=address, is_enabled=True
    )
    connection = ProviderConnection.objects.create(
        project=project, name="Ours", base_url=address, secret="", created_by=actor.user
    )
    assert use_of_connection(connection) == ""
    Deployment.objects.create(project=project, base_model_key="theirs", model_name="theirs")
    assert "asked with this key" in use_of_connection(connection)
