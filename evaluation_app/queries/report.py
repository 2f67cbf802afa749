"""A report, read into the words and figures that its page shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import SMALL_SAMPLE, MetricWords, metric_words
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import EvaluationCard, evaluation_card
from web_kit.wording import NOTHING, duration_words, number_words, percent_words

_MOST_CONFUSIONS = 3


@dataclass(frozen=True)
class Contender:
    """A column of the table: a model or a cheap baseline. ``kind`` is ``tuned``, ``base`` or ``baseline``."""

    key: str
    name: str
    kind: str
    role: str

    @property
    def is_muted(self) -> bool:
        """Drawn grey: everything but the trained model."""
        return self.kind != "tuned"


@dataclass(frozen=True)
class ScoreCell:
    """One figure. ``value`` None: not measured. ``low`` and ``high`` bound the drawn track."""

    contender: Contender
    value: float | None
    ci_low: float | None
    ci_high: float | None
    low: float
    high: float
    words: str
    interval_words: str
    is_best: bool
    is_small: bool

    @property
    def label(self) -> str:
        """The drawing, read aloud."""
        return f"{self.contender.name}: {self.words} {self.interval_words}".strip()


@dataclass(frozen=True)
class MetricRow:
    """A row of the table. ``difference`` says what the tuned model gained over the base, empty when unknown."""

    metric: str
    plain: str
    term: str
    is_headline: bool
    cells: list[ScoreCell]
    reference: float | None
    difference: str


@dataclass(frozen=True)
class ClassRow:
    """One class: the tuned model's precision, recall and F1, and the base model's F1 beside it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    base_f1: float | None
    is_small: bool


@dataclass(frozen=True)
class ConfusionView:
    """The matrix of the tuned model, and its most frequent mistakes in words."""

    labels: list[str]
    matrix: list[list[int]]
    sentences: list[str]


@dataclass(frozen=True)
class CaseGroup:
    """A few cases with both answers, under one heading."""

    key: str
    heading: str
    sentence: str
    cases: list[Mapping[str, Any]]


@dataclass(frozen=True)
class EvaluationView:
    """Everything the page of an evaluation shows. The lists are empty until it is done."""

    card: EvaluationCard
    n: int
    contenders: list[Contender]
    rows: list[MetricRow]
    classes: list[ClassRow]
    confusion: ConfusionView | None
    groups: list[CaseGroup]
    performance: list[tuple[str, str]]
    run: list[tuple[str, str]]
    has_report: bool
    has_small_sample: bool


def evaluation_view(evaluation: Evaluation) -> EvaluationView:
    """The evaluation for its page."""
    report = evaluation.report or {}
    contenders = _contenders(report)
    n = int(report.get("n") or 0)
    return EvaluationView(
        card=evaluation_card(evaluation),
        n=n,
        contenders=[contender for contender, _scores in contenders],
        rows=_rows(report, contenders),
        classes=_classes(report),
        confusion=_confusion(_model(report, "tuned")),
        groups=_groups(report),
        performance=_performance(_model(report, "tuned")),
        run=_run_lines(report.get("run") or {}),
        has_report=bool(report),
        has_small_sample=bool(report) and n < SMALL_SAMPLE,
    )


