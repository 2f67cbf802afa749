"""What answers for an alias, what did before, what is on its way, and what is on trial."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts_app.models import Project
from jobs_app.models import ProviderConnection, TrainedModel
from jobs_app.queries.connections import access_to, remote_model
from serving_app.choices import PRODUCTION, DeploymentRole, DeploymentState
from serving_app.models import Deployment

LIVE = (DeploymentState.PREPARING, DeploymentState.ACTIVE)


def has_model(deployment: Deployment) -> bool:
    """False when its trained model was deleted."""
    return deployment.trained_model_id is not None or bool(deployment.base_model_key)


def current_deployment(project: Project, alias: str = PRODUCTION) -> Deployment | None:
    """What answers for the alias now; None when nothing does (or its model was deleted)."""
    found = _deployments(project, alias).filter(state=DeploymentState.ACTIVE, role=DeploymentRole.MAIN).first()
    return found if found is not None and has_model(found) else None


def current_trial(project: Project, alias: str = PRODUCTION) -> Deployment | None:
    """The model on trial beside what answers, or on its way there; None without one."""
    return _deployments(project, alias).filter(state__in=LIVE).exclude(role=DeploymentRole.MAIN).order_by("-id").first()


def coming_deployment(project: Project, alias: str = PRODUCTION) -> Deployment | None:
    """What the model servers are loading, to answer next; None when nothing is on its way."""
    return _deployments(project, alias).filter(state=DeploymentState.PREPARING, role=DeploymentRole.MAIN).first()


def deployments_of(project: Project) -> QuerySet[Deployment]:
    """All deployments, newest first."""
    return Deployment.objects.filter(project=project).select_related("trained_model", "created_by").order_by("-id")


def model_label(deployment: Deployment) -> str:
    """What people call its model."""
    return deployment.trained_model.name if deployment.trained_model is not None else deployment.model_name


def use_of_model(model: TrainedModel) -> str:
    """Where this trained model answers now, as a sentence with the way out; empty when nowhere."""
    live = Deployment.objects.filter(trained_model=model, state__in=LIVE).order_by("role").first()
    if live is None:
        return ""
    if live.role != DeploymentRole.MAIN:
        return "This model is on trial on the page Use. End the trial, then delete it."
    return (
        f"This model is deployed as {live.alias!r}. Retire the deployment or put another model there, then delete it."
    )


def use_of_connection(connection: ProviderConnection) -> str:
    """Which deployment asks a provider with this key, as a sentence with the way out; empty when none does."""
    live = Deployment.objects.filter(state__in=LIVE)
    bases = live.filter(project=connection.project_id).exclude(base_model_key="").select_related("project")
    is_asked = live.filter(trained_model__connection=connection).exists()
    if not is_asked and not any(_asks_with(row, connection) for row in bases):
        return ""
    return "A model that is in use is asked with this key. Put another model into use, then delete the key."


def _asks_with(deployment: Deployment, connection: ProviderConnection) -> bool:
    model = remote_model(deployment.base_model_key)
    access = access_to(model, deployment.project) if model is not None else None
    return access is not None and access.connection == connection


def _deployments(project: Project, alias: str) -> QuerySet[Deployment]:
    rows = Deployment.objects.filter(project=project, alias=alias)
    return rows.select_related("project", "trained_model__connection", "previous", "created_by")
