"""Whether the answer is the reference: letter by letter, or but for its form."""

from __future__ import annotations

from finetune_engine.evaluate.metrics.metric import ALL_TASKS, Material, Measured, each, mean_over
from finetune_engine.evaluate.texts.words import normalise


def exact_match(answer: str, reference: str) -> bool:
    """Whether both are the same text, white space at the ends aside."""
    return answer.strip() == reference.strip()


def quasi_exact_match(answer: str, reference: str) -> bool:
    """Whether both are the same once normalised. Texts of punctuation only are compared as they are."""
    first, second = normalise(answer), normalise(reference)
    return first == second if first or second else exact_match(answer, reference)


class ExactMatch:
    """Share of answers equal to their reference."""

    name = "exact_match"
    unit = "share"
    higher_is_better = True
    is_proportion = True
    task_types = ALL_TASKS

    def suits(self, material: Material) -> bool:
        """Always."""
        return True

    def measure(self, material: Material) -> Measured:
        """The share of equal answers."""
        return mean_over(each(exact_match, material), "equal after trimming")


class QuasiExactMatch:
    """Share of answers equal to their reference once normalised."""

    name = "quasi_exact_match"
    unit = "share"
    higher_is_better = True
    is_proportion = True
    task_types = ALL_TASKS

    def suits(self, material: Material) -> bool:
        """Always."""
        return True

    def measure(self, material: Material) -> Measured:
        """The share of answers equal but for their form."""
        signature = "equal without case, punctuation, articles and surplus spaces"
        return mean_over(each(quasi_exact_match, material), signature)
