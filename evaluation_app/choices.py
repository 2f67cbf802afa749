"""What can be measured, in the words a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class Split(models.TextChoices):
    """Which part of the snapshot is asked. The training part is never judged on."""

    TEST = "test", _("Test rows (never seen in training)")
    VALIDATION = "validation", _("Validation rows (watched during training)")


class Suite(models.TextChoices):
    """Groups of measurements."""

    QUALITY = "quality", _("Quality of the answers")
    PERFORMANCE = "performance", _("Speed")
    ROBUSTNESS = "robustness", _("Robustness")
    FAIRNESS = "fairness", _("Fairness")
    COST = "cost", _("Cost")
    CAPABILITIES = "capabilities", _("What it may have forgotten")


class ContenderKind(models.TextChoices):
    """What stands behind a model that is asked."""

    BASE = "base", _("Base model")
    TRAINED = "trained", _("Trained model")
    PROMPTED = "prompted", _("Base model, asked in another way")
    ENDPOINT = "endpoint", _("Model behind an address")


class RuleKind(models.TextChoices):
    """What an acceptance rule looks at."""

    CONTAINS = "contains", _("Must contain")
    EXCLUDES = "excludes", _("Must not contain")
    MATCHES = "matches", _("Must match a pattern")
    AVOIDS = "avoids", _("Must not match a pattern")
    LENGTH = "length", _("Length")
    IF_THEN = "if_then", _("If the question mentions X, the answer must mention Y")
    JSON_SCHEMA = "json_schema", _("Must be JSON of this shape")
    LABELS = "labels", _("Must be one of these labels")


class ReviewKind(models.TextChoices):
    """What the reviewers are asked to do."""

    PAIRS = "pairs", _("Which of two answers is better, blind")
    RUBRIC = "rubric", _("Marks from 1 to 5")
    CORRECTION = "correction", _("Correct the answer")


class ReviewState(models.TextChoices):
    """Where a review stands. Names of models are hidden until it is closed."""

    OPEN = "open", _("Open")
    CLOSED = "closed", _("Closed")


class Bucket(models.TextChoices):
    """Why a case was drawn. The hardest ones never count in the headline."""

    SAMPLE = "sample", _("Drawn at random")
    HARDEST = "hardest", _("Hardest cases")


class Choice(models.TextChoices):
    """The vote on a pair, as the voter saw it."""

    LEFT = "left", _("Left is better")
    RIGHT = "right", _("Right is better")
    TIE = "tie", _("Equally good")
    BOTH_BAD = "both_bad", _("Both bad")


DEFAULT_RUBRIC: dict[str, tuple[Any, dict[int, Any]]] = {
    "correct": (
        _("Is what it says correct?"),
        {
            1: _("wrong, and harmful if believed"),
            2: _("mostly wrong"),
            3: _("right in part"),
            4: _("right but for a trifle"),
            5: _("right throughout"),
        },
    ),
    "complete": (
        _("Does it answer all that was asked?"),
        {
            1: _("answers something else"),
            2: _("leaves out what matters most"),
            3: _("leaves out something that matters"),
            4: _("leaves out a detail"),
            5: _("answers everything"),
        },
    ),
    "usable": (
        _("Could you use it as it is?"),
        {
            1: _("no, I would write it anew"),
            2: _("only after much work"),
            3: _("after some work"),
            4: _("after a touch"),
            5: _("yes, unchanged"),
        },
    ),
}
"""The usual questions of a review by marks: name, question, and what each mark means."""


class VerdictKind(models.TextChoices):
    """The plain answer of an evaluation; empty until there is one."""

    SHIP = "ship", _("Use it")
    DO_NOT_SHIP = "do_not_ship", _("Do not use it")
    MORE_CASES = "more_cases", _("More cases needed")


VERDICT_TONES: dict[str, str] = {
    VerdictKind.SHIP: "ok",
    VerdictKind.DO_NOT_SHIP: "bad",
    VerdictKind.MORE_CASES: "warn",
}

SMALL_SAMPLE = 30
"""Below this many cases a figure is greyed out: it says very little."""

SAMPLES_PER_PAGE = 50

SHOTS = (0, 2, 4, 8)
"""How many solved examples a base model may be shown before each question."""

LOWER_IS_BETTER = frozenset({"perplexity", "bits_per_byte", "ter", "ece_10_bin"})
"""Metrics that fall as the answers get better."""


def headlines_for(task_type: str) -> tuple[str, ...]:
    """The metrics that may decide an evaluation of such a task, the usual one first."""
    from finetune_engine.evaluate.metrics import chosen  # brings numpy; most pages need none

    usual = chosen.headline_of(task_type)
    return (usual, *(name for name in chosen.headlines_for(task_type) if name != usual))


def metric_names() -> tuple[str, ...]:
    """The metrics of answers that can be asked for by name."""
    from finetune_engine.evaluate.metrics import chosen

    return tuple(chosen.METRICS)


@dataclass(frozen=True)
class SuiteWords:
    """What a suite is for, in one sentence, and how much longer an evaluation takes with it."""

    sentence: Any
    takes: Any


SUITE_WORDS: dict[str, SuiteWords] = {
    Suite.QUALITY: SuiteWords(
        _("Are the answers right? Every case is asked once, and the verdict rests on this."), _("always measured")
    ),
    Suite.ROBUSTNESS: SuiteWords(
        _("Does it stay right when people mistype, write in another form, or try to trick it?"),
        _("many times as long"),
    ),
    Suite.FAIRNESS: SuiteWords(
        _("Are groups of people served alike, and does a swapped name change the answer?"),
        _("about three times as long"),
    ),
    Suite.PERFORMANCE: SuiteWords(
        _("How long do people wait, alone and when many ask at once?"), _("some minutes more")
    ),
    Suite.COST: SuiteWords(_("What does an answer cost, here and elsewhere?"), _("no time of its own")),
    Suite.CAPABILITIES: SuiteWords(
        _("What did it know before training that it has forgotten?"), _("some minutes more")
    ),
}


@dataclass(frozen=True)
class MetricWords:
    """How one metric is shown. ``unit`` is ``share`` (0..1, shown as %), ``hundred`` (0..100) or ``number``.

    ``low`` and ``high`` bound the drawn scale; ``high`` None means that the largest value shown decides.
    """

    plain: Any
    term: str
    unit: str = "share"
    low: float = 0.0
    high: float | None = 1.0


METRICS: dict[str, MetricWords] = {
    "accuracy": MetricWords(_("Right answers"), "accuracy"),
    "accuracy_loglik": MetricWords(_("Right label is the likeliest"), "accuracy by log-likelihood"),
    "macro_f1": MetricWords(_("Right across all classes, rare ones counted alike"), "macro F1"),
    "mcc": MetricWords(_("Agreement beyond chance"), "Matthews correlation", unit="number", low=-1.0, high=1.0),
    "exact_match": MetricWords(_("Word for word the expected answer"), "exact match"),
    "quasi_exact_match": MetricWords(_("The expected answer, but for case and punctuation"), "quasi exact match"),
    "f1": MetricWords(_("Words shared with the expected answer"), "token F1"),
    "token_f1": MetricWords(_("Words shared with the expected answer"), "token F1"),
    "perplexity": MetricWords(
        _("Surprise at the expected answer (lower is better)"), "perplexity", unit="number", low=1.0, high=None
    ),
    "bits_per_byte": MetricWords(_("Surprise per letter (lower is better)"), "bits per byte", unit="number", high=None),
    "bleu": MetricWords(_("Overlap of phrases"), "BLEU", unit="hundred", high=100.0),
    "chrf": MetricWords(_("Overlap of letters"), "chrF", unit="hundred", high=100.0),
    "ter": MetricWords(_("Edits needed (lower is better)"), "TER", unit="hundred", high=None),
    "rouge1": MetricWords(_("Words found again"), "ROUGE-1"),
    "rouge2": MetricWords(_("Pairs of words found again"), "ROUGE-2"),
    "rougeL": MetricWords(_("Longest common order of words"), "ROUGE-L"),
    "rougeLsum": MetricWords(_("Longest common order of words, by line"), "ROUGE-Lsum"),
    "json_valid": MetricWords(_("Answers that a program can read"), "valid JSON"),
    "schema_f1": MetricWords(_("Right fields, whatever their values"), "schema F1"),
    "field_f1": MetricWords(_("Right fields with right values"), "field F1"),
    "ece_10_bin": MetricWords(_("How far its confidence is off (lower is better)"), "calibration error"),
    "typo_resistance": MetricWords(_("Stays right when people mistype"), "typo resistance"),
    "format_flexibility": MetricWords(_("Stays right when questions look different"), "format flexibility"),
    "edge_case_handling": MetricWords(_("Copes with odd questions"), "edge cases"),
    "adversarial_resistance": MetricWords(_("Cannot be talked out of its task"), "adversarial resistance"),
    "flip_rate": MetricWords(_("Answers that change (lower is better)"), "flip rate"),
    "retention": MetricWords(_("What it still knows of before"), "retention", high=None),
    "win_rate": MetricWords(_("Comparisons won"), "win rate"),
}


def metric_words(metric: str) -> MetricWords:
    """How to show a metric; one that is not in the list is shown by its own name."""
    return METRICS.get(metric) or MetricWords(metric.replace("_", " "), metric, unit="number", high=None)
