"""Several evaluations side by side: their figures, what was set differently, and what changed case by case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.choices import SMALL_SAMPLE, MetricWords, metric_words
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import EvaluationCard, evaluation_card
from evaluation_app.queries.paired import Change, Hindrance, Pairing, pairing
from evaluation_app.queries.report.words import value_words
from finetune_engine.errors import UserError
from finetune_engine.evaluate.statistics.intervals import Difference, Interval, holm
from finetune_engine.evaluate.statistics.unpaired import independent_difference
from finetune_engine.evaluate.worth.reading import against_key, model_of, subject_key
from web_kit.wording import NOTHING, number_words

FEWEST, MOST = 2, 6
_RUN_LEFT_OUT = {"seconds", "started_at", "ended_at", "host"}


@dataclass(frozen=True)
class Column:
    """One of the evaluations. ``number`` counts from 1; ``scores`` are its subject's by metric."""

    number: int
    evaluation: Evaluation
    card: EvaluationCard
    subject: str
    n: int
    scores: Mapping[str, Mapping[str, Any]]
    base: Mapping[str, Mapping[str, Any]]
    overall_score: float | None


@dataclass(frozen=True)
class CompareCell:
    """One figure of one evaluation; ``base`` is that of its model before training, None where unknown."""

    column: Column
    value: float | None
    ci_low: float | None
    ci_high: float | None
    words: str
    interval_words: str
    base: float | None
    base_words: str
    is_best: bool
    is_small: bool

    @property
    def label(self) -> str:
        """The drawing, read aloud."""
        return f"{self.column.subject}: {self.words} {self.interval_words}".strip()


@dataclass(frozen=True)
class CompareRow:
    """One figure of all evaluations, with the ends of its scale."""

    metric: str
    plain: str
    term: str
    is_headline: bool
    low: float
    high: float
    cells: list[CompareCell]


@dataclass(frozen=True)
class Pair:
    """A later column against the first. ``paired`` None: ``hindrance`` says why; ``unpaired`` None: they were asked the
    same cases, or an interval is missing. ``p_holm`` is corrected for the number of pairs."""

    first: Column
    second: Column
    words: MetricWords
    is_same: bool
    paired: Pairing | None
    p_holm: float | None
    unpaired: Difference | None
    hindrance: Hindrance | None

    @property
    def changes(self) -> list[tuple[list[Change], bool]]:
        """The cases lost (True), then the ones won (False)."""
        return [] if self.paired is None else [(self.paired.lost, True), (self.paired.won, False)]


@dataclass(frozen=True)
class Setting:
    """Something in which the evaluations differ, with the value of each."""

    name: str
    label: str
    values: list[str]


@dataclass(frozen=True)
class EvaluationComparison:
    """Everything the page shows. ``is_same`` when all were asked the same cases."""

    columns: list[Column]
    rows: list[CompareRow]
    pairs: list[Pair]
    settings: list[Setting]
    headline: str
    is_same: bool

    @property
    def choices(self) -> list[Setting]:
        """What a person chose differently."""
        return [setting for setting in self.settings if setting.label]

    @property
    def technical(self) -> list[Setting]:
        """Versions, fingerprints and counts that differ."""
        return [setting for setting in self.settings if not setting.label]


def compared_evaluations(project: Project, ids: Sequence[str]) -> EvaluationComparison:
    """These evaluations of the project, in this order. Raises UserError unless there are two to six finished ones."""
    wanted = list(dict.fromkeys(filter(None, (part.strip() for part in ids))))
    if not FEWEST <= len(wanted) <= MOST:
        raise UserError("choose_evaluations", _("Choose two to six evaluations to compare."), field="ids")
    rows = Evaluation.objects.filter(project=project, pk__in=wanted)
    rows = rows.select_related("trained_model", "snapshot", "snapshot__dataset", "work")
    found = {evaluation.pk: evaluation for evaluation in rows}
    for pk in wanted:
        if pk not in found:
            sentence = _("This project has no evaluation %(id)s.") % {"id": pk}
            raise UserError("evaluation_not_found", sentence, field="ids", status=404)
        if not found[pk].report:
            sentence = _("The evaluation of %(name)s has no results yet. Wait until it is done, or leave it out.")
            name = found[pk].trained_model.name
            raise UserError("no_report", sentence % {"name": name}, field="ids", status=409)
    columns = [_column(number, found[pk]) for number, pk in enumerate(wanted, start=1)]
    headline = str(columns[0].evaluation.report.get("headline") or "")
    pairs = _pairs(columns, headline)
    return EvaluationComparison(
        columns=columns,
        rows=_rows(columns, headline),
        pairs=pairs,
        settings=_settings(columns),
        headline=headline,
        is_same=all(pair.is_same for pair in pairs),
    )


def _column(number: int, evaluation: Evaluation) -> Column:
    report = evaluation.report
    subject = model_of(report, subject_key(report))
    base = model_of(report, against_key(report))
    return Column(
        number=number,
        evaluation=evaluation,
        card=evaluation_card(evaluation),
        subject=str(subject.get("name") or evaluation.trained_model.name),
        n=int(report.get("n") or 0),
        scores=_by_metric(subject.get("scores")),
        base=_by_metric(base.get("scores")),
        overall_score=(report.get("overall_score") or {}).get("value"),
    )


