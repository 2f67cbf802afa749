"""A second model beside the one in use: listening along, or answering a share of the questions."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from serving_app import queue
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState
from serving_app.models import Deployment
from serving_app.operations.deployments import checked_choice, deploy_model
from serving_app.operations.placing import (
    carried_settings,
    demand_signature,
    is_worth_waiting,
    leave,
    live,
    lock,
    place,
)
from serving_app.queries import has_model


def start_trial(
    *,
    actor: Actor,
    trained_model: TrainedModel | None = None,
    base_model_key: str = "",
    role: str = DeploymentRole.SHADOW,
    percent: int = 100,
    alias: str = PRODUCTION,
    backend: str = BackendKind.AUTO,
    sign_off: str = "",
    evaluation: Evaluation | None = None,
) -> Deployment:
    """Try a model on real questions. ``shadow`` answers copies of ``percent`` of them for nobody to see; ``split`` answers
    ``percent`` of them itself, so an owner must have signed for it, as for deploying. The same model again with another
    role or share changes the trial that runs. Raises UserError when nothing is in use, for the model that is in use, while
    another model is on trial (409), and PermissionDenied for anybody but an owner."""
    actor.require(Act.OWN)
    choice = checked_choice(actor, trained_model, base_model_key, alias, backend)
    choice = replace(choice, role=_checked_role(role), share_percent=_checked_percent(role, percent))
    with transaction.atomic():
        lock(actor.project)
        main = live(actor.project, alias, DeploymentState.ACTIVE)
        if main is None or not has_model(main):
            raise UserError("nothing_in_use", _("Put a model into use first; then try another beside it."), status=409)
        if choice.is_of(main):
            raise UserError("model_in_use", _("This model is in use already. Choose another one."), "model", status=409)
        if role == DeploymentRole.SPLIT or sign_off.strip():
            demand_signature(actor, trained_model, evaluation, sign_off)
        running = _running(actor, alias)
        if running is not None and not choice.is_of(running):
            raise UserError("trial_runs", _("Another model is on trial. End that trial first."), "model", status=409)
        if running is None:
            choice = replace(choice, settings=carried_settings(main, trained_model))
            running = place(actor, choice, replaces=None, previous=None, waits=is_worth_waiting(main))
        else:
            Deployment.objects.filter(pk=running.pk).update(role=role, share_percent=choice.share_percent)
            running.refresh_from_db()
        data = {"model": running.model_name, "role": str(role), "percent": choice.share_percent}
        record(actor=actor, project=actor.project, act="trial.start", subject=f"deployment {running.pk}", data=data)
        queue.ring_for_preparing()
    return running


def end_trial(*, actor: Actor, trial: Deployment) -> Deployment:
    """The model on trial answers nothing more; the comparison stays. Ending twice changes nothing. Raises UserError for a
    deployment that is no trial."""
    actor.require(Act.OWN)
    _demand_trial(trial)
    with transaction.atomic():
        if leave(trial):
            data = {"model": trial.model_name}
            record(actor=actor, project=actor.project, act="trial.end", subject=f"deployment {trial.pk}", data=data)
    trial.refresh_from_db()
    return trial


def promote_trial(
    *, actor: Actor, trial: Deployment, sign_off: str = "", evaluation: Evaluation | None = None
) -> Deployment:
    """Put the model on trial into use, as ``deploy_model`` does and with the signature that it demands; the trial ends when
    the model answers everything. Raises UserError for a trial that has ended."""
    actor.require(Act.OWN)
    _demand_trial(trial)
    if trial.state != DeploymentState.ACTIVE or not has_model(trial):
        raise UserError("trial_over", _("This trial does not run. Reload the page and look again."), status=409)
    return deploy_model(
        actor=actor,
        trained_model=trial.trained_model,
        base_model_key=trial.base_model_key,
        alias=trial.alias,
        backend=trial.backend,
        sign_off=sign_off,
        evaluation=evaluation,
    )


def _running(actor: Actor, alias: str) -> Deployment | None:
    return live(actor.project, alias, DeploymentState.ACTIVE, main=False) or live(
        actor.project, alias, DeploymentState.PREPARING, main=False
    )


def _demand_trial(trial: Deployment) -> None:
    if trial.role == DeploymentRole.MAIN:
        raise UserError("not_a_trial", _("This deployment is no trial."), status=409)


def _checked_role(role: str) -> str:
    if role not in (DeploymentRole.SHADOW, DeploymentRole.SPLIT):
        raise UserError("invalid_value", _("Choose: shadow (listens along) or split (answers a share)."), "role")
    return role


def _checked_percent(role: str, percent: object) -> int:
    most = 100 if role == DeploymentRole.SHADOW else 99
    if isinstance(percent, bool) or not isinstance(percent, int) or not 1 <= percent <= most:
        raise UserError(
            "invalid_value", _("This must be a whole number from 1 to %(most)s.") % {"most": most}, "percent"
        )
    return percent
