"""Capitals: all lower case, ALL CAPITALS, Each Word Capitalised. Scripts without capitals are left out."""

from __future__ import annotations

import random
import re

from finetune_engine.evaluate.perturb.perturbation import Perturbation

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def lower(text: str, rng: random.Random | None = None) -> str:
    """All letters small."""
    return text.lower()


def upper(text: str, rng: random.Random | None = None) -> str:
    """All letters capital."""
    return text.upper()


def title(text: str, rng: random.Random | None = None) -> str:
    """Each Word With A Capital; "don't" becomes "Don't", not "Don'T"."""
    return _WORD.sub(lambda match: match.group()[:1].upper() + match.group()[1:].lower(), text)


PERTURBATIONS = (
    Perturbation("case", "lower", "format_flexibility", "When people type in small letters only", lower),
    Perturbation("case", "upper", "format_flexibility", "When people type in capitals", upper),
    Perturbation("case", "title", "format_flexibility", "When people begin every word with a capital", title),
)
