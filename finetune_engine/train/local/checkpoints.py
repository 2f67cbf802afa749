"""Checkpoints: everything a run needs to go on as if it had never stopped, in safetensors and JSON."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from finetune_engine.errors import EngineError
from finetune_engine.train.local.adapters import restore_trainable, trainable_state
from finetune_engine.train.local.commit import (
    MANIFEST,
    commit_folder,
    remove_folder,
    sweep_aside,
    verify_folder,
)
from finetune_engine.train.local.history import StepMetrics, read_history, write_history
from finetune_engine.train.local.load import ADAPTER_WEIGHTS
from finetune_engine.train.local.parallel import part, whole
from finetune_engine.train.local.scaling import LossScale
from finetune_engine.train.local.team import ALONE, Team

KEEP_NEWEST = 2
WHOLE_WEIGHTS = "model.safetensors"


@dataclass
class LoopState:
    """Where a run stands. ``step`` counts finished optimiser steps; with it the sample order is known.

    ``best_value`` is None before the first evaluation; ``stale`` counts evaluations without gain; ``reason`` says why
    no more steps are to be taken (None: they are); ``at_once`` is how many tokens fitted after memory was full (None: it
    was not).
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    broken: int = 0
    trained_tokens: int = 0
    reason: str | None = None
    at_once: int | None = None
    scale: LossScale = field(default_factory=LossScale)
    history: list[StepMetrics] = field(default_factory=list)


def checkpoint_name(step: int) -> str:
    """``step-00000100``."""
    return f"step-{step:08d}"


def save_checkpoint(
    folder: Path,
    model: Any,
    optimizer: torch.optim.Optimizer,
    state: LoopState,
    facts: dict[str, Any],
    *,
    team: Team = ALONE,
) -> str | None:
    """Commit a checkpoint of ``state`` under ``folder``; returns the SHA-256 of its manifest.

    Of several processes all take part and the first writes whole tensors, so that any number of them can go on; the
    others get None. ``facts`` says which run this is (see ``load_checkpoint``). Raises EngineError ``disk_full``.
    """
    weights, moments = trainable_state(model), optimizer_tensors(model, optimizer)
    random_states = _by_rank(team.gathered(rng_tensors()))
    if not team.is_first:
        return None

    def write(aside: Path) -> None:
        save_weights(aside, model, weights)
        save_file(moments, aside / "optimizer.safetensors")
        save_file(random_states, aside / "rng.safetensors")
        write_history(aside / "metrics.csv", state.history)
        position = {key: value for key, value in asdict(state).items() if key != "history"}
        content = {"position": position, "python_random": random.getstate(), "facts": facts}
        (aside / "state.json").write_text(json.dumps(content), encoding="utf-8")

    target = folder / checkpoint_name(state.step)
    # A run that is paused where it was resumed has this checkpoint already.
    return verify_folder(target) or commit_folder(target, write, name="checkpoint")


def load_checkpoint(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, facts: dict[str, Any], *, team: Team = ALONE
) -> LoopState:
    """Restore weights, optimiser and random numbers from a verified checkpoint; returns where the run stood.

    A process that had no part in the checkpoint draws random numbers of its own from there on.
    Raises EngineError ``bad_config`` when it belongs to another run (other data, settings or base model).
    """
    content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    different = [name for name, value in facts.items() if content["facts"].get(name) != value]
    if different:
        raise EngineError(
            "bad_config",
            f"The checkpoint {folder.name} belongs to another run: {', '.join(different)} differ.",
            {"checkpoint": str(folder), "different": different},
        )
    restore_trainable(model, load_weights(folder))
    restore_optimizer(model, optimizer, load_file(folder / "optimizer.safetensors"))
    position = content["position"]
    history = read_history(folder / "metrics.csv")
    state = LoopState(**position | {"scale": LossScale(**position["scale"])}, history=history)
    version, words, gauss = content["python_random"]
    random.setstate((version, tuple(words), gauss))
    states = _of_rank(load_file(folder / "rng.safetensors"), team.rank)
    if states:
        restore_rng(states)
    else:
        torch.manual_seed(state.step * 65_537 + team.rank)
    return state


def newest_valid(folder: Path) -> Path | None:
    """The newest checkpoint in ``folder`` whose manifest verifies, or None."""
    found = sorted(folder.glob("step-*"), reverse=True)
    return next((path for path in found if verify_folder(path) is not None), None)


