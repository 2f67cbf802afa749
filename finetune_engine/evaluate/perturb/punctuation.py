"""Punctuation: none at all, or doubled. Marks inside numbers and words stay, for they carry meaning (3.5, don't)."""

from __future__ import annotations

import random
import unicodedata

from finetune_engine.evaluate.perturb.perturbation import Perturbation

_DOUBLED = frozenset(".,!?;:。，！？、؟¿¡")


def removed(text: str, rng: random.Random) -> str:
    """No punctuation, except between two letters or digits."""
    return "".join(mark for position, mark in enumerate(text) if not _is_free_mark(text, position))


def doubled(text: str, rng: random.Random) -> str:
    """Full stops, commas, question and exclamation marks, colons and semicolons twice."""
    return "".join(
        mark * 2 if mark in _DOUBLED and _is_free_mark(text, position) else mark for position, mark in enumerate(text)
    )


def _is_free_mark(text: str, position: int) -> bool:
    if not unicodedata.category(text[position]).startswith("P"):
        return False
    before, after = text[max(0, position - 1) : position], text[position + 1 : position + 2]
    # Scripts without spaces have their full stops between two letters.
    return not (before.isalnum() and after.isalnum() and text[position].isascii()) and text[position] != "_"


PERTURBATIONS = (
    Perturbation("punctuation", "removed", "format_flexibility", "When punctuation is left out", removed),
    Perturbation("punctuation", "doubled", "format_flexibility", "When punctuation is doubled", doubled),
)