def _by_metric(scores: Iterable[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    return {score["metric"]: score for score in scores or () if score.get("value") is not None}


def _rows(columns: Sequence[Column], headline: str) -> list[CompareRow]:
    metrics = list(dict.fromkeys(metric for column in columns for metric in column.scores))
    metrics.sort(key=lambda metric: metric != headline)
    return [_row(metric, columns, headline) for metric in metrics]


def _row(metric: str, columns: Sequence[Column], headline: str) -> CompareRow:
    words = metric_words(metric)
    known = [column.scores[metric] for column in columns if metric in column.scores]
    best = None
    if len(known) > 1:
        best = (max if known[0].get("higher_is_better", True) else min)(score["value"] for score in known)
    ends = [float(score["value"]) for score in known]
    ends += [float(score["ci_high"]) for score in known if score.get("ci_high") is not None]
    high = words.high if words.high is not None else max([*ends, words.low + 1.0]) * 1.05
    cells = [_cell(column, metric, words, best) for column in columns]
    return CompareRow(metric, str(words.plain), words.term, metric == headline, words.low, high, cells)


def _cell(column: Column, metric: str, words: MetricWords, best: float | None) -> CompareCell:
    score = column.scores.get(metric) or {}
    value, low, top = score.get("value"), score.get("ci_low"), score.get("ci_high")
    interval = ""
    if low is not None and top is not None:
        interval = _("(%(low)s to %(high)s)") % {"low": value_words(low, words), "high": value_words(top, words)}
    base = (column.base.get(metric) or {}).get("value")
    return CompareCell(
        column=column,
        value=value,
        ci_low=low,
        ci_high=top,
        words=value_words(value, words),
        interval_words=interval,
        base=base,
        base_words=value_words(base, words) if base is not None else "",
        is_best=value is not None and value == best,
        is_small=int(score.get("n") or 0) < SMALL_SAMPLE,
    )


def _pairs(columns: Sequence[Column], headline: str) -> list[Pair]:
    first = columns[0]
    found = [(column, _paired(first, column, headline)) for column in columns[1:]]
    p_values = [paired.p_value for _column, paired in found if isinstance(paired, Pairing)]
    corrected = iter(holm(p_values))
    return [
        _pair(first, column, headline, paired, next(corrected) if isinstance(paired, Pairing) else None)
        for column, paired in found
    ]


def _paired(first: Column, second: Column, headline: str) -> Pairing | Hindrance:
    """Scores of different figures cannot be held against each other."""
    same_figure = str(second.evaluation.report.get("headline") or "") == headline
    return pairing(first.evaluation, second.evaluation) if same_figure else Hindrance.FIGURES


def _pair(first: Column, second: Column, headline: str, found: Pairing | Hindrance, p_holm: float | None) -> Pair:
    paired = found if isinstance(found, Pairing) else None
    is_same = paired.is_same if paired is not None else found is Hindrance.FEW
    return Pair(
        first=first,
        second=second,
        words=metric_words(headline),
        is_same=is_same,
        paired=paired,
        p_holm=p_holm,
        unpaired=None if is_same else _unpaired(first.scores.get(headline), second.scores.get(headline)),
        hindrance=None if isinstance(found, Pairing) else found,
    )


def _unpaired(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> Difference | None:
    if not first or not second or None in (first.get("ci_low"), second.get("ci_low")):
        return None
    return independent_difference(
        float(first["value"]),
        Interval(float(first["ci_low"]), float(first["ci_high"])),
        float(second["value"]),
        Interval(float(second["ci_low"]), float(second["ci_high"])),
    )


def _settings(columns: Sequence[Column]) -> list[Setting]:
    told = [_told(column) for column in columns]
    names = list(dict.fromkeys(name for mine in told for name in mine))
    settings = []
    for name in names:
        values = [mine.get(name, NOTHING) for mine in told]
        if len(set(values)) > 1:
            settings.append(Setting(name, _labels().get(name, ""), values))
    return settings


def _labels() -> dict[str, str]:
    return {
        "data": _("Data"),
        "split": _("Part of the data"),
        "limit": _("At most how many cases"),
        "cases": _("Cases asked"),
        "base_model": _("Base model"),
        "suites": _("What was measured"),
        "headline": _("The figure that decides"),
        "models": _("Models asked"),
    }


def _told(column: Column) -> dict[str, str]:
    evaluation, report = column.evaluation, column.evaluation.report
    told = {
        "data": column.card.data_name,
        "split": column.card.split_label,
        "limit": number_words(evaluation.case_limit),
        "cases": number_words(column.n),
        "base_model": evaluation.trained_model.base_model_key,
        "suites": ", ".join(sorted(evaluation.suites)),
        "headline": str(metric_words(str(report.get("headline") or "")).plain),
        "models": ", ".join(str(model.get("name")) for model in report.get("models") or ()),
    }
    told |= {f"settings.{name}": value for name, value in _flat(evaluation.settings)}
    return told | {f"run.{name}": value for name, value in _flat(report.get("run") or {}) if name not in _RUN_LEFT_OUT}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines.extend(_flat(value, f"{prefix}{name}."))
        else:
            lines.append((f"{prefix}{name}", NOTHING if value is None else str(value)[:200]))
    return lines