def _model(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return next((model for model in report.get("models") or () if model.get("key") == key), {})


def _contenders(report: Mapping[str, Any]) -> list[tuple[Contender, dict[str, Mapping[str, Any]]]]:
    roles = {"tuned": _("your trained model"), "base": _("before training")}
    found = []
    for model in sorted(report.get("models") or (), key=lambda model: model.get("key") != "tuned"):
        kind = "tuned" if model.get("key") == "tuned" else "base"
        found.append((Contender(model["key"], model["name"], kind, roles[kind]), _by_metric(model["scores"])))
    for baseline in report.get("baselines") or ():
        contender = Contender(baseline["key"], baseline["name"], "baseline", _("cheap method"))
        found.append((contender, _by_metric(baseline["scores"])))
    return found


def _by_metric(scores: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {score["metric"]: score for score in scores}


def _rows(
    report: Mapping[str, Any], contenders: list[tuple[Contender, dict[str, Mapping[str, Any]]]]
) -> list[MetricRow]:
    metrics = list(dict.fromkeys(metric for _c, scores in contenders for metric in scores))
    headline = report.get("headline") or ""
    metrics.sort(key=lambda metric: metric != headline)
    gains = {
        gain["metric"]: gain
        for gain in [*(report.get("comparisons") or ()), report.get("comparison")]
        if gain and gain.get("against", "base") == "base"
    }
    rows = []
    for metric in metrics:
        words = metric_words(metric)
        present = [(contender, scores.get(metric)) for contender, scores in contenders]
        base = next((score for contender, score in present if contender.kind == "base" and score), None)
        rows.append(
            MetricRow(
                metric=metric,
                plain=str(words.plain),
                term=words.term,
                is_headline=metric == headline,
                cells=_cells(present, words),
                reference=base["value"] if base else None,
                difference=difference_words(gains[metric], words) if metric in gains else "",
            )
        )
    return rows


def _cells(present: list[tuple[Contender, Mapping[str, Any] | None]], words: MetricWords) -> list[ScoreCell]:
    known = [score for _c, score in present if score and score.get("value") is not None]
    best: float | None = None
    if len(known) > 1:
        best = (max if known[0]["higher_is_better"] else min)(score["value"] for score in known)
    ends = [score["ci_high"] if score.get("ci_high") is not None else score["value"] for score in known]
    high = words.high if words.high is not None else max([*ends, words.low + 1.0]) * 1.05
    return [_cell(contender, score or {}, words, best, high) for contender, score in present]


def _cell(
    contender: Contender, score: Mapping[str, Any], words: MetricWords, best: float | None, high: float
) -> ScoreCell:
    value, low, top = score.get("value"), score.get("ci_low"), score.get("ci_high")
    interval = ""
    if low is not None and top is not None:
        interval = _("(%(low)s to %(high)s)") % {"low": value_words(low, words), "high": value_words(top, words)}
    return ScoreCell(
        contender=contender,
        value=value,
        ci_low=low,
        ci_high=top,
        low=words.low,
        high=high,
        words=value_words(value, words),
        interval_words=interval,
        is_best=value is not None and value == best,
        is_small=int(score.get("n") or 0) < SMALL_SAMPLE,
    )


def value_words(value: float | None, words: MetricWords) -> str:
    """A figure in its metric's unit; a dash for None."""
    if value is None:
        return NOTHING
    if words.unit == "share":
        return percent_words(value)
    return number_words(float(value), 1 if words.unit == "hundred" else 2)


def difference_words(gain: Mapping[str, Any], words: MetricWords) -> str:
    """``+12.5 points over the base model (+3.1 to +21.9); chance alone does this less than 1 time in 1,000``."""
    scale = 100 if words.unit == "share" else 1
    figures = [float(gain[key]) * scale for key in ("difference", "ci_low", "ci_high") if gain.get(key) is not None]
    if not figures:
        return ""
    signed = [("+" if figure > 0 else "") + number_words(figure, 1 if scale == 100 else 2) for figure in figures]
    unit = _(" points") if scale == 100 else ""
    sentence = _("%(gain)s%(unit)s against the base model") % {"gain": signed[0], "unit": unit}
    if len(signed) == 3:
        sentence += _(" (%(low)s to %(high)s)") % {"low": signed[1], "high": signed[2]}
    p = gain.get("p_holm") if gain.get("p_holm") is not None else gain.get("p_value")
    return f"{sentence}; {chance_words(float(p))}" if p is not None else sentence


def chance_words(p: float) -> str:
    """A p-value as a frequency."""
    if p < 0.001:
        return _("chance alone does this less than 1 time in 1,000")
    if p < 0.01:
        return _("chance alone does this %(n)s times in 1,000") % {"n": max(1, round(p * 1000))}
    return _("chance alone does this %(n)s times in 100") % {"n": round(p * 100)}


def _classes(report: Mapping[str, Any]) -> list[ClassRow]:
    base = {row["label"]: row["f1"] for row in _model(report, "base").get("per_class") or ()}
    return [
        ClassRow(
            label=row["label"],
            precision=row["precision"],
            recall=row["recall"],
            f1=row["f1"],
            support=row["support"],
            base_f1=base.get(row["label"]),
            is_small=row["support"] < SMALL_SAMPLE // 3,
        )
        for row in _model(report, "tuned").get("per_class") or ()
    ]


def _confusion(model: Mapping[str, Any]) -> ConfusionView | None:
    confusion = model.get("confusion")
    if not confusion:
        return None
    labels, matrix = confusion["labels"], confusion["matrix"]
    mistakes = sorted(
        (
            (count, labels[i], labels[j])
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
            if i != j and count and i < len(labels) and j < len(labels)
        ),
        key=lambda mistake: (-mistake[0], mistake[1], mistake[2]),
    )
    sentences = [
        ngettext(
            "%(n)s time “%(expected)s” was answered with “%(found)s”.",
            "%(n)s times “%(expected)s” was answered with “%(found)s”.",
            count,
        )
        % {"n": count, "expected": expected, "found": found}
        for count, expected, found in mistakes[:_MOST_CONFUSIONS]
    ]
    return ConfusionView(labels, matrix, sentences or [_("No case was answered with a wrong label.")])


def _groups(report: Mapping[str, Any]) -> list[CaseGroup]:
    texts = (
        ("improved", _("Most improved"), _("Cases where training helped.")),
        ("worsened", _("Got worse"), _("Cases where the base model did better. Look here before you use the model.")),
        ("worst", _("Hardest for the trained model"), _("The expected answer surprised it most.")),
    )
    return [CaseGroup(key, heading, sentence, list(report[key])) for key, heading, sentence in texts if report.get(key)]


def _performance(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    measured = model.get("performance") or {}
    names = {
        "avg_latency": _("Answer time, mean"),
        "p50_latency": _("Answer time, median"),
        "p95_latency": _("Answer time, 95 of 100 are faster"),
        "p99_latency": _("Answer time, 99 of 100 are faster"),
        "time_to_first_token": _("Until the first word"),
        "avg_time_to_first_token": _("Until the first word"),
    }
    lines = [(words, duration_words(measured[name])) for name, words in names.items() if measured.get(name) is not None]
    if measured.get("tokens_per_second") is not None:
        lines.append((_("Tokens per second"), number_words(measured["tokens_per_second"], 1)))
    for test in measured.get("throughput_tests") or ():
        name = _("Answers per second, %(n)s at a time") % {"n": test.get("batch_size")}
        lines.append((name, number_words(test.get("throughput"), 2)))
    return lines


def _run_lines(run: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The run record, nested names joined by dots."""
    lines: list[tuple[str, str]] = []
    for name, value in run.items():
        if isinstance(value, Mapping):
            lines.extend(_run_lines(value, f"{prefix}{name}."))
        else:
            lines.append((f"{prefix}{name}", NOTHING if value is None else str(value)))
    return lines
