"""What people add to reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import ReportAssumptions
from finetune_engine.evaluate.worth.assumptions import Assumptions, assumptions_of


def keep_assumptions(*, actor: Actor, values: Mapping[str, Any]) -> Assumptions:
    """Store what the work costs today; all reports of the project follow. ``values`` as ``assumptions_of`` reads them,
    the whole list: what is not named has its default. Raises UserError naming the field, and PermissionDenied without
    the right to train."""
    actor.require(Act.TRAIN)
    given = assumptions_of(values)
    with transaction.atomic():
        ReportAssumptions.objects.update_or_create(
            project=actor.project,
            defaults={"values": given.as_dict(), "updated_by": actor.user, "updated_at": timezone.now()},
        )
        record(
            actor=actor,
            project=actor.project,
            act="report.assumptions",
            subject=f"project {actor.project.pk}",
            data=given.as_dict(),
        )
    return given
