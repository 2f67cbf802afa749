"""What a project's prediction log keeps, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from serving_app import masking
from serving_app.models import LogPolicy, Prediction, SemanticServing

LONGEST_DAYS = 3_650
BATCH = 1_000
MOST_AT_ONCE = 20_000


def set_log_policy(*, actor: Actor, keep_days: int | None, masks_personal_data: bool, keeps_texts: bool) -> LogPolicy:
    """Decide about the log of the project. ``keep_days`` None keeps rows for ever. Holds for what is asked from now on (a second
    later in other processes); what is there already loses nothing but its age. Raises UserError for a number of days
    outside 1 to ``LONGEST_DAYS``."""
    actor.require(Act.OWN)
    if keep_days is not None and not 1 <= keep_days <= LONGEST_DAYS:
        raise UserError(
            "bad_keep_days",
            _("Keep the log between 1 and %(most)s days, or leave the field empty to keep it for ever.")
            % {"most": f"{LONGEST_DAYS:,}"},
            field="keep_days",
        )
    told = {"keep_days": keep_days, "masks_personal_data": masks_personal_data, "keeps_texts": keeps_texts}
    with transaction.atomic():
        policy, _is_new = LogPolicy.objects.update_or_create(
            project=actor.project, defaults=told | {"updated_by": actor.user, "updated_at": timezone.now()}
        )
        record(actor=actor, project=actor.project, act="log_policy.set", subject="prediction log", data=told)
    masking.forget_rules()
    return policy


def prune_log() -> int:
    """Delete rows older than their project keeps them, in batches, so that writers wait for none of it; returns how many. Counts
    (``TrafficBucket``) and copies under feedback stay. At most ``MOST_AT_ONCE`` a call: the next call goes on."""
    gone = 0
    policies = dict(LogPolicy.objects.values_list("project_id", "keep_days"))
    default = LogPolicy().keep_days
    for project_id in Project.objects.values_list("pk", flat=True):
        days = policies.get(project_id, default)
        for rows in _texts_of(project_id):
            while days is not None and gone < MOST_AT_ONCE:
                count = _delete_batch(rows, days)
                gone += count
                if count < BATCH:
                    break
    return gone


def _texts_of(project_id: str) -> tuple[QuerySet[Any], ...]:
    """What the age of a log holds for: its rows, and the questions beside answers from the cache that nobody judged."""
    servings = SemanticServing.objects.filter(project=project_id, verdict="")
    return Prediction.objects.filter(project=project_id), servings


def _delete_batch(rows: QuerySet[Any], days: int) -> int:
    old = rows.filter(at__lt=timezone.now() - timedelta(days=days)).order_by("at").values_list("pk", flat=True)
    ids = list(old[:BATCH])
    if ids:
        rows.model._default_manager.filter(pk__in=ids).delete()
    return len(ids)


def record_log_export(*, actor: Actor, form: str, filters: dict[str, str]) -> None:
    """The audit entry of a download of the log. A text that was searched for is not repeated there."""
    told = {name: value for name, value in filters.items() if value and name != "q"}
    record(
        actor=actor,
        project=actor.project,
        act="prediction.export",
        subject="prediction log",
        data={"form": form, "filters": told, "searched": bool(filters.get("q"))},
    )
