"""The run record: everything that would be needed to repeat a training, frozen beside its result."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import torch

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.train.local.device import precision_name
from finetune_engine.train.local.examples import SnapshotFacts
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.spec import EffectiveSpec, RunSpec

LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "pyarrow")
RECORD_FORMAT = 1
# How a step is cut into pieces changes nothing that is learnt: a retry with less memory may resume with other pieces.
PIECES = {
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "per_device_eval_batch_size",
    "gradient_checkpointing",
}


def run_record(
    spec: RunSpec,
    settled: EffectiveSpec,
    loaded: LoadedModel,
    snapshot: SnapshotFacts,
    *,
    threads: int,
    flat: bool,
    fused_layers: int,
) -> dict[str, Any]:
    """``run.json`` without its results: data, template, base model, settings asked and settled, versions, device."""
    report = inspect_model_folder(loaded.folder)
    name, revision = loaded.ref.hub_name
    return {
        "format": RECORD_FORMAT,
        "task_type": spec.task_type,
        "snapshot": {
            "sha256": snapshot.sha256,
            "counts": snapshot.counts,
            "row_ids_sha256": snapshot.row_ids_sha256,
            "seed": snapshot.seed,
        },
        "base_model": {
            "key": loaded.ref.key,
            "hub": name or None,
            "revision": revision,
            "sha256": report.sha256,
            "parameters": report.parameters,
            "model_type": report.model_type,
        },
        "chat_template": loaded.chat_template,
        "template_sha256": loaded.template_sha256,
        "eos_token_ids": list(loaded.eos_token_ids),
        "training_asked": spec.training.as_dict(),
        "training": settled.as_dict(),
        "versions": versions(),
        "device": device_name(loaded.device),
        "dtype": precision_name(loaded.dtype),
        "threads": threads,
        "layout": "flat" if flat else "padded",
        "fused_layers": fused_layers,
    }


def run_facts(record: dict[str, Any]) -> dict[str, Any]:
    """What must be equal for a checkpoint to be resumed: the same data, model, template and settings."""
    return {
        "snapshot": record["snapshot"]["sha256"] or record["snapshot"]["row_ids_sha256"],
        "base_model": record["base_model"]["sha256"],
        "template": record["template_sha256"],
        "validation": record.get("validation"),
        "continued_from": record.get("continued_from"),
        "training": {name: value for name, value in record["training"].items() if name not in PIECES},
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """``cpu (x86_64)`` or the GPU's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"
