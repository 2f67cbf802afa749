"""Operations: how long a project keeps what ended trainings left, and cleaning up by hand or once a day."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from jobs_app.disk_parts import source_of
from jobs_app.models import Checkpoint, Retention
from jobs_app.operations import checkpoints
from jobs_app.queries.housekeeping import CHECKPOINTS, LOGS, size_of, spare_checkpoints
from work_kit.log_retention import forget_logs
from work_kit.stored_sizes import Size

log = logging.getLogger(__name__)

LONGEST_DAYS = 3650


def retention_of(project: Project) -> Retention:
    """The project's days; without a decision everything is kept for ever."""
    return Retention.objects.filter(project=project).first() or Retention(project=project)


def set_retention(*, actor: Actor, checkpoint_days: int | None, log_days: int | None) -> Retention:
    """Decide how many days after a job's end its checkpoints and logs are kept; None keeps for ever. Raises UserError."""
    for field, days in (("checkpoint_days", checkpoint_days), ("log_days", log_days)):
        if days is not None and not 1 <= days <= LONGEST_DAYS:
            raise UserError(
                "bad_days",
                _("Give a number of days between 1 and %(most)s, or leave it empty to keep for ever.")
                % {"most": LONGEST_DAYS},
                field=field,
            )
    with transaction.atomic():
        decided: dict[str, int | None] = {"checkpoint_days": checkpoint_days, "log_days": log_days}
        row, _is_new = Retention.objects.update_or_create(project=actor.project, defaults=decided)
        record(actor=actor, project=actor.project, act="retention.set", subject="retention", data=decided)
    return row


def clean_up(*, actor: Actor, kind: str) -> Size:
    """Remove now what can go of this kind (``checkpoints``, ``logs``, or one that an app above keeps), however old. Returns
    what went."""
    if (source := source_of(kind)) is not None:
        freed = source.clean(actor.project)
        if freed.items:
            _tell(actor.project, actor, kind, 0, freed)
        return freed
    if kind not in {CHECKPOINTS, LOGS}:
        raise UserError(
            "unknown_kind", _("Nothing of this kind is cleaned up here; choose one of the list."), field="kind"
        )
    return _clean(actor.project, kind, days=0, actor=actor)


def apply_retention() -> None:
    """Once a day: what every project has decided. One project's trouble does not keep the others waiting."""
    for row in Retention.objects.select_related("project"):
        for kind, days in ((CHECKPOINTS, row.checkpoint_days), (LOGS, row.log_days)):
            if days is None:
                continue
            try:
                _clean(row.project, kind, days=days, actor=None)
            except Exception as problem:
                if not checkpoints.is_storage_problem(problem):
                    raise
                log.warning("project %s: %s not cleaned up (%s); tomorrow again", row.project_id, kind, problem)


def _clean(project: Project, kind: str, *, days: int, actor: Actor | None) -> Size:
    moment = timezone.now() - timedelta(days=days)
    if kind == LOGS:
        freed = forget_logs(project, ended_before=moment)
        if freed.items:
            _tell(project, actor, kind, days, freed)
        return freed
    spare = spare_checkpoints(project, ended_before=moment)
    if not spare:
        return Size()
    sizes = {row.pk: size_of([row]) for row in spare}  # the storage is asked before anything is locked
    with transaction.atomic():
        # Only rows that are still spare once they are locked: somebody may make a model of one at this moment.
        held = {row.pk for row in Checkpoint.objects.select_for_update().filter(pk__in=sizes).order_by("pk")}
        gone = [row for row in spare_checkpoints(project, ended_before=moment) if row.pk in held]
        freed = sum((sizes[row.pk] for row in gone), Size())
        if gone:
            prefixes = [row.storage_prefix for row in gone]
            Checkpoint.objects.filter(pk__in=[row.pk for row in gone]).delete()
            _tell(project, actor, kind, days, freed)
            transaction.on_commit(lambda: checkpoints.discard(prefixes), robust=True)
    return freed


def _tell(project: Project, actor: Actor | None, kind: str, days: int, freed: Size) -> None:
    data = {"items": freed.items, "bytes": freed.size, "days": days}
    record(actor=actor, project=project, act=f"retention.clean.{kind}", subject=kind, data=data)
