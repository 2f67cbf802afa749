"""One figure of the project over all its versions, and which of them may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.choices import SMALL_SAMPLE, VERDICT_TONES, MetricWords, VerdictKind, metric_words
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import overall_words
from evaluation_app.queries.report.words import value_words
from finetune_engine.evaluate.worth.reading import model_of, subject_key
from web_kit.svg_history import HistoryPoint, history
from web_kit.wording import NOTHING, number_words
from work_kit.choices import State

MOST_VERSIONS = 40  # drawn and listed, the newest of them
_FIELDS = (
    "id", "trained_model__name", "trained_model_id", "snapshot_id", "snapshot__sha256", "snapshot__number",
    "snapshot__dataset__name", "split", "case_limit", "cases", "created_at", "verdict", "headline", "overall_score",
    "report__models", "report__subject", "report__headline", "report__regressions", "report__overall_score", "report__n",
)  # fmt: skip


@dataclass(frozen=True)
class Version:
    """One finished evaluation. ``value`` None: this figure was not measured then. ``series`` counts the groups of
    versions that were asked the same cases, from 1."""

    evaluation_id: str
    model_id: str
    model_name: str
    data_name: str
    created_at: datetime
    verdict: str
    verdict_label: str
    tone: str
    n: int
    value: float | None
    ci_low: float | None
    ci_high: float | None
    words: str
    interval_words: str
    series: int
    overall_score: float | None
    cases_kept: tuple[int, int] | None

    @property
    def overall_words(self) -> str:
        """``74 of 100``; empty without an overall score."""
        return overall_words(self.overall_score)

    @property
    def is_small(self) -> bool:
        """Too few cases to say much."""
        return self.n < SMALL_SAMPLE


@dataclass(frozen=True)
class Series:
    """Versions that were asked the same cases; ``best`` is None while there is only one of them."""

    number: int
    name: str
    versions: list[Version]
    best: Version | None


@dataclass(frozen=True)
class History:
    """``versions`` oldest first; ``choices`` are the figures that can be shown, ``(metric, plain words)``."""

    metric: str
    words: MetricWords
    choices: list[tuple[str, str]]
    versions: list[Version]
    series: list[Series]

    @property
    def newest_first(self) -> list[Version]:
        """For the table."""
        return self.versions[::-1]

    def drawing(self, slug: str) -> SafeString:
        """The chart; its dots lead to the evaluations of the project with this slug."""
        drawn = [version for version in self.versions if version.value is not None]
        ends = [end for version in drawn for end in (version.value, version.ci_high) if end is not None]
        high = self.words.high if self.words.high is not None else max([*ends, self.words.low + 1.0]) * 1.05
        points = [
            HistoryPoint(
                value=version.value or 0.0,
                ci_low=version.ci_low,
                ci_high=version.ci_high,
                series=version.series - 1,
                href=reverse("evaluation:detail", args=[slug, version.evaluation_id]),
                label=f"{version.model_name}, {version.data_name}: {version.words} {version.interval_words}".strip(),
            )
            for version in drawn
        ]
        label = _("%(figure)s of each version, with its range") % {"figure": self.words.plain}
        is_share = self.words.unit == "share"
        x_name = _("newer versions →")
        return history(points, label=label, low=self.words.low, high=high, x_name=x_name, is_share=is_share)


def project_history(project: Project, metric: str = "") -> History:
    """The newest 40 finished evaluations. ``metric`` empty or unknown: the headline of the newest one. One query."""
    rows = Evaluation.objects.filter(project=project, work__state=State.SUCCEEDED).order_by("-id")
    found = list(rows.values(*_FIELDS)[:MOST_VERSIONS])[::-1]
    scores = [_subject_scores(row) for row in found]
    seen = list(dict.fromkeys(name for row in reversed(scores) for name in row))
    headline = next((name for row in reversed(found) if (name := _headline(row))), seen[0] if seen else "")
    chosen = metric if metric in seen else headline
    seen.sort(key=lambda name: name != headline)
    numbers: dict[tuple[Any, ...], int] = {}
    versions = []
    for row, mine in zip(found, scores, strict=True):
        number = numbers.setdefault(_same_cases(row), len(numbers) + 1)
        versions.append(_version(row, mine.get(chosen) or {}, metric_words(chosen), number))
    choices = [(name, str(metric_words(name).plain)) for name in seen]
    return History(
        chosen, metric_words(chosen), choices, versions, _series(versions, _is_higher_better(scores, chosen))
    )


def _same_cases(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["snapshot__sha256"] or row["snapshot_id"], row["split"], row["case_limit"]


def _headline(row: Mapping[str, Any]) -> str:
    return str(row["headline"] or row["report__headline"] or "")


def _subject_scores(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    report = {"subject": row["report__subject"], "models": row["report__models"]}
    model = model_of(report, subject_key(report))
    return {score["metric"]: score for score in model.get("scores") or () if score.get("value") is not None}


def _is_higher_better(scores: Sequence[Mapping[str, Mapping[str, Any]]], metric: str) -> bool:
    return next((bool(row[metric].get("higher_is_better", True)) for row in scores if metric in row), True)


def _version(row: Mapping[str, Any], score: Mapping[str, Any], words: MetricWords, number: int) -> Version:
    low, high = score.get("ci_low"), score.get("ci_high")
    interval = ""
    if low is not None and high is not None:
        interval = _("(%(low)s to %(high)s)") % {"low": value_words(low, words), "high": value_words(high, words)}
    kept = row["report__regressions"] or {}
    overall = row["overall_score"]
    if overall is None:
        overall = (row["report__overall_score"] or {}).get("value")
    return Version(
        evaluation_id=row["id"],
        model_id=row["trained_model_id"],
        model_name=row["trained_model__name"],
        data_name=_data_name(row),
        created_at=row["created_at"],
        verdict=row["verdict"],
        verdict_label=str(VerdictKind(row["verdict"]).label) if row["verdict"] else "",
        tone=VERDICT_TONES.get(row["verdict"], "idle"),
        n=int(row["cases"] or row["report__n"] or 0),
        value=score.get("value"),
        ci_low=low,
        ci_high=high,
        words=value_words(score.get("value"), words) if score else NOTHING,
        interval_words=interval,
        series=number,
        overall_score=overall,
        cases_kept=(int(kept["passed"]), int(kept["n"])) if kept.get("n") else None,
    )


def _data_name(row: Mapping[str, Any]) -> str:
    name = _("%(data)s, snapshot %(number)s") % {
        "data": row["snapshot__dataset__name"],
        "number": row["snapshot__number"],
    }
    if row["split"] != "test":
        name += _(", validation rows")
    if row["case_limit"]:
        name += _(", at most %(n)s cases") % {"n": number_words(row["case_limit"])}
    return name


def _series(versions: Sequence[Version], is_higher_better: bool) -> list[Series]:
    found: dict[int, list[Version]] = {}
    for version in versions:
        found.setdefault(version.series, []).append(version)
    series = []
    for number, mine in found.items():
        measured = [version for version in mine if version.value is not None]
        best = (
            (max if is_higher_better else min)(measured, key=lambda version: version.value or 0.0) if measured else None
        )
        series.append(Series(number, mine[0].data_name, mine, best if len(measured) > 1 else None))
    return series
