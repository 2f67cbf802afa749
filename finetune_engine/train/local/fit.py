"""How many processes a training takes when nobody says."""

from __future__ import annotations

import torch

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.train.spec import RunSpec

# Bytes that training needs for each byte of weights on disk (two bytes a parameter): with adapters the weights and some
# room for activations; with all weights trained, also gradients and two moments.
NEED, NEED_OF_ALL = 1.5, 5.0
USABLE = 0.9


def processes_for(spec: RunSpec) -> int:
    """What the spec says, else one process, or as many as there are GPUs when one GPU cannot hold the model."""
    return spec.processes or _gpus_needed(spec)


def _gpus_needed(spec: RunSpec) -> int:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    folder = BaseModelRef.from_dict(spec.base_model).folder
    alone = spec.training.peft == "qlora" or spec.training.method == "kto"
    if gpus < 2 or alone or folder is None or not folder.is_dir():
        return 1
    share = NEED_OF_ALL if spec.training.peft == "full" else NEED
    need = inspect_model_folder(folder, digest=False).weights_bytes * share
    room = torch.cuda.get_device_properties(0).total_memory * USABLE
    return gpus if need > room else 1