def resolve_resume(wanted: Path) -> Path:
    """The checkpoint to resume from: ``wanted`` itself, or the newest valid one in it or before it.

    Raises EngineError ``internal`` when none verifies.
    """
    if wanted.name.startswith("step-"):
        if verify_folder(wanted) is not None:
            return wanted
        earlier = [path for path in sorted(wanted.parent.glob("step-*"), reverse=True) if path.name < wanted.name]
        found = next((path for path in earlier if verify_folder(path) is not None), None)
    else:
        nested = wanted / "checkpoints"
        found = newest_valid(nested if nested.is_dir() else wanted)
    if found is None:
        raise EngineError("internal", f"No usable checkpoint was found in {wanted}.", {"checkpoint": str(wanted)})
    return found


def prune(folder: Path, best_step: int | None) -> None:
    """Keep the two newest checkpoints and the best one."""
    kept = {checkpoint_name(best_step)} if best_step is not None else set()
    for path in sorted(folder.glob("step-*"), reverse=True)[KEEP_NEWEST:]:
        if path.name not in kept:
            remove_folder(path)


def save_weights(folder: Path, model: Any, weights: dict[str, torch.Tensor]) -> None:
    """Write what is trained (``trainable_state``): an adapter with its config (servable as it is), or whole weights."""
    if hasattr(model, "get_base_model"):
        save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        model.peft_config["default"].save_pretrained(str(folder))
    else:
        save_file(weights, folder / WHOLE_WEIGHTS, metadata={"format": "pt"})
        model.config.save_pretrained(str(folder))
        model.generation_config.save_pretrained(str(folder))


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors that ``save_weights`` wrote."""
    adapter = folder / ADAPTER_WEIGHTS
    return load_file(adapter if adapter.exists() else folder / WHOLE_WEIGHTS)


def trained_parameters(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """``(name, parameter)`` of what is trained, in the model's order."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def optimizer_tensors(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as ``<kind>/<parameter>`` whole tensors; a meeting where the model is spread."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trained_parameters(model):
        for kind, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{kind}/{name}"] = whole(value if isinstance(value, torch.Tensor) else torch.tensor(value))
    return tensors or {"empty": torch.zeros(1)}


def restore_optimizer(model: Any, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put the tensors of ``optimizer_tensors`` back."""
    parameters = dict(trained_parameters(model))
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if name:
            parameter = parameters[name]
            # Moments are laid out as their parameter; the count of steps is one number.
            is_moment = value.shape == parameter.shape and kind != "step"
            optimizer.state[parameter][kind] = part(parameter, value) if is_moment else value.to(parameter.device)


def rng_tensors() -> dict[str, torch.Tensor]:
    """torch's random states, of the processor and of each GPU."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_rng(states: dict[str, torch.Tensor]) -> None:
    """Put them back."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda{index}" in states:
                torch.cuda.set_rng_state(states[f"cuda{index}"], index)


def _by_rank(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Random states of several processes in one; those of the first have no prefix."""
    return {
        name if rank == 0 else f"rank{rank}/{name}": value
        for rank, found in enumerate(states)
        for name, value in found.items()
    }


def _of_rank(states: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """One process's own; {} when it was not there."""
    prefix = f"rank{rank}/" if rank else ""
    found = {name.removeprefix(prefix): value for name, value in states.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if "/" not in name}


def best_of(state: LoopState, value: float, *, greater: bool) -> bool:
    """Whether ``value`` beats the best so far (not-a-number never does)."""
    if value != value:
        return False
    return state.best_value is None or (value > state.best_value if greater else value < state.best_value)


def clear_after(folder: Path, resume_from: Path | None) -> None:
    """Remove what a new attempt will write again: checkpoints later than the one it goes on from, and scraps."""
    sweep_aside(folder)
    for path in folder.glob("step-*"):
        if resume_from is None or path.name > resume_from.name:
            remove_folder(path)


def adopt_best(resume_from: Path, folder: Path, state: LoopState) -> None:
    """Have the best checkpoint at hand in ``folder``; when it is lost, the search for the best starts anew."""
    if state.best_step is None:
        return
    name = checkpoint_name(state.best_step)
    if verify_folder(folder / name) is not None:
        return
    source = resume_from.parent / name
    if verify_folder(source) is None:
        state.best_step, state.best_value, state.stale = None, None, 0
        return

    def write(aside: Path) -> None:
        for path in source.iterdir():
            if path.name != MANIFEST:
                shutil.copy2(path, aside / path.name)

    commit_folder(folder / name, write, name="checkpoint")
