"""Everything that changes deployments, replicas and the prediction log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation
from evaluation_app.operations.sign_off import sign_off_model
from evaluation_app.queries import is_signed_off
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import refuse_without_files
from serving_app import metrics
from serving_app.choices import PRODUCTION, DeploymentState, Verdict
from serving_app.models import Deployment, Prediction, Replica

MAX_CORRECTION = 100_000


def deploy_model(
    *,
    actor: Actor,
    trained_model: TrainedModel | None = None,
    base_model_key: str = "",
    alias: str = PRODUCTION,
    sign_off: str = "",
    evaluation: Evaluation | None = None,
) -> Deployment:
    """Let this model answer for the alias from now on; the one before it is kept for rolling back.

    Exactly one of ``trained_model`` and ``base_model_key`` names the model. A trained model must be signed off by an
    owner; ``sign_off`` (the owner's statement, resting on ``evaluation``) signs in the same act. Deploying what is in
    use already returns the deployment that is there. Raises UserError for another alias, a model of another project or
    one that nobody stands for (409), and PermissionDenied for anybody but an owner.
    """
    actor.require(Act.OWN)
    if alias != PRODUCTION:
        raise UserError("unknown_alias", f"There is one alias, {PRODUCTION!r}.", field="alias")
    if (trained_model is None) == (not base_model_key):
        raise UserError("model_missing", "Choose one model to deploy.", field="model")
    if trained_model is not None and trained_model.project_id != actor.project.pk:
        raise UserError("not_found", "There is no such model in this project.", field="model", status=404)
    if trained_model is not None:
        refuse_without_files(trained_model.remote_name)
    with transaction.atomic():
        current = _active(actor, alias)
        same = current is not None and (current.trained_model_id, current.base_model_key) == (
            trained_model.pk if trained_model else None,
            base_model_key,
        )
        if current is not None and same:
            return current
        if trained_model is not None:
            _demand_signature(actor, trained_model, evaluation, sign_off)
        return _replace(actor, alias, current, trained_model, base_model_key, previous=current, act="deployment.create")


def roll_back(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Return from this deployment to the one before it. Raises UserError when it is not in use any more, or when
    there is nothing to return to. A model that was in use needs no new signature: in an emergency the way back is open. The
    audit entry says whether anybody stands for it."""
    actor.require(Act.OWN)
    with transaction.atomic():
        current = _active(actor, deployment.alias)
        if current is None or current.pk != deployment.pk:
            raise UserError(
                "not_in_use", "This deployment is not in use any more. Reload the page and look again.", status=409
            )
        target = current.previous
        while target is not None and not _is_there(target):
            target = target.previous
        if target is None:
            raise UserError(
                "nothing_before",
                "There is no earlier model to return to. Deploy another one, or retire this.",
                status=409,
            )
        return _replace(
            actor,
            deployment.alias,
            current,
            target.trained_model,
            target.base_model_key,
            previous=target.previous,
            act="deployment.roll_back",
        )


def retire_deployment(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Nothing answers for the alias until a model is deployed again. Retiring twice changes nothing."""
    actor.require(Act.OWN)
    with transaction.atomic():
        if _retire(deployment):
            record(
                actor=actor,
                project=actor.project,
                act="deployment.retire",
                subject=f"deployment {deployment.pk}",
                data={"model": deployment.model_name},
            )
    deployment.refresh_from_db()
    return deployment


def give_feedback(*, actor: Actor, prediction: Prediction, verdict: str, correction: str = "") -> Prediction:
    """Keep what a person thinks of an answer and, if they say so, what it should have been. The newest counts."""
    actor.require(Act.PREDICT)
    if verdict not in Verdict.values:
        raise UserError("unknown_verdict", f"The verdict is {' or '.join(Verdict.values)}.", field="verdict")
    if len(correction) > MAX_CORRECTION:
        raise UserError("too_long", f"A correction has at most {MAX_CORRECTION:,} characters.", field="correction")
    with transaction.atomic():
        Prediction.objects.filter(pk=prediction.pk).update(
            verdict=verdict, correction=correction, feedback_by=actor.user, feedback_at=timezone.now()
        )
        record(
            actor=actor,
            project=actor.project,
            act="prediction.feedback",
            subject=f"prediction {prediction.request_id}",
            data={"verdict": verdict, "corrected": bool(correction)},
        )
    metrics.FEEDBACK.labels(verdict).inc()
    prediction.refresh_from_db()
    return prediction


def log_predictions(*, predictions: Sequence[Prediction]) -> None:
    """Append to the log. A request that is there already is not written again."""
    Prediction.objects.bulk_create(predictions, ignore_conflicts=True)


def announce_replica(*, address: str, host: str, pid: int) -> Replica:
    """A process begins to answer at this address; whoever was there before it is gone."""
    now = timezone.now()
    with transaction.atomic():
        Replica.objects.filter(address=address).delete()
        return Replica.objects.create(address=address, host=host, pid=pid, started_at=now, heartbeat_at=now)


def beat_replica(*, replica: Replica, loaded: Sequence[str]) -> bool:
    """The process is alive and holds these models. False when another process has taken its address."""
    now = timezone.now()
    with transaction.atomic():
        if Replica.objects.filter(pk=replica.pk).update(heartbeat_at=now, loaded=list(loaded)):
            return True
        if Replica.objects.filter(address=replica.address).exists():
            return False
        replica.heartbeat_at, replica.loaded = now, list(loaded)
        replica.save(force_insert=True)  # the row was lost (a restored backup): be found again
    return True


def dismiss_replica(*, replica: Replica) -> None:
    """The process ends in good order."""
    Replica.objects.filter(pk=replica.pk).delete()


def _demand_signature(actor: Actor, model: TrainedModel, evaluation: Evaluation | None, statement: str) -> None:
    if statement.strip():
        sign_off_model(actor=actor, trained_model=model, evaluation=evaluation, statement=statement)
    elif not is_signed_off(model):
        raise UserError(
            "sign_off_missing",
            "No owner has signed for this model yet. Read its report and sign on its page, or send 'sign_off' (why the "
            "model may be used) and 'evaluation' together with this call.",
            field="sign_off",
            status=409,
        )


def _active(actor: Actor, alias: str) -> Deployment | None:
    """What answers for the alias. The project is locked: where nothing is in use there is no row that could hold back the
    second of two presses."""
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    return (
        Deployment.objects.select_for_update(of=("self",))
        .select_related("previous", "trained_model")
        .filter(project=actor.project, alias=alias, state=DeploymentState.ACTIVE)
        .first()
    )


def _is_there(deployment: Deployment) -> bool:
    return deployment.trained_model_id is not None or bool(deployment.base_model_key)


def _retire(deployment: Deployment) -> bool:
    return bool(
        Deployment.objects.filter(pk=deployment.pk, state=DeploymentState.ACTIVE).update(
            state=DeploymentState.RETIRED, retired_at=timezone.now()
        )
    )


def _replace(
    actor: Actor,
    alias: str,
    current: Deployment | None,
    trained_model: TrainedModel | None,
    base_model_key: str,
    *,
    previous: Deployment | None,
    act: str,
) -> Deployment:
    if current is not None:
        _retire(current)
    new = Deployment.objects.create(
        project=actor.project,
        alias=alias,
        trained_model=trained_model,
        base_model_key="" if trained_model else base_model_key,
        model_name=trained_model.api_name if trained_model else base_model_key,
        previous=previous,
        created_by=actor.user,
        created_by_key=actor.api_key,
    )
    data: dict[str, Any] = {"model": new.model_name, "before": current.model_name if current else None}
    if trained_model is not None:
        data["is_signed_off"] = is_signed_off(trained_model)
    record(actor=actor, project=actor.project, act=act, subject=f"deployment {new.pk}", data=data)
    return new
