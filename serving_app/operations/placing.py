"""What every act on deployments shares: the lock, the row that comes, the row that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from accounts_app.models import Project
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation
from evaluation_app.operations.sign_off import sign_off_model
from evaluation_app.queries import is_signed_off
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState, ReplicaState
from serving_app.models import Deployment
from serving_app.operations.checking import SETTINGS
from serving_app.queries import fresh_replicas, has_model
from serving_app.queries.calibrations import newest_curve

AS_JUDGED = 0.0
"""The temperature at which evaluations ask."""


@dataclass(frozen=True)
class Choice:
    """A model to put somewhere, and how: exactly one of ``trained_model`` and ``base_model_key``."""

    trained_model: TrainedModel | None = None
    base_model_key: str = ""
    backend: str = BackendKind.AUTO
    alias: str = PRODUCTION
    role: str = DeploymentRole.MAIN
    share_percent: int = 100
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """What callers see."""
        return self.trained_model.api_name if self.trained_model is not None else self.base_model_key

    def is_of(self, deployment: Deployment | None) -> bool:
        """Whether this deployment is the same model on the same backend."""
        return deployment is not None and (
            deployment.trained_model_id,
            deployment.base_model_key,
            deployment.backend,
        ) == (self.trained_model.pk if self.trained_model else None, self.base_model_key, self.backend)


def lock(project: Project) -> None:
    """Let acts on a project's deployments follow each other: where nothing is in use there is no row that could hold back
    the second of two presses."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def live(project: Project, alias: str, state: str, *, main: bool = True) -> Deployment | None:
    """The main deployment in this state, or the one on trial; call with the project locked."""
    rows = Deployment.objects.filter(project=project, alias=alias, state=state)
    rows = rows.filter(role=DeploymentRole.MAIN) if main else rows.exclude(role=DeploymentRole.MAIN)
    return rows.select_related("project", "previous", "trained_model").order_by("-id").first()


def demand_signature(actor: Actor, model: TrainedModel | None, evaluation: Evaluation | None, statement: str) -> None:
    """Sign now, or raise UserError (409) when no owner has. A base model needs nobody's signature."""
    if model is None:
        return
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


def carried_settings(before: Deployment | None, model: TrainedModel | None) -> dict[str, Any]:
    """The settings that the next deployment takes over. A threshold of confidence means nothing for a model that was not
    calibrated, so it stays behind. The first trained model answers at temperature 0: so it was judged, and of that its
    confidence speaks."""
    settings = {} if before is None else {name: getattr(before, name) for name in SETTINGS}
    is_first_trained = model is not None and (before is None or bool(before.base_model_key))
    if is_first_trained and settings.get("default_temperature") is None:
        settings["default_temperature"] = AS_JUDGED
    if settings.get("ask_human_below") is not None and newest_curve(model.pk if model else None) is None:
        settings["ask_human_below"] = None
    return settings


def is_worth_waiting(current: Deployment | None) -> bool:
    """Whether somebody would notice a model that has to be loaded first: something answers now, on servers that run."""
    return current is not None and has_model(current) and bool(servers())


def place(
    actor: Actor, choice: Choice, *, replaces: Deployment | None, previous: Deployment | None, waits: bool
) -> Deployment:
    """Make the row: ``preparing`` when it ``waits`` for the servers, else in use at once in the place of ``replaces``."""
    if not waits and replaces is not None:
        leave(replaces)
    new = Deployment.objects.create(
        project=actor.project,
        alias=choice.alias,
        role=choice.role,
        share_percent=choice.share_percent,
        trained_model=choice.trained_model,
        base_model_key=choice.base_model_key,
        model_name=choice.model_name,
        backend=choice.backend,
        state=DeploymentState.PREPARING if waits else DeploymentState.ACTIVE,
        activated_at=None if waits else timezone.now(),
        previous=previous,
        created_by=actor.user,
        created_by_key=actor.api_key,
        **choice.settings,
    )
    if not waits and choice.role == DeploymentRole.MAIN:
        end_trial_of_same_model(new)
    return new


def leave(deployment: Deployment) -> bool:
    """Take it out of use, or off its way there. False when somebody was first."""
    return bool(
        Deployment.objects.filter(
            pk=deployment.pk, state__in=(DeploymentState.ACTIVE, DeploymentState.PREPARING)
        ).update(state=DeploymentState.RETIRED, retired_at=timezone.now())
    )


def end_trial_of_same_model(row: Deployment) -> None:
    """What answers everything now is on trial no more."""
    for state in (DeploymentState.ACTIVE, DeploymentState.PREPARING):
        trial = live(row.project, row.alias, state, main=False)
        if trial is not None and trial.model_name == row.model_name:
            leave(trial)


def servers() -> list[str]:
    """The addresses of the model servers that take questions."""
    return [replica.address for replica in fresh_replicas() if replica.state == ReplicaState.READY]
