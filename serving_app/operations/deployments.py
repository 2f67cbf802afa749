"""Putting models into use, back, and out of use, and changing how they answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import transaction

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation
from evaluation_app.queries import is_signed_off
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from serving_app import queue
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState
from serving_app.models import Deployment
from serving_app.operations.checking import checked_backend, checked_settings
from serving_app.operations.placing import (
    Choice,
    carried_settings,
    demand_signature,
    is_worth_waiting,
    leave,
    live,
    lock,
    place,
    servers,
)
from serving_app.queries import fresh_replicas, has_model, model_of
from serving_app.queries.served import served_base


def deploy_model(
    *,
    actor: Actor,
    trained_model: TrainedModel | None = None,
    base_model_key: str = "",
    alias: str = PRODUCTION,
    backend: str = BackendKind.AUTO,
    sign_off: str = "",
    evaluation: Evaluation | None = None,
) -> Deployment:
    """Let this model answer for the alias; the one before it is kept for rolling back.

    Exactly one of ``trained_model`` and ``base_model_key`` names the model. A trained model must be signed off by an
    owner; ``sign_off`` (the owner's statement, resting on ``evaluation``) signs in the same act. Where nothing was in use,
    or no model server runs, it is in use at once; otherwise it is ``preparing`` until the servers have loaded it, and the
    one before answers meanwhile. Deploying what is in use, or on its way, returns the deployment that is there. Raises
    UserError for another alias, a model of another project or one that nobody stands for (409), and PermissionDenied for
    anybody but an owner.
    """
    actor.require(Act.OWN)
    choice = checked_choice(actor, trained_model, base_model_key, alias, backend)
    with transaction.atomic():
        lock(actor.project)
        current = live(actor.project, alias, DeploymentState.ACTIVE)
        coming = live(actor.project, alias, DeploymentState.PREPARING)
        if (there := coming or current) is not None and choice.is_of(there):
            return there
        demand_signature(actor, trained_model, evaluation, sign_off)
        if coming is not None:
            leave(coming)
        if current is not None and choice.is_of(current):
            return current  # what was on its way is called off
        settings = carried_settings(current, trained_model)
        waits = is_worth_waiting(current)
        new = place(actor, replace(choice, settings=settings), replaces=current, previous=current, waits=waits)
        _record(actor, "deployment.create", new, current)
        queue.ring_for_preparing()
    return new


def roll_back(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Return from this deployment to the one before it: at once when every model server still has it in memory, otherwise
    as soon as they have loaded it. Raises UserError when it is not in use any more, or when there is nothing to return to. A
    model that was in use needs no new signature: in an emergency the way back is open. The audit entry says whether anybody
    stands for it."""
    actor.require(Act.OWN)
    with transaction.atomic():
        lock(actor.project)
        current = live(actor.project, deployment.alias, DeploymentState.ACTIVE)
        if current is None or current.pk != deployment.pk:
            raise UserError(
                "not_in_use", "This deployment is not in use any more. Reload the page and look again.", status=409
            )
        target = current.previous
        while target is not None and not has_model(target):
            target = target.previous
        if target is None:
            raise UserError(
                "nothing_before",
                "There is no earlier model to return to. Deploy another one, or retire this.",
                status=409,
            )
        choice = Choice(target.trained_model, target.base_model_key, target.backend, deployment.alias)
        coming = live(actor.project, deployment.alias, DeploymentState.PREPARING)
        if coming is not None and choice.is_of(coming):
            return coming
        if coming is not None:
            leave(coming)
        choice = replace(choice, settings=carried_settings(current, target.trained_model))
        waits = is_worth_waiting(current) and not _is_loaded_everywhere(target)
        new = place(actor, choice, replaces=current, previous=target.previous, waits=waits)
        _record(actor, "deployment.roll_back", new, current)
        queue.ring_for_preparing()
    return new


def retire_deployment(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Take it out of use: nothing answers for the alias until a model is deployed again. One that is still on its way is
    called off, and what is in use stays. Retiring twice changes nothing. Raises UserError (409) when what was to be called
    off has come into use meanwhile."""
    actor.require(Act.OWN)
    with transaction.atomic():
        lock(actor.project)  # a trial that begins just now must not be left over
        was_coming = deployment.state == DeploymentState.PREPARING
        deployment.refresh_from_db()
        if was_coming and deployment.state == DeploymentState.ACTIVE:
            raise UserError(
                "in_use_meanwhile", "It came into use just now. Roll back to return to the model before.", status=409
            )
        if leave(deployment):
            if deployment.role == DeploymentRole.MAIN and deployment.state == DeploymentState.ACTIVE:
                _end_trials(deployment)
            data = {"model": deployment.model_name}
            record(actor=actor, project=actor.project, act="deployment.retire", subject=_subject(deployment), data=data)
    deployment.refresh_from_db()
    return deployment


def change_settings(*, actor: Actor, deployment: Deployment, **changes: Any) -> Deployment:
    """Change how a deployment that is in use, on its way or on trial answers; the names are those of
    ``checking.SETTINGS``, None means the default. Raises UserError naming the field, or 409 for one that is no longer
    there, and PermissionDenied for anybody but an owner."""
    actor.require(Act.OWN)
    checked = checked_settings(changes)
    with transaction.atomic():
        lock(actor.project)
        deployment.refresh_from_db()
        if deployment.state not in (DeploymentState.ACTIVE, DeploymentState.PREPARING):
            raise UserError(
                "not_in_use", "This deployment is not in use any more. Reload the page and look again.", status=409
            )
        changed = {name: value for name, value in checked.items() if getattr(deployment, name) != value}
        if changed:
            Deployment.objects.filter(pk=deployment.pk).update(**changed)
            record(
                actor=actor,
                project=actor.project,
                act="deployment.settings",
                subject=_subject(deployment),
                data=changed,
            )
    deployment.refresh_from_db()
    return deployment


def checked_choice(
    actor: Actor, trained_model: TrainedModel | None, base_model_key: str, alias: str, backend: str
) -> Choice:
    """One model of this project, or a base model, on a backend that can run it. Raises UserError."""
    if alias != PRODUCTION:
        raise UserError("unknown_alias", f"There is one alias, {PRODUCTION!r}.", field="alias")
    if (trained_model is None) == (not base_model_key):
        raise UserError("model_missing", "Choose one model to deploy.", field="model")
    if trained_model is not None and trained_model.project_id != actor.project.pk:
        raise UserError("not_found", "There is no such model in this project.", field="model", status=404)
    if base_model_key:
        served_base(actor.project, base_model_key)
    backend = checked_backend(backend, trained_model, base_model_key)
    return Choice(trained_model, base_model_key, backend, alias)


def _is_loaded_everywhere(deployment: Deployment) -> bool:
    """Whether every model server that takes questions has it in memory: it was checked when it came into use."""
    addresses = set(servers())
    try:
        serving_id = model_of(deployment).serving_id
    except UserError:
        return False
    return all(serving_id in replica.loaded for replica in fresh_replicas() if replica.address in addresses)


def _end_trials(deployment: Deployment) -> None:
    for state in (DeploymentState.ACTIVE, DeploymentState.PREPARING):
        trial = live(deployment.project, deployment.alias, state, main=False)
        if trial is not None:
            leave(trial)


def _record(actor: Actor, act: str, new: Deployment, before: Deployment | None) -> None:
    data: dict[str, Any] = {"model": new.model_name, "before": before.model_name if before else None}
    if new.trained_model is not None:
        data["is_signed_off"] = is_signed_off(new.trained_model)
    record(actor=actor, project=actor.project, act=act, subject=_subject(new), data=data)


def _subject(deployment: Deployment) -> str:
    return f"deployment {deployment.pk}"
