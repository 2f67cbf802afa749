"""What people said of answers, counted: by reason, by week, by version; and what the newest version fixed and broke."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from accounts_app.models import Project
from evaluation_app.models import RegressionCase
from evaluation_app.queries.regressions import Outcome, outcomes_by_model, question_words
from evaluation_app.queries.rules import cases_of
from finetune_engine.evaluate.statistics.intervals import wilson
from jobs_app.models import TrainedModel
from serving_app.choices import Reason, Verdict
from serving_app.models import Feedback

WEEKS = 12
MOST_VERSIONS = 8
MOST_COUNTED = 20_000
"""Pieces of feedback that are counted, the newest of them."""
MOST_CASES = 500
MOST_CHANGED = 10


@dataclass(frozen=True)
class Week:
    """The verdicts of the seven days from ``start``, a Monday."""

    start: date
    good: int = 0
    bad: int = 0


@dataclass(frozen=True)
class VersionRate:
    """The verdicts on one version's answers. ``share`` (0..1) of them were good, with Wilson's 95 % interval."""

    model_name: str
    name: str
    good: int
    bad: int
    share: float
    low: float
    high: float

    @property
    def n(self) -> int:
        """How many verdicts there are."""
        return self.good + self.bad


@dataclass(frozen=True)
class ChangedCase:
    """A kept case that two versions answered differently."""

    case: RegressionCase
    question: str
    outcome: Outcome


@dataclass(frozen=True)
class Change:
    """The newest version that was judged, compared on the kept cases with the one made before it (None: there is none).

    ``compared`` cases were asked of both; ``n_fixed`` and ``n_broke`` count all of them, the lists hold the newest ten.
    """

    newest: str = ""
    before: str | None = None
    compared: int = 0
    n_fixed: int = 0
    n_broke: int = 0
    fixed: list[ChangedCase] = field(default_factory=list)
    broke: list[ChangedCase] = field(default_factory=list)


@dataclass(frozen=True)
class FeedbackFigures:
    """``reasons``: ``(value, label, count)`` of the last twelve weeks, most frequent first, the empty value for none given."""

    good: int
    bad: int
    reasons: list[tuple[str, str, int]]
    weeks: list[Week]
    versions: list[VersionRate]


def feedback_figures(project: Project) -> FeedbackFigures:
    """The counts. Three queries; the weeks and reasons of the newest 20,000 verdicts at most."""
    versions = _versions(project)
    this_week = _monday(timezone.localtime())
    since = this_week - timedelta(weeks=WEEKS - 1)
    rows = Feedback.objects.filter(project=project, at__date__gte=since - timedelta(days=1))
    good, bad, reasons = Counter[date](), Counter[date](), Counter[str]()
    for verdict, why, at in rows.order_by("-id").values_list("verdict", "reasons", "at")[:MOST_COUNTED]:
        week = _monday(timezone.localtime(at))
        if verdict == Verdict.GOOD:
            good[week] += 1
        else:
            bad[week] += 1
            reasons.update(why or [""])
    weeks = [since + timedelta(weeks=number) for number in range(WEEKS)]
    return FeedbackFigures(
        good=sum(good[week] for week in weeks),
        bad=sum(bad[week] for week in weeks),
        reasons=[(name, _reason(name), count) for name, count in reasons.most_common()],
        weeks=[Week(week, good[week], bad[week]) for week in weeks],
        versions=versions,
    )


def newest_change(project: Project) -> Change:
    """What the newest judged version fixed and broke, by the cases that must not be forgotten. Two queries."""
    cases = list(cases_of(project)[:MOST_CASES])
    outcomes = outcomes_by_model(project, cases)
    # By age of the version, not of its evaluation: judging an old one again does not make it the newest.
    judged = sorted({model_id for mine in outcomes.values() for model_id in mine})
    if not judged:
        return Change()
    newest = judged[-1]
    name = next(mine[newest].model_name for mine in outcomes.values() if newest in mine)
    if len(judged) == 1:
        return Change(name)
    before = judged[-2]
    fixed: list[ChangedCase] = []
    broke: list[ChangedCase] = []
    compared = 0
    for case in cases:
        now, then = outcomes[case.pk].get(newest), outcomes[case.pk].get(before)
        if now is None or then is None:
            continue
        compared += 1
        if now.passed != then.passed:
            (fixed if now.passed else broke).append(ChangedCase(case, question_words(case.messages), now))
    name_before = next(mine[before].model_name for mine in outcomes.values() if before in mine)
    return Change(name, name_before, compared, len(fixed), len(broke), fixed[:MOST_CHANGED], broke[:MOST_CHANGED])


def _versions(project: Project) -> list[VersionRate]:
    rows = (
        Feedback.objects.filter(project=project)
        .values("model_name")
        .annotate(good=Count("id", filter=Q(verdict="good")), bad=Count("id", filter=Q(verdict="bad")), last=Max("id"))
        .order_by("-last")[:MOST_VERSIONS]
    )
    found = list(rows)
    named = TrainedModel.objects.filter(project=project, api_name__in=[row["model_name"] for row in found])
    names = dict(named.values_list("api_name", "name"))
    return [_rate(row["model_name"], names.get(row["model_name"], ""), row["good"], row["bad"]) for row in found]


def _rate(model_name: str, name: str, good: int, bad: int) -> VersionRate:
    interval = wilson(good, good + bad)
    share = good / ((good + bad) or 1)
    return VersionRate(model_name, name or model_name, good, bad, share, interval.low, interval.high)


def _monday(moment: datetime) -> date:
    day = moment.date()
    return day - timedelta(days=day.weekday())


def _reason(name: str) -> str:
    return str(Reason(name).label) if name in Reason.values else ""
