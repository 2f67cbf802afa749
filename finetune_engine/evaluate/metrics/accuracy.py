"""Share of right labels: as the model says it, and as it finds it likeliest."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.evaluate.metrics.metric import LABEL_TASKS, Material, Measured, mean_over


def _right(labels: Sequence[str], predictions: Sequence[str]) -> list[float]:
    return [float(label == said) for label, said in zip(labels, predictions, strict=True)]


class Accuracy:
    """Share of answers that name the right label; an answer that names none is wrong."""

    name = "accuracy"
    unit = "share"
    higher_is_better = True
    is_proportion = True
    task_types = LABEL_TASKS

    def suits(self, material: Material) -> bool:
        """When the cases have labels."""
        return bool(material.labels)

    def measure(self, material: Material) -> Measured:
        """The share of right labels."""
        right = _right(material.labels, material.predictions)
        return mean_over(right, "greedy answer read as a label; unreadable answers are wrong")


class AccuracyByLikelihood:
    """Share of cases where the right label is the likeliest; nothing is generated for it."""

    name = "accuracy_loglik"
    unit = "share"
    higher_is_better = True
    is_proportion = True
    task_types = LABEL_TASKS

    def suits(self, material: Material) -> bool:
        """When the model was asked for likelihoods."""
        return bool(material.labels) and material.likeliest is not None

    def measure(self, material: Material) -> Measured:
        """The share of right labels."""
        right = _right(material.labels, material.likeliest or [])
        return mean_over(right, "label of highest summed log-likelihood, end token included")
