"""Reads about answers that are told again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from accounts_app.models import Project
from finetune_engine.serve.semantic.report import JudgedPair, Share
from serving_app.choices import HitVerdict
from serving_app.models import ForgetNotice, SemanticEntry, SemanticServing, TrafficBucket
from web_kit.ids import first_id_at

OVERLAP = timedelta(seconds=5)
"""How far a look back reaches behind the one before it: rows become visible later than they were dated."""


@dataclass(frozen=True)
class KeptQuestion:
    """A question whose answer may be told again, with its stored vector."""

    entry_id: str
    project_id: str
    model_identity: str
    context_sha256: str
    embedder: str
    question: str
    vector: bytes


@dataclass(frozen=True)
class Forgotten:
    """Exact answers to drop: the one under ``key``, or behind ``request_id``, or with neither all of the project. ``notice_id``
    tells the second clearing of a project from the first."""

    notice_id: int
    project_id: str
    key: str
    request_id: str


@dataclass(frozen=True)
class News:
    """What happened to entries lately, in any process."""

    kept: list[KeptQuestion]
    gone: list[str]
    forgotten: list[Forgotten]


@dataclass(frozen=True)
class CacheFigures:
    """Questions of a project in a span of time, and how many of them were told from a cache."""

    requests: int
    exact_hits: int
    semantic_hits: int

    @property
    def misses(self) -> int:
        """Those that a model answered."""
        return self.requests - self.exact_hits - self.semantic_hits


_COLUMNS = ("id", "project_id", "model_identity", "context_sha256", "embedder", "question", "vector")


def live_entries() -> QuerySet[SemanticEntry]:
    """Entries that may be told."""
    return SemanticEntry.objects.filter(denied_at=None, expires_at__gt=timezone.now())


def kept_questions(project_id: str, model_identity: str, context_sha256: str) -> dict[str, list[KeptQuestion]]:
    """The questions of one place, by embedder."""
    found: dict[str, list[KeptQuestion]] = defaultdict(list)
    rows = live_entries().filter(project_id=project_id, model_identity=model_identity, context_sha256=context_sha256)
    for row in rows.values_list(*_COLUMNS):
        found[row[4]].append(_kept(row))
    return dict(found)


def cache_news(since: datetime) -> News:
    """What was kept, and what ceased to be told, from a little before ``since``. An entry is taken back by letting it
    end now, so that one short look along the ends finds whatever ended, was denied or was cleared."""
    now, since = timezone.now(), since - OVERLAP
    ended = SemanticEntry.objects.filter(expires_at__gt=since, expires_at__lte=now)
    kept = live_entries().filter(id__gt=first_id_at(since.timestamp()))
    notices = ForgetNotice.objects.filter(at__gt=since)
    return News(
        kept=[_kept(row) for row in kept.values_list(*_COLUMNS)],
        gone=list(ended.values_list("id", flat=True)),
        forgotten=[Forgotten(*row) for row in notices.values_list("id", "project_id", "key", "request_id")],
    )


def answer_to_tell(entry_id: str) -> dict[str, object] | None:
    """The answer of an entry, if it may still be told this very moment."""
    answer: dict[str, object] | None = live_entries().filter(pk=entry_id).values_list("answer", flat=True).first()
    return answer


def _kept(row: tuple[str, str, str, str, str, str, bytes]) -> KeptQuestion:
    return KeptQuestion(*row[:6], bytes(row[6]))


def cache_figures(project: Project, days: int) -> CacheFigures:
    """Of the last ``days``, the questions that listened along left out."""
    sums = TrafficBucket.objects.filter(
        project=project, is_shadow=False, start_at__gte=timezone.now() - timedelta(days=days)
    ).aggregate(
        requests=Sum("requests", default=0),
        exact=Sum("exact_hits", default=0),
        semantic=Sum("semantic_hits", default=0),
    )
    return CacheFigures(sums["requests"], sums["exact"], sums["semantic"])


def entries_of(project: Project) -> QuerySet[SemanticEntry]:
    """What is kept, denied entries included, newest first."""
    now = timezone.now()
    return (
        SemanticEntry.objects.filter(Q(denied_at__isnull=False) | Q(expires_at__gt=now), project=project)
        .defer("vector")
        .annotate(times=Count("servings"))
        .select_related("denied_by")
        .order_by("-id")
    )


def servings_of(project: Project) -> QuerySet[SemanticServing]:
    """Every time an answer was told again to a question that means the same, newest first."""
    return (
        SemanticServing.objects.filter(project=project)
        .select_related("entry", "judged_by")
        .defer("entry__vector")
        .order_by("-id")
    )


def false_hit_share(project: Project) -> Share:
    """Of the tellings that a person judged, those whose questions differ in meaning."""
    counts = (
        SemanticServing.objects.filter(project=project)
        .exclude(verdict="")
        .aggregate(judged=Count("id"), wrong=Count("id", filter=Q(verdict=HitVerdict.WRONG)))
    )
    return Share(counts["wrong"], counts["judged"])


def judged_servings(project: Project) -> list[JudgedPair]:
    """The project's own judged pairs, for the report of thresholds. All of them passed the guards."""
    rows = SemanticServing.objects.filter(project=project).exclude(verdict="")
    return [
        JudgedPair(similarity, verdict == HitVerdict.RIGHT)
        for similarity, verdict in rows.values_list("similarity", "verdict")
    ]


def kept_count(project: Project) -> int:
    """Entries that may be told now."""
    return live_entries().filter(project=project).count()
