"""Spaces: doubled, missing, around the text, and the kind that does not break. Line breaks stay."""

from __future__ import annotations

import random
import re

from finetune_engine.evaluate.perturb.perturbation import Perturbation

MISSING = 0.1
"""The share of the spaces that go missing (at least one)."""
_BETWEEN = re.compile(r"(?<=\S) (?=\S)")


def doubled(text: str, rng: random.Random) -> str:
    """Two spaces between words."""
    return _BETWEEN.sub("  ", text)


def missing(text: str, rng: random.Random) -> str:
    """A tenth of the spaces between words left out, at least one."""
    places = [match.start() for match in _BETWEEN.finditer(text)]
    if not places:
        return text
    gone = set(rng.sample(places, max(1, round(MISSING * len(places)))))
    return "".join(mark for position, mark in enumerate(text) if position not in gone)


def trailing(text: str, rng: random.Random) -> str:
    """Spaces before the text and after it."""
    return f"  {text}   "


def non_breaking(text: str, rng: random.Random) -> str:
    """No-break spaces (U+00A0) between words, as text copied from a PDF has them."""
    return _BETWEEN.sub("\u00a0", text)


PERTURBATIONS = (
    Perturbation("space", "doubled", "format_flexibility", "When spaces are doubled", doubled),
    Perturbation("space", "missing", "format_flexibility", "When some spaces are missing", missing),
    Perturbation("space", "around", "format_flexibility", "When there are spaces before and after the text", trailing),
    Perturbation(
        "space",
        "non-breaking",
        "format_flexibility",
        "When the spaces are non-breaking, as in text from a PDF",
        non_breaking,
    ),
)
