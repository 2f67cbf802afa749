"""The figures of a report: every metric of every model, classes, mistakes, and the cases that moved most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import SMALL_SAMPLE, MetricWords, metric_words
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import difference_words, value_words

_MOST_CONFUSIONS = 3


@dataclass(frozen=True)
class Contender:
    """A column of the table: ``kind`` is ``tuned`` (the subject), ``base`` (what it is compared with), ``other`` (one more
    model) or ``baseline`` (a cheap method)."""

    key: str
    name: str
    kind: str
    role: str

    @property
    def is_muted(self) -> bool:
        """Drawn grey: everything but the model judged."""
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


def contenders_of(at: Reading) -> list[tuple[Contender, dict[str, Mapping[str, Any]]]]:
    """Models and cheap baselines with their scores by metric, the subject first."""
    found = []
    for key in at.keys:
        kind = "tuned" if key == at.subject else "base" if key == at.against else "other"
        found.append((Contender(key, at.names[key], kind, at.role(key)), _by_metric(at.model(key).get("scores") or ())))
    for baseline in at.report.get("baselines") or ():
        contender = Contender(baseline["key"], baseline["name"], "baseline", _("cheap method"))
        found.append((contender, _by_metric(baseline["scores"])))
    return found


def _by_metric(scores: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {score["metric"]: score for score in scores}


def metric_rows(at: Reading, contenders: list[tuple[Contender, dict[str, Mapping[str, Any]]]]) -> list[MetricRow]:
    """Every metric that was measured, the headline first."""
    metrics = list(dict.fromkeys(metric for _c, scores in contenders for metric in scores))
    headline = at.report.get("headline") or ""
    metrics.sort(key=lambda metric: metric != headline)
    # The engine calls the model that it compares with ``base``, whatever its key; cheap methods go by their own.
    gains = {
        gain["metric"]: gain
        for gain in [*(at.report.get("comparisons") or ()), at.report.get("comparison")]
        if gain and gain.get("against", "base") in ("base", at.against)
    }
    other = "" if at.is_plain_pair else at.against_name
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
                difference=difference_words(gains[metric], words, other) if metric in gains else "",
            )
        )
    return rows


def _cells(present: list[tuple[Contender, Mapping[str, Any] | None]], words: MetricWords) -> list[ScoreCell]:
    known = [score for _c, score in present if score and score.get("value") is not None]
    best: float | None = None
    if len(known) > 1:
        best = (max if known[0]["higher_is_better"] else min)(score["value"] for score in known)
        if all(score["value"] == best for score in known):
            best = None  # none is better than another
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


def class_rows(at: Reading) -> list[ClassRow]:
    """The classes of the subject, with the other model's F1 beside it."""
    base = {row["label"]: row["f1"] for row in at.model(at.against).get("per_class") or ()}
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
        for row in at.model(at.subject).get("per_class") or ()
    ]


def confusion_view(model: Mapping[str, Any]) -> ConfusionView | None:
    """What one model mistakes for what; None outside classification."""
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


def case_groups(at: Reading) -> list[CaseGroup]:
    """The cases that moved most, and the hardest ones."""
    helped, lost = _("Cases where training helped."), _("Cases where the base model did better.")
    hardest = _("Hardest for the trained model")
    if at.against_name and not at.is_before_and_after:
        helped = _("Cases that it answered better than %(other)s.") % {"other": at.against_name}
        lost = _("Cases that %(other)s answered better.") % {"other": at.against_name}
        hardest = _("Hardest for %(name)s") % {"name": at.name}
    texts = (
        ("improved", _("Most improved"), helped),
        ("worsened", _("Got worse"), f"{lost} {_('Look here before you use the model.')}"),
        ("worst", hardest, _("The expected answer surprised it most.")),
    )
    return [
        CaseGroup(key, heading, sentence, list(at.report[key]))
        for key, heading, sentence in texts
        if at.report.get(key)
    ]
