"""The way of a deployment from ``preparing`` to ``active`` or ``failed``. Whoever prepares holds a claim; what is written
without one that still holds is not written."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.operations import record
from serving_app.choices import DeploymentRole, DeploymentState
from serving_app.models import Deployment
from serving_app.operations.placing import end_trial_of_same_model, leave, live, lock
from serving_app.queries import has_model

CLAIM_SECONDS = 20.0
"""How long a claim holds without a sign of life."""


def claim_preparation(*, deployment_id: str) -> str | None:
    """The claim's token; None when the deployment is not preparing any more, or somebody else is at it."""
    with transaction.atomic():
        row = _preparing(deployment_id)
        if row is None or float(row.progress.get("claimed_until", 0.0)) > time.time():
            return None
        token = secrets.token_hex(8)
        _write(row, row.progress | {"claim": token, "claimed_until": time.time() + CLAIM_SECONDS})
    return token


def note_progress(*, deployment_id: str, token: str, ready: Sequence[str], replicas: int, loading: str = "") -> bool:
    """``ready`` of ``replicas`` have loaded it, and ``loading`` (an address) is at it; keeps the claim. False when the
    deployment was called off, or the claim was lost."""
    with transaction.atomic():
        row = _claimed(deployment_id, token)
        if row is None:
            return False
        told = {"ready": list(ready), "replicas": replicas, "loading": loading}
        _write(row, row.progress | told | {"claimed_until": time.time() + CLAIM_SECONDS})
    return True


def activate_deployment(*, deployment_id: str, token: str, checked: dict[str, Any]) -> bool:
    """It answers from now on, and the one before it retires in the same transaction. ``checked`` is what was found out while
    preparing. False when it was called off, its model was deleted, or the claim was lost."""
    with transaction.atomic():
        known = Deployment.objects.select_related("project").filter(pk=deployment_id).first()
        if known is None:
            return False
        lock(known.project)  # before the row, as every act does: the other way round two would block each other
        row = _claimed(deployment_id, token)
        if row is None:
            return False
        if not has_model(row):
            _fail(row, "Its model was deleted meanwhile.")
            return False
        is_main = row.role == DeploymentRole.MAIN
        before = live(row.project, row.alias, DeploymentState.ACTIVE, main=is_main)
        if before is not None:
            leave(before)
        Deployment.objects.filter(pk=row.pk).update(
            state=DeploymentState.ACTIVE, activated_at=timezone.now(), progress=checked, problem=""
        )
        if is_main:
            end_trial_of_same_model(row)
        data = {"model": row.model_name, "before": before.model_name if before else None}
        record(actor=None, project=row.project, act="deployment.activate", subject=f"deployment {row.pk}", data=data)
    return True


def fail_deployment(*, deployment_id: str, token: str, problem: str) -> bool:
    """It could not be loaded; what was in use stays. False when the claim was lost."""
    with transaction.atomic():
        row = _claimed(deployment_id, token)
        if row is None:
            return False
        _fail(row, problem)
    return True


def note_check(*, deployment: Deployment, checked: dict[str, Any], problem: str = "") -> None:
    """What the model servers said of a deployment that came into use without waiting for them."""
    Deployment.objects.filter(pk=deployment.pk, state=DeploymentState.ACTIVE).update(
        progress=checked, problem=problem[:300]
    )


def _fail(row: Deployment, problem: str) -> None:
    Deployment.objects.filter(pk=row.pk).update(
        state=DeploymentState.FAILED, problem=problem[:300], retired_at=timezone.now()
    )
    data = {"model": row.model_name, "problem": problem[:300]}
    record(actor=None, project=row.project, act="deployment.fail", subject=f"deployment {row.pk}", data=data)


def _preparing(deployment_id: str) -> Deployment | None:
    return (
        Deployment.objects.select_for_update(of=("self",))
        .select_related("project")
        .filter(pk=deployment_id, state=DeploymentState.PREPARING)
        .first()
    )


def _claimed(deployment_id: str, token: str) -> Deployment | None:
    row = _preparing(deployment_id)
    return row if row is not None and row.progress.get("claim") == token else None


def _write(row: Deployment, progress: dict[str, Any]) -> None:
    Deployment.objects.filter(pk=row.pk).update(progress=progress)
