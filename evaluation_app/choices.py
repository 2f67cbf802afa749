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
}


def metric_words(metric: str) -> MetricWords:
    """How to show a metric; one that is not in the list is shown by its own name."""
    return METRICS.get(metric) or MetricWords(metric.replace("_", " "), metric, unit="number", high=None)
