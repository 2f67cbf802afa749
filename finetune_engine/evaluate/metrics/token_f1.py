"""Words that answer and reference share."""

from __future__ import annotations

from collections import Counter

from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured, each, mean_over
from finetune_engine.evaluate.texts.words import words


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over normalised words (SQuAD). Texts without any word are compared as they
    are: an empty answer does not share "..." with its reference."""
    said, wanted = words(answer), words(reference)
    if not said and not wanted:
        return float(answer.strip() == reference.strip())
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


class TokenF1:
    """Mean of ``token_f1`` over the cases."""

    name = "f1"
    unit = "share"
    higher_is_better = True
    is_proportion = False
    task_types = TEXT_TASKS

    def suits(self, material: Material) -> bool:
        """Always."""
        return True

    def measure(self, material: Material) -> Measured:
        """The mean over the cases."""
        return mean_over(each(token_f1, material), "SQuAD word F1, scripts without spaces letter by letter")
