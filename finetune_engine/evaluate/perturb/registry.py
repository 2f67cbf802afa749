"""All perturbations: whatever the modules of this package put into their ``PERTURBATIONS``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from finetune_engine.evaluate import perturb
from finetune_engine.evaluate.perturb.perturbation import Perturbation


@cache
def all_perturbations() -> tuple[Perturbation, ...]:
    """Every perturbation, by module name and then in the module's order. Raises ValueError when two share a name."""
    found: list[Perturbation] = []
    for module in sorted(pkgutil.iter_modules(perturb.__path__), key=lambda entry: entry.name):
        loaded = importlib.import_module(f"{perturb.__name__}.{module.name}")
        found.extend(getattr(loaded, "PERTURBATIONS", ()))
    if len({perturbation.key for perturbation in found}) < len(found):
        raise ValueError("two perturbations have the same kind and level")
    return tuple(found)
