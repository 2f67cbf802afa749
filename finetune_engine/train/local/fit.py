"""How many processes a training takes when nobody says."""

from __future__ import annotations

import torch

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.ports import Run
from finetune_engine.train.spec import RunSpec

# Bytes that training needs for each byte of weights on disk (two bytes a parameter): with adapters the weights and some
# room for activations; with all weights trained, also gradients and two moments.
NEED = {"full": 5.0, "qlora": 0.6}
NEED_WITH_ADAPTERS = 1.5
USABLE = 0.9


def processes_for(run: Run, spec: RunSpec) -> int:
    """What the spec says, else one process, or as many as there are GPUs when one GPU cannot hold the model."""
    wanted = spec.processes or _gpus_needed(spec)
    if wanted > 1 and spec.training.method == "kto":
        run.emit("log", level="info", message="Learning from verdicts (kto) goes on in one process.")
        return 1
    return wanted


def _gpus_needed(spec: RunSpec) -> int:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    folder = BaseModelRef.from_dict(spec.base_model).folder
    if gpus < 2 or folder is None or not folder.is_dir():
        return 1
    need = inspect_model_folder(folder, digest=False).weights_bytes * NEED.get(spec.training.peft, NEED_WITH_ADAPTERS)
    room = torch.cuda.get_device_properties(0).total_memory * USABLE
    return gpus if need > room else 1
