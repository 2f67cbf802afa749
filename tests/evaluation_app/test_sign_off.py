"""Signing for a model, and taking it back."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from accounts_app.models import AuditEntry
from accounts_app.permissions import project_for
from evaluation_app.models import SignOff
from evaluation_app.operations import sign_off_model, withdraw_sign_off
from evaluation_app.operations.sign_off import STANDING
from evaluation_app.queries import is_signed_off
from evaluation_app.queries.sign_offs import report_sha256, sign_offs_of_model
from finetune_engine.errors import UserError
from tests.evaluation_app.full_report import full_report
from tests.evaluation_app.test_report_files import finished

pytestmark = pytest.mark.django_db


def test_a_signature_keeps_who_what_and_the_fingerprint_of_the_report(actor, owner, done, trained_model) -> None:
    signed = sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    assert (signed.signed_by, signed.verdict, signed.report_sha256) == (owner, "ship", report_sha256(done))
    assert is_signed_off(trained_model)
    entry = AuditEntry.objects.get(act="model.sign_off")
    assert entry.data["report_sha256"] == signed.report_sha256


def test_signing_the_same_report_twice_is_one_signature(actor, done, trained_model) -> None:
    first = sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    assert sign_off_model(actor=actor, trained_model=trained_model, evaluation=done) == first


def test_another_owner_or_other_words_are_a_signature_of_their_own(
    actor, trainer, project, done, trained_model
) -> None:
    from accounts_app.models import Membership

    first = sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    said = "Only for first drafts that a lawyer reads."
    assert sign_off_model(actor=actor, trained_model=trained_model, evaluation=done, statement=said).statement == said
    Membership.objects.filter(project=project, user=trainer).update(role="owner")
    other = project_for(trainer, project.slug, "own")
    second = sign_off_model(actor=other, trained_model=trained_model, evaluation=done)
    assert (second.signed_by, first.signed_by) == (trainer, actor.user)


@pytest.mark.parametrize("verdict", ["do_not_ship", "more_cases"])
@pytest.mark.parametrize("statement", ["", "because", STANDING])
def test_against_the_verdict_a_reason_is_needed(actor, evaluation, trained_model, report, verdict, statement) -> None:
    judged = finished(evaluation, report | {"verdict": {"kind": verdict, "sentence": "x"}})
    with pytest.raises(UserError, match="write down why") as refused:
        sign_off_model(actor=actor, trained_model=trained_model, evaluation=judged, statement=statement)
    assert refused.value.field == "statement"
    reason = "Used only as a first draft that a lawyer rewrites."
    assert (
        sign_off_model(actor=actor, trained_model=trained_model, evaluation=judged, statement=reason).verdict == verdict
    )


def test_a_broken_rule_needs_a_reason_even_where_the_verdict_is_good(actor, evaluation, trained_model) -> None:
    with pytest.raises(UserError, match="Never names a price"):
        sign_off_model(actor=actor, trained_model=trained_model, evaluation=finished(evaluation, full_report()))


def test_without_any_evaluation_a_reason_is_needed(actor, trained_model) -> None:
    with pytest.raises(UserError, match="No evaluation stands behind"):
        sign_off_model(actor=actor, trained_model=trained_model)
    assert sign_off_model(actor=actor, trained_model=trained_model, statement="Tried by hand; good enough.")


def test_an_unfinished_evaluation_cannot_be_signed(actor, evaluation, trained_model) -> None:
    with pytest.raises(UserError, match="no report yet"):
        sign_off_model(actor=actor, trained_model=trained_model, evaluation=evaluation, statement="x" * 30)


def test_an_evaluation_of_another_model_is_refused(actor, done, trained_model) -> None:
    from jobs_app.models import TrainedModel

    other = TrainedModel.objects.create(
        project=trained_model.project,
        training_job=trained_model.training_job,
        checkpoint_step=5,
        name="Other",
        base_model_key="demo-base",
        api_name="ft:other",
    )
    with pytest.raises(UserError, match="about another model"):
        sign_off_model(actor=actor, trained_model=other, evaluation=done)


def test_only_an_owner_signs_and_withdraws(project, trainer, actor, done, trained_model) -> None:
    someone = project_for(trainer, project.slug, "view")
    with pytest.raises(PermissionDenied):
        sign_off_model(actor=someone, trained_model=trained_model, evaluation=done)
    signed = sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    with pytest.raises(PermissionDenied):
        withdraw_sign_off(actor=someone, sign_off=signed)


def test_a_withdrawn_signature_stays_on_record(actor, done, trained_model) -> None:
    signed = sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    withdraw_sign_off(actor=actor, sign_off=signed, reason="A rule was wrong.")
    withdraw_sign_off(actor=actor, sign_off=signed)
    assert not is_signed_off(trained_model)
    assert [card.is_valid for card in sign_offs_of_model(trained_model)] == [False]
    assert AuditEntry.objects.filter(act="model.withdraw_sign_off").count() == 1


def test_a_signature_under_another_state_of_the_report_is_marked(actor, done, trained_model) -> None:
    sign_off_model(actor=actor, trained_model=trained_model, evaluation=done)
    (card,) = sign_offs_of_model(trained_model, "0" * 64)
    assert not card.is_current


def test_the_page_shows_the_checklist_and_signs(client_for, owner, project, done, trained_model) -> None:
    client = client_for(owner)
    url = f"/p/{project.slug}/results/models/{trained_model.pk}/sign-off"
    text = client.get(f"{url}?evaluation={done.pk}").content.decode()
    for words in ("Use it", "nobody looked", "No acceptance rule", "Sign and put into use"):
        assert words in text
    assert client.post(url, {"evaluation": done.pk}).status_code == 422
    answer = client.post(url, {"evaluation": done.pk, "sign_off": "on"})
    assert answer["Location"] == f"/p/{project.slug}/results/{done.pk}"
    assert SignOff.objects.get().statement == STANDING


def test_signing_and_putting_into_use_are_one_press(client_for, owner, project, done, trained_model) -> None:
    from serving_app.queries import current_deployment

    body = {"model": trained_model.pk, "evaluation": done.pk, "sign_off": "on", "statement": ""}
    client_for(owner).post(f"/p/{project.slug}/use/deploy", body)
    assert current_deployment(project).trained_model == trained_model
    assert SignOff.objects.get().evaluation == done


def test_a_reason_that_is_missing_is_asked_for_on_the_page(client_for, owner, project, trained_model) -> None:
    url = f"/p/{project.slug}/results/models/{trained_model.pk}/sign-off"
    client = client_for(owner)
    answer = client.post(url, {"sign_off": "on"})
    assert answer.status_code == 422
    assert "write down the reason" in answer.content.decode()
    short = client.post(url, {"sign_off": "on", "statement": "because"})
    assert "No evaluation stands behind this model" in short.content.decode()


def test_the_api_signs_lists_and_withdraws(client, api_key, done, trained_model) -> None:
    headers = {"Authorization": f"Bearer {api_key('admin')}"}

    def post(path, body):
        return client.post(f"/api/v1/sign-offs{path}", body, content_type="application/json", headers=headers)

    made = post("", {"model": trained_model.api_name, "evaluation": done.pk})
    assert made.status_code == 201, made.content
    listed = client.get("/api/v1/sign-offs", {"model": trained_model.pk}, headers=headers).json()["data"]
    assert [one["id"] for one in listed] == [made.json()["id"]]
    assert post(f"/{listed[0]['id']}/withdraw", {"reason": "wrong"}).json()["is_valid"] is False
    assert post("", {"model": "nonsense"}).status_code == 404
