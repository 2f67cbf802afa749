"""The settings of a run, with everything settled that depends on the model as it is loaded and on its data."""

from __future__ import annotations

from dataclasses import replace

import torch

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.memory import is_tight
from finetune_engine.train.spec import BaseFacts, EffectiveSpec, TrainingSpec


def base_facts(loaded: LoadedModel) -> BaseFacts:
    """What the settings depend on in the base model."""
    report = inspect_model_folder(loaded.folder, digest=False)
    return BaseFacts(report.parameters, loaded.context_length, loaded.ref.learning_rate)


def settle(asked: TrainingSpec, loaded: LoadedModel, n_examples: int, *, longest: int | None) -> EffectiveSpec:
    """``asked`` with nothing left open. With the ``longest`` text known (in tokens), gradient checkpointing that is
    ``auto`` is switched on where the GPU might not hold the training otherwise."""
    bf16 = loaded.device.type == "cuda" and torch.cuda.is_bf16_supported()
    facts = base_facts(loaded)
    settled = asked.effective(n_examples, facts, longest=longest, device=loaded.device.type, bf16=bf16)
    if longest is not None and asked.gradient_checkpointing == "auto" and is_tight(loaded, settled):
        return replace(settled, gradient_checkpointing=True)
    return settled
