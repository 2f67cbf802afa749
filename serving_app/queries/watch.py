"""How a model in use does over time: read from five-minute counts, never from the log itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db.models import Count, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import Project
from finetune_engine.errors import UserError
from serving_app.choices import DeploymentRole, DeploymentState, ReplicaState, Verdict
from serving_app.histograms import CONFIDENCE_EDGES, LATENCY_EDGES, added, quantile
from serving_app.models import Alert, Deployment, Feedback, Replica, TrafficBucket
from serving_app.queries.deployments import model_label
from serving_app.queries.replicas import fresh_replicas

BUCKET = timedelta(minutes=5)
LONGEST = timedelta(days=92)
MOST_STEPS = 60
MOST_VERDICTS = 50_000
_STEPS_MINUTES = (5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880)
_SUMS = (
    "requests", "refused", "failed", "left", "exact_hits", "semantic_hits", "needs_human", "prompt_tokens",
    "completion_tokens", "latency_sum", "confidence_sum",
)  # fmt: skip
_HISTOGRAMS = ("latency", "first_token", "confidence")


@dataclass(frozen=True)
class Span:
    """``since`` (included) to ``until`` in steps of ``step``, all on the borders of five-minute buckets."""

    since: datetime
    until: datetime
    step: timedelta

    @property
    def starts(self) -> list[datetime]:
        """When each step begins."""
        count = -((self.since - self.until) // self.step)
        return [self.since + self.step * number for number in range(count)]


@dataclass
class Figures:
    """Counts of some time; histograms over the edges of ``serving_app.histograms``. ``left`` are callers that went before the
    end, ``latency_sum`` seconds of answers with status 200."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    exact_hits: int = 0
    semantic_hits: int = 0
    needs_human: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_sum: float = 0.0
    confidence_sum: float = 0.0
    latency: list[int] = field(default_factory=list)
    first_token: list[int] = field(default_factory=list)
    confidence: list[int] = field(default_factory=list)
    good: int = 0
    bad: int = 0

    @classmethod
    def of(cls, buckets: Sequence[tuple[Any, ...]]) -> Figures:
        """Many buckets as one: ``_SUMS`` and then ``_HISTOGRAMS`` as JSON texts, column by column because a month has tens of
        thousands."""
        columns = list(zip(*buckets, strict=True))
        found = cls(**{name: sum(column) for name, column in zip(_SUMS, columns, strict=False)})
        for name, texts in zip(_HISTOGRAMS, columns[len(_SUMS) :], strict=True):
            lists = [one for one in orjson.loads(f"[{','.join(texts)}]") if one]
            setattr(found, name, list(map(sum, zip(*lists, strict=True))))
        return found

    def take(self, other: Figures) -> None:
        """Add other figures."""
        for name in (*_SUMS, "good", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            setattr(self, name, added(getattr(self, name), getattr(other, name)))

    @property
    def answered(self) -> int:
        """Questions that got an answer."""
        return max(0, self.requests - self.refused - self.failed - self.left)

    @property
    def half_within(self) -> float | None:
        """Seconds within which half of the answers come; None without any."""
        return quantile(self.latency, LATENCY_EDGES, 0.5)

    @property
    def most_within(self) -> float | None:
        """Seconds within which 95 of 100 answers come."""
        return quantile(self.latency, LATENCY_EDGES, 0.95)

    @property
    def mean_confidence(self) -> float | None:
        """The mean of 0..1; None where nothing is known of it."""
        known = sum(self.confidence)
        return self.confidence_sum / known if known else None

    @property
    def human_share(self) -> float | None:
        """Of the answers, those for a person."""
        return self.needs_human / self.answered if self.answered else None

    @property
    def hit_share(self) -> float | None:
        """Of the answers, those from a cache."""
        return (self.exact_hits + self.semantic_hits) / self.answered if self.answered else None

    @property
    def failed_share(self) -> float | None:
        """Of the questions, those that the server could not answer."""
        return self.failed / self.requests if self.requests else None


CONFIDENCE_MIDDLES = tuple(
    (low + high) / 2 for low, high in zip((0.0, *CONFIDENCE_EDGES), (*CONFIDENCE_EDGES, 1.0), strict=True)
)


@dataclass(frozen=True)
class Change:
    """A deployment that came into use at ``at``. ``model_name`` is what programs call its model, ``label`` what people do."""

    at: datetime
    model_name: str
    label: str


@dataclass(frozen=True)
class Watch:
    """A span of a project: the whole and its steps. ``models`` are the names that were asked in the span, without those of
    questions refused before their model was known; ``by_deployment`` are the figures by the id of a deployment ("" for none)."""

    span: Span
    model: str
    models: list[str]
    whole: Figures
    steps: list[Figures]
    changes: list[Change]
    open_alerts: list[Alert]
    by_deployment: dict[str, Figures]


def span_of(since: datetime, until: datetime) -> Span:
    """From one moment to another in at most ``MOST_STEPS`` steps. Raises UserError for an end before the beginning or more than
    ``LONGEST``."""
    if until <= since:
        raise UserError("bad_span", _("The end must come after the beginning."), field="to")
    if until - since > LONGEST:
        raise UserError("bad_span", _("At most %(n)s days can be shown at once.") % {"n": LONGEST.days}, field="from")
    minutes = (until - since).total_seconds() / 60
    step = timedelta(minutes=next(one for one in _STEPS_MINUTES if minutes / one <= MOST_STEPS))
    return Span(_floor(since, BUCKET), _floor(until - timedelta(microseconds=1), BUCKET) + BUCKET, step)


def _floor(moment: datetime, step: timedelta) -> datetime:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return start + (moment - start) // step * step


def watch_of(project: Project, span: Span, model: str = "") -> Watch:
    """What happened in the span, of one model where its name is given. Four queries, whatever the log holds. Answers that
    listen along for nobody (shadows) are left out."""
    whole, steps = Figures(), [Figures() for _start in span.starts]
    names: set[str] = set()
    groups: dict[tuple[int, str], list[tuple[Any, ...]]] = {}
    rows = TrafficBucket.objects.filter(project=project, start_at__gte=span.since, start_at__lt=span.until)
    for start_at, name, reference, *bucket in _buckets(rows, "start_at", "model_name", "deployment_ref"):
        names.add(name)
        if not model or name == model:
            groups.setdefault(((start_at - span.since) // span.step, reference), []).append(tuple(bucket))
    by_deployment: dict[str, Figures] = {}
    for (step, reference), buckets in groups.items():
        figures = Figures.of(buckets)
        for one in (whole, steps[step], by_deployment.setdefault(reference, Figures())):
            one.take(figures)
    for verdict, at in _verdicts(project, span, model):
        name = "good" if verdict == Verdict.GOOD else "bad"
        for figures in (whole, steps[(at - span.since) // span.step]):
            setattr(figures, name, getattr(figures, name) + 1)
    alerts = list(Alert.objects.filter(project=project, closed_at=None).select_related("rule").order_by("opened_at"))
    return Watch(span, model, sorted(names - {""}), whole, steps, changes_of(project, span), alerts, by_deployment)


def _buckets(rows: QuerySet[TrafficBucket], *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows' ``names``, sums and histograms (as JSON texts). Shadows are left out."""
    texts = {f"{name}_text": Cast(name, TextField()) for name in _HISTOGRAMS}
    found = rows.filter(is_shadow=False).annotate(**texts).values_list(*names, *_SUMS, *texts)
    yield from found.iterator(chunk_size=2_000)


def _verdicts(project: Project, span: Span, model: str) -> list[tuple[str, datetime]]:
    rows = Feedback.objects.filter(project=project, at__gte=span.since, at__lt=span.until)
    if model:
        rows = rows.filter(model_name=model)
    return list(rows.order_by("-id").values_list("verdict", "at")[:MOST_VERDICTS])


def changes_of(project: Project, span: Span) -> list[Change]:
    """Deployments that came into use in the span, the first first."""
    rows = Deployment.objects.filter(project=project, role=DeploymentRole.MAIN).exclude(
        state__in=[DeploymentState.PREPARING, DeploymentState.FAILED]
    )
    rows = rows.select_related("trained_model").order_by("-id")[:200]
    found = [Change(row.activated_at or row.created_at, row.model_name, model_label(row)) for row in rows]
    return sorted((one for one in found if span.since <= one.at < span.until), key=lambda one: one.at)


def recent_figures(project: Project, minutes: int, *, deployment_id: str = "") -> Figures:
    """The last ``minutes``, the running five minutes included; of one deployment where its id is given."""
    since = _floor(timezone.now() - timedelta(minutes=minutes), BUCKET)
    rows = TrafficBucket.objects.filter(project=project, start_at__gte=since)
    if deployment_id:
        rows = rows.filter(deployment_ref=deployment_id)
    buckets = list(_buckets(rows))
    return Figures.of(buckets) if buckets else Figures()


def verdict_counts(project: Project, minutes: int, *, deployment_id: str | None = None) -> tuple[int, int]:
    """Good and bad verdicts of the last ``minutes``."""
    rows = Feedback.objects.filter(project=project, at__gte=timezone.now() - timedelta(minutes=minutes))
    if deployment_id:
        rows = rows.filter(deployment=deployment_id)
    counts = dict(rows.values_list("verdict").annotate(count=Count("id")).order_by())
    return counts.get(Verdict.GOOD, 0), counts.get(Verdict.BAD, 0)


def replica_counts() -> dict[str, int]:
    """Model servers by state; ``lost`` have shown no sign of life for a while."""
    counts = dict.fromkeys([*ReplicaState.values, "lost"], 0)
    fresh = {replica.pk for replica in fresh_replicas()}
    for pk, state in Replica.objects.values_list("pk", "state"):
        counts[state if pk in fresh else "lost"] += 1
    return counts


def deployment_counts() -> dict[str, int]:
    """Deployments of the house by state."""
    counts = dict.fromkeys(DeploymentState.values, 0)
    counts.update(Deployment.objects.values_list("state").annotate(count=Count("id")).order_by())
    return counts


def open_alert_count() -> int:
    """Alerts of the house that are open."""
    return Alert.objects.filter(closed_at=None).count()
