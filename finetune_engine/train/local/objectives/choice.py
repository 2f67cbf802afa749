"""Which objective a method means."""

from __future__ import annotations

from typing import Any

from finetune_engine.train.local.objectives.dpo import DirectPreference
from finetune_engine.train.local.objectives.kto import Verdicts
from finetune_engine.train.local.objectives.objective import Objective
from finetune_engine.train.local.objectives.sft import Supervised
from finetune_engine.train.spec import TrainingSpec


def objective_of(spec: TrainingSpec) -> Objective[Any]:
    """The objective of ``spec.method``, with its own settings."""
    if spec.method == "dpo":
        return DirectPreference(beta=spec.beta)
    if spec.method == "kto":
        return Verdicts(
            beta=spec.beta, desirable_weight=spec.desirable_weight, undesirable_weight=spec.undesirable_weight
        )
    return Supervised()
