"""The headline value of any answer to any case: 0 (wrong) to 1 (right)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from finetune_engine.errors import UserError
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.metrics.metric import Material
from finetune_engine.evaluate.scoring import Values, grade, headline_of
from finetune_engine.evaluate.spec import EvaluateSpec

Grade = Callable[[Sequence[str], Sequence[TestCase]], Values]


def grader(spec: EvaluateSpec, cases: Cases) -> tuple[str, Grade]:
    """The name of the headline metric, and how answers are graded by it.

    Raises UserError ``bad_headline``, also for a metric that has nothing to measure on these cases (fields of JSON where no
    right answer is JSON): better before the first question than in a report without its main figure.
    """
    headline, labels = headline_of(spec.task_type, spec.headline), cases.labels
    references = [case.reference for case in cases.test]
    known = [case.label or "" for case in cases.test] if spec.task_type == "classification" else []
    if not METRICS[headline].suits(Material(references, references, known, labels)):
        raise UserError(
            "bad_headline",
            f"{headline} cannot be the headline metric here: it has nothing to measure on the right answers of these cases.",
            "headline",
            reason="bad_config",
        )

    def graded(answers: Sequence[str], asked: Sequence[TestCase]) -> Values:
        return grade(spec.task_type, headline, answers, asked, labels)

    return headline, graded
