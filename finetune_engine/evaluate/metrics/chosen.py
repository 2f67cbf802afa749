"""All metrics of answers, one line each, in the order of the report."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.errors import Place, UserError
from finetune_engine.evaluate.metrics.accuracy import Accuracy, AccuracyByLikelihood
from finetune_engine.evaluate.metrics.bleu import Bleu
from finetune_engine.evaluate.metrics.chrf import Chrf
from finetune_engine.evaluate.metrics.class_agreement import MacroF1, Matthews
from finetune_engine.evaluate.metrics.exact_match import ExactMatch, QuasiExactMatch
from finetune_engine.evaluate.metrics.json_fields import FieldF1, JsonValid, SchemaF1
from finetune_engine.evaluate.metrics.metric import Material, Metric
from finetune_engine.evaluate.metrics.perplexity import BitsPerByte, Perplexity
from finetune_engine.evaluate.metrics.rouge import KINDS, Rouge
from finetune_engine.evaluate.metrics.ter import Ter
from finetune_engine.evaluate.metrics.token_f1 import TokenF1

_ALL: tuple[Metric, ...] = (
    Accuracy(),
    ExactMatch(),
    QuasiExactMatch(),
    AccuracyByLikelihood(),
    TokenF1(),
    MacroF1(),
    Matthews(),
    JsonValid(),
    SchemaF1(),
    FieldF1(),
    Bleu(),
    Chrf(),
    Ter(),
    *map(Rouge, KINDS),
    Perplexity(),
    BitsPerByte(),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

NEVER_GRADING = frozenset({"accuracy_loglik", "macro_f1", "mcc", "perplexity", "bits_per_byte"})
"""Metrics that give no value to a single answer, or need more than its text: they cannot be the headline."""


def metric_named(name: str) -> Metric:
    """The metric of that name. Raises UserError ``unknown_metric``."""
    if name not in METRICS:
        raise UserError(
            "unknown_metric",
            f"There is no metric called {name!r}.",
            "metrics",
            place=Place(expected=", ".join(METRICS)),
            reason="bad_config",
        )
    return METRICS[name]


def metrics_for(task_type: str, material: Material, wanted: Sequence[str] | None = None) -> list[Metric]:
    """The metrics to compute: those of the task type that suit the data, or the ``wanted`` ones that can be computed at all.

    Raises UserError ``unknown_metric``.
    """
    if wanted is None:
        candidates = [metric for metric in _ALL if task_type in metric.task_types]
    else:
        names = {metric_named(name).name for name in wanted}
        candidates = [metric for metric in _ALL if metric.name in names]
    return [metric for metric in candidates if metric.suits(material)]


def headline_of(task_type: str, wanted: str | None = None) -> str:
    """The one metric that decides, named before anything is measured: ``wanted``, else the task type's own.

    Raises UserError ``bad_headline`` for a metric that cannot judge single answers of this task type.
    """
    if wanted is None:
        return "accuracy" if task_type == "classification" else "f1"
    possible = headlines_for(task_type)
    if wanted not in possible:
        raise UserError(
            "bad_headline",
            f"{wanted!r} cannot be the headline metric here: it gives no value to a single answer.",
            "headline",
            place=Place(expected=", ".join(possible)),
            reason="bad_config",
        )
    return wanted


def headlines_for(task_type: str) -> list[str]:
    """The metrics that may be the headline of this task type."""
    return [metric.name for metric in _ALL if task_type in metric.task_types and metric.name not in NEVER_GRADING]
