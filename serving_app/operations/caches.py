"""Answers that are told again: keeping them, noting each time, judging, denying and forgetting.

Several processes tell answers, and each learns of a change by looking at what ended lately and at the notices
(``queries.caches.cache_news``). So no entry that might be told is deleted at once: it is made to end now, and swept up
later.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from serving_app.choices import HitVerdict
from serving_app.masking import masked_text
from serving_app.models import Deployment, ForgetNotice, Prediction, SemanticEntry, SemanticServing
from serving_app.operations.deployments import change_settings
from serving_app.queries.caches import KeptQuestion, live_entries
from web_kit.ids import new_id

ENTRIES = settings.SEMANTIC_CACHE_ENTRIES
"""Questions kept of each model in a project."""
DAYS = settings.SEMANTIC_CACHE_DAYS
SWEPT_AFTER = timedelta(minutes=1)
NOTICES_SWEPT_AFTER = SWEPT_AFTER + timedelta(seconds=settings.ANSWER_CACHE_SECONDS)
"""A process that nobody asked for a while must still find the notice while its exact answers live."""


@dataclass(frozen=True)
class NewEntry:
    """A question and its answer, to be kept. ``vector`` as ``finetune_engine.serve.semantic.packed`` makes it."""

    project_id: str
    model_identity: str
    context_sha256: str
    embedder: str
    question: str
    vector: bytes
    answer: Mapping[str, Any]
    request_id: str


def keep_semantic_answer(*, entry: NewEntry) -> KeptQuestion | None:
    """Keep an answer for questions that mean the same. None when it is kept already, or when a person said of this
    question that its answer must not be told again, or that another's did not fit it."""
    place = {
        name: getattr(entry, name)
        for name in ("project_id", "model_identity", "context_sha256", "embedder", "question")
    }
    same = SemanticEntry.objects.filter(**place)
    if same.filter(Q(denied_at__isnull=False) | Q(expires_at__gt=timezone.now())).exists():
        return None
    called_wrong = ForgetNotice.objects.filter(project_id=entry.project_id, request_id=entry.request_id)
    if entry.request_id and called_wrong.exists():
        return None  # while its embedding was being made
    wrong = SemanticServing.objects.filter(project_id=entry.project_id, verdict=HitVerdict.WRONG)
    asked = masked_text(entry.project_id, entry.question)
    if asked and wrong.filter(asked=asked).exists():
        return None
    made = SemanticEntry.objects.create(
        **place,
        vector=entry.vector,
        answer=dict(entry.answer),
        request_id=entry.request_id,
        expires_at=timezone.now() + timedelta(days=DAYS),
    )
    return KeptQuestion(entry_id=made.pk, vector=entry.vector, **place)


def trim_entries(*, project_id: str, model_identity: str) -> int:
    """Let those end that were served least recently, down to the most that a model may keep. How many ended now."""
    mine = live_entries().filter(project_id=project_id, model_identity=model_identity)
    surplus = mine.count() - ENTRIES
    if surplus <= 0:
        return 0
    oldest = mine.order_by(Coalesce("last_served_at", "created_at")).values_list("pk", flat=True)[:surplus]
    return SemanticEntry.objects.filter(pk__in=list(oldest)).update(expires_at=timezone.now())


def sweep_up() -> None:
    """Delete the entries that ended a while ago, and the notices that nobody needs any more."""
    now = timezone.now()
    SemanticEntry.objects.filter(expires_at__lt=now - SWEPT_AFTER, denied_at=None).delete()
    ForgetNotice.objects.filter(at__lt=now - NOTICES_SWEPT_AFTER).delete()


def record_serving(
    *, project_id: str, entry_id: str, request_id: str, asked: str, kept_question: str, similarity: float
) -> None:
    """Note that an entry was told to this question. Told twice under one id counts once."""
    now = timezone.now()
    with transaction.atomic():
        SemanticEntry.objects.filter(pk=entry_id).update(last_served_at=now)
        SemanticServing.objects.bulk_create(
            [
                SemanticServing(
                    project_id=project_id,
                    entry_id=entry_id,
                    request_id=request_id,
                    asked=masked_text(project_id, asked),
                    kept_question=masked_text(project_id, kept_question),
                    similarity=similarity,
                    at=now,
                )
            ],
            ignore_conflicts=True,
        )


def forget_answer(*, request_id: str) -> int:
    """An answer was called wrong: the kept answers behind it are not told again, exact or semantic. How many semantic
    ones there were; 0 as well for a request that is not in the log."""
    project_id = Prediction.objects.filter(request_id=request_id).values_list("project_id", flat=True).first()
    if project_id is None:
        return 0
    with transaction.atomic():
        _notice(project_id, request_id=request_id)
        behind = SemanticEntry.objects.filter(
            Q(request_id=request_id) | Q(servings__request_id=request_id), project_id=project_id, denied_at=None
        )
        return _deny(list(behind.values_list("pk", flat=True).distinct()))


