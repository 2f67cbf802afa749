"""HELM's ``mild_mix``: small letters, some misspellings, uneven spaces and short forms all at once.

After Liang et al. (2022), "Holistic Evaluation of Language Models", appendix on robustness: lower case, one in ten of
the words that people often misspell, one to three spaces between words, contractions. The words and forms are our own
lists.
"""

from __future__ import annotations

import random
import re

from finetune_engine.evaluate.perturb.case import lower
from finetune_engine.evaluate.perturb.contraction import contract
from finetune_engine.evaluate.perturb.misspellings import misspell
from finetune_engine.evaluate.perturb.perturbation import Perturbation

MISSPELT = 0.1
MOST_SPACES = 3


def mild_mix(text: str, rng: random.Random) -> str:
    """The mix, in HELM's order: lower case, misspellings, spaces, contractions."""
    changed = misspell(lower(text), rng, MISSPELT)
    changed = contract(changed, rng)
    return re.sub(r"(?<=\S) (?=\S)", lambda match: " " * rng.randint(1, MOST_SPACES), changed)


PERTURBATIONS = (
    Perturbation(
        "mild_mix",
        "HELM",
        "format_flexibility",
        "When small letters, misspellings and uneven spaces come together",
        mild_mix,
    ),
)
