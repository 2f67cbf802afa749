"""What an alert can watch: the figure's unit, its direction, a sensible threshold, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts_app.models import Project
from serving_app.choices import AlertKind
from serving_app.models import AlertRule
from serving_app.queries import current_deployment, fresh_replicas
from serving_app.queries.drift import newest_report
from serving_app.queries.watch import Figures, recent_figures, verdict_counts
from web_kit.wording import duration_words, number_words, percent_words

FEWEST_QUESTIONS = 20
FEWEST_VERDICTS = 5
DAY_MINUTES = 1_440


@dataclass(frozen=True)
class Reading:
    """A figure and how many questions (verdicts, reports) it rests on. ``value`` None: there is nothing to measure, so nothing is
    wrong either."""

    value: float | None
    count: int = 0
    fewest: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether so many cases can open an alert."""
        return self.value is not None and self.count >= self.fewest


@dataclass(frozen=True)
class Kind:
    """How a kind of alert is read. ``is_floor``: it is told when the figure falls below the threshold. It is over when the figure
    is back by ``slack`` of the threshold, so that one that hovers there is not told again and again."""

    unit: str
    threshold: float
    window_minutes: int
    read: Callable[[Project, int], Reading]
    sentence: object
    is_floor: bool = False
    slack: float = 0.1
    highest: float | None = None

    def is_past(self, value: float, threshold: float) -> bool:
        """Whether an alert opens."""
        return value < threshold if self.is_floor else value > threshold

    def is_back(self, value: float, threshold: float) -> bool:
        """Whether an open alert is over."""
        if self.is_floor:
            back = threshold * (1 + self.slack)
            # A tenth more may be more than there is: then half of what is left above the threshold.
            return value >= (min(back, max(threshold, (threshold + self.highest) / 2)) if self.highest else back)
        return value <= threshold * (1 - self.slack)


def _errors(project: Project, minutes: int) -> Reading:
    figures = recent_figures(project, minutes)
    return Reading(figures.failed_share, figures.requests, FEWEST_QUESTIONS)


def _latency(project: Project, minutes: int) -> Reading:
    figures = recent_figures(project, minutes)
    return Reading(figures.most_within, sum(figures.latency), FEWEST_QUESTIONS)


def _replicas(project: Project, minutes: int) -> Reading:
    if current_deployment(project) is None:
        return Reading(None)
    return Reading(float(len(fresh_replicas())))


def _confidence(project: Project, minutes: int) -> Reading:
    figures = recent_figures(project, minutes)
    return Reading(figures.mean_confidence, sum(figures.confidence), FEWEST_QUESTIONS)


def _people(project: Project, minutes: int) -> Reading:
    figures = recent_figures(project, minutes)
    return Reading(figures.human_share, figures.answered, FEWEST_QUESTIONS)


def _verdicts(project: Project, minutes: int) -> Reading:
    good, bad = verdict_counts(project, minutes)
    return Reading(bad / (good + bad) if good or bad else None, good + bad, FEWEST_VERDICTS)


def _drift(project: Project, minutes: int) -> Reading:
    report = newest_report(project)
    if report is None:
        return Reading(None)
    return Reading(float(sum(bool(one.get("is_over")) for one in report.findings)), report.questions)


def _tokens(project: Project, minutes: int) -> Reading:
    figures: Figures = recent_figures(project, DAY_MINUTES)
    return Reading(float(figures.prompt_tokens + figures.completion_tokens), figures.requests)


KINDS: dict[str, Kind] = {
    AlertKind.ERROR_RATE: Kind(
        "share", 0.05, 15, _errors, gettext_lazy("%(value)s of the questions failed (limit %(threshold)s).")
    ),
    AlertKind.LATENCY: Kind(
        "seconds", 10.0, 15, _latency, gettext_lazy("95 of 100 answers come within %(value)s (limit %(threshold)s).")
    ),
    AlertKind.NO_REPLICA: Kind(
        "count",
        1.0,
        5,
        _replicas,
        gettext_lazy("%(value)s model servers are running (at least %(threshold)s should)."),
        is_floor=True,
        slack=0.0,
    ),
    AlertKind.CONFIDENCE: Kind(
        "share",
        0.5,
        60,
        _confidence,
        gettext_lazy("The model is %(value)s sure on average (limit %(threshold)s)."),
        is_floor=True,
        highest=1.0,
    ),
    AlertKind.NEEDS_HUMAN: Kind(
        "share", 0.3, 60, _people, gettext_lazy("%(value)s of the answers wait for a person (limit %(threshold)s).")
    ),
    AlertKind.BAD_FEEDBACK: Kind(
        "share", 0.3, DAY_MINUTES, _verdicts, gettext_lazy("%(value)s of the verdicts are bad (limit %(threshold)s).")
    ),
    AlertKind.DRIFT: Kind(
        "count",
        0.0,
        DAY_MINUTES,
        _drift,
        gettext_lazy("The questions are unlike the training data in %(value)s respects (%(threshold)s are allowed)."),
        slack=0.0,
    ),
    AlertKind.TOKENS: Kind(
        "count", 5_000_000.0, DAY_MINUTES, _tokens, gettext_lazy("%(value)s tokens in a day (limit %(threshold)s).")
    ),
}
DEFAULTS = (
    AlertKind.ERROR_RATE,
    AlertKind.LATENCY,
    AlertKind.NO_REPLICA,
    AlertKind.BAD_FEEDBACK,
    AlertKind.DRIFT,
)
"""What is offered in one click."""


def sentence_of(rule: AlertRule, value: float) -> str:
    """What is the case, in words."""
    kind = KINDS[rule.kind]
    return str(kind.sentence) % {
        "value": words_of(value, kind.unit),
        "threshold": words_of(rule.threshold, kind.unit),
    }


def words_of(value: float, unit: str) -> str:
    """A figure of this unit in words."""
    if unit == "share":
        return percent_words(value)
    return duration_words(value) if unit == "seconds" else number_words(value)


def rule_words(rule: AlertRule) -> str:
    """The rule in words: when somebody is told."""
    kind = KINDS[rule.kind]
    words = {"what": AlertKind(rule.kind).label, "threshold": words_of(rule.threshold, kind.unit)}
    if rule.kind == AlertKind.DRIFT:
        return _("%(what)s: in more than %(threshold)s respects") % words
    over = _("%(what)s below %(threshold)s") if kind.is_floor else _("%(what)s over %(threshold)s")
    if rule.kind in (AlertKind.TOKENS, AlertKind.NO_REPLICA):
        return over % words
    return _("%(rule)s in %(window)s") % {"rule": over % words, "window": duration_words(rule.window_minutes * 60)}