def announce_forgotten(*, project_id: str, key: str) -> None:
    """One process found the exact answer behind a bad word; the others are told its key."""
    _notice(project_id, key=key)


def judge_serving(*, actor: Actor, serving: SemanticServing, verdict: str) -> SemanticServing:
    """Say whether the two questions mean the same. Of a different meaning: the entry is denied. An empty verdict
    takes the word back (a denial stays)."""
    actor.require(Act.REVIEW)
    if verdict not in ("", *HitVerdict.values):
        raise UserError("unknown_verdict", f"The verdict is {' or '.join(HitVerdict.values)}.", field="verdict")
    now = timezone.now()
    with transaction.atomic():
        SemanticServing.objects.filter(pk=serving.pk).update(
            verdict=verdict, judged_by=actor.user if verdict else None, judged_at=now if verdict else None
        )
        if verdict == HitVerdict.WRONG and serving.entry_id:
            _deny([serving.entry_id], actor)
        record(
            actor=actor,
            project=actor.project,
            act="semantic_serving.judge",
            subject=f"request {serving.request_id}",
            data={"verdict": verdict},
        )
    serving.refresh_from_db()
    return serving


def deny_entry(*, actor: Actor, entry: SemanticEntry) -> SemanticEntry:
    """Never tell this answer again, nor keep one for its question. Denying twice changes nothing."""
    actor.require(Act.OWN)
    with transaction.atomic():
        if _deny([entry.pk], actor):
            _record(actor, entry, "semantic_entry.deny")
    entry.refresh_from_db()
    return entry


def allow_entry(*, actor: Actor, entry: SemanticEntry) -> SemanticEntry:
    """Take a denial back: the answer may be told again. It gets a new id, by which every process finds it."""
    actor.require(Act.OWN)
    with transaction.atomic():
        locked = SemanticEntry.objects.select_for_update().get(pk=entry.pk)
        if locked.denied_at is None:
            return locked
        old, now = locked.pk, timezone.now()
        locked.pk, locked.denied_at, locked.denied_by = new_id(), None, None
        locked.created_at, locked.expires_at = now, now + timedelta(days=DAYS)
        locked.save(force_insert=True)
        SemanticServing.objects.filter(entry_id=old).update(entry_id=locked.pk)
        SemanticEntry.objects.filter(pk=old).delete()
        _record(actor, locked, "semantic_entry.allow")
        transaction.on_commit(_ring)
    return locked


def clear_caches(*, actor: Actor) -> int:
    """Forget every kept answer of the project, exact and semantic; denials stay. How many semantic ones there were."""
    actor.require(Act.OWN)
    with transaction.atomic():
        _notice(actor.project.pk)
        count = live_entries().filter(project=actor.project).update(expires_at=timezone.now())
        record(
            actor=actor,
            project=actor.project,
            act="caches.clear",
            subject=f"project {actor.project.slug}",
            data={"entries": count},
        )
    return count


def change_caches(
    *, actor: Actor, deployment: Deployment, uses_exact_cache: bool, uses_semantic_cache: bool, threshold: float | None
) -> Deployment:
    """Switch the caches of a deployment on or off. ``threshold`` None means the default. Raises UserError for one
    outside 0.5 to 1."""
    return change_settings(
        actor=actor,
        deployment=deployment,
        uses_exact_cache=uses_exact_cache,
        uses_semantic_cache=uses_semantic_cache,
        semantic_threshold=threshold,
    )


def _ring() -> None:
    """This process need not wait for its next look, if it tells answers at all."""
    if (caching := sys.modules.get("serving_app.caching")) is not None:
        caching.ring()


def _deny(entry_ids: list[str], actor: Actor | None = None) -> int:
    now = timezone.now()
    transaction.on_commit(_ring)
    named = SemanticEntry.objects.filter(
        pk__in=entry_ids,
        **{name: OuterRef(name) for name in ("project_id", "model_identity", "context_sha256", "question")},
    )
    # Two processes may have kept the same question at the same moment.
    every = SemanticEntry.objects.filter(Exists(named), denied_at=None).values_list("pk", flat=True)
    return SemanticEntry.objects.filter(pk__in=list(every)).update(
        denied_at=now, denied_by=actor.user if actor else None, expires_at=now
    )


def _notice(project_id: str, *, key: str = "", request_id: str = "") -> None:
    transaction.on_commit(_ring)
    ForgetNotice.objects.create(project_id=project_id, key=key, request_id=request_id)


def _record(actor: Actor, entry: SemanticEntry, act: str) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"entry {entry.pk}", data={"request": entry.request_id})
