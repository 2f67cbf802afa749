"""A trainer killed at random moments ends with the same weights, bit for bit, as one that was left alone.

Three kills here, of processes that begin with the libraries loaded. With ``TUNESMITH_CHAOS=1`` ten kills, of the very
command that a worker starts (``TUNESMITH_CHAOS_SEED`` repeats a campaign).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from finetune_engine.train.local.checkpoints import newest_valid
from finetune_engine.train.local.commit import verify_folder
from tests.finetune_engine.conftest import WriteSnapshot
from tests.finetune_engine.train import loaded_process
from tests.finetune_engine.train.loaded_process import wait_for

# Everything that draws random numbers or keeps a place: dropout, a new order each pass, packing, accumulation.
SETTINGS = {
    "num_train_epochs": 6,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 3,
    "packing": True,
    "max_length": 48,
    "learning_rate": 5e-3,
    "lora_dropout": 0.2,
    "r": 4,
    "eval_steps": 7,
    "save_steps": 3,
    "early_stopping_patience": 0,
}
STEPS_BEFORE_A_KILL = 9
STEP_SECONDS = 0.05


class Trainer(Protocol):
    """A started training process, as both kinds of process have it."""

    @property
    def pid(self) -> int | None: ...

    def kill(self) -> None: ...

    @property
    def exitcode(self) -> int | None: ...


Start = Callable[[Path, Path, Path], Trainer]


class Command:
    """``python -m finetune_engine train``, a process from the first instruction."""

    def __init__(self, spec: Path, out: Path, events: Path) -> None:
        with events.open("wb") as stdout:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "finetune_engine", "train", str(spec), "--out", str(out)],
                stdout=stdout,
                stderr=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()


def write_spec(path: Path, model: Path, snapshot: Path, resume_from: Path | None) -> Path:
    spec = {
        "base_model": {"key": "tiny", "path": str(model)},
        "snapshot": {"path": str(snapshot), "sha256": None},
        "training": SETTINGS,
        "resume_from": str(resume_from) if resume_from else None,
        "threads": 1,
    }
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path


def steps_told(events: Path) -> list[int]:
    """The steps in the whole lines that the trainer has written so far."""
    try:
        lines = events.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    told = (json.loads(line) for line in lines if '"metric"' in line)
    return [event["data"]["step"] for event in told]


def train_to_the_end(start: Start, spec: Path, out: Path, events: Path) -> list[int]:
    trainer = start(spec, out, events)
    wait_for(lambda: trainer.exitcode is not None)
    assert trainer.exitcode == 0
    return steps_told(events)


def kill_somewhere(start: Start, spec: Path, out: Path, events: Path, dice: random.Random) -> list[int]:
    """Kill the trainer some steps after it began, at any moment of a step, a save or an evaluation."""
    trainer = start(spec, out, events)
    wanted = dice.randrange(STEPS_BEFORE_A_KILL)
    wait_for(lambda: len(steps_told(events)) >= wanted or trainer.exitcode is not None)
    time.sleep(dice.random() * STEP_SECONDS)  # the moment itself is what is being drawn
    assert trainer.exitcode is None, f"the training was over before the kill: {events.read_text()[-500:]}"
    trainer.kill()
    wait_for(lambda: trainer.exitcode is not None)
    return steps_told(events)


def campaign(kills: int, seed: int, start: Start, model: Path, snapshot: Path, folder: Path) -> dict[str, Any]:
    """Train once unbroken and once with ``kills`` kills; what both left behind."""
    whole, broken = folder / "whole", folder / "broken"
    spec = write_spec(folder / "whole.json", model, snapshot, None)
    unbroken = train_to_the_end(start, spec, whole, folder / "whole.jsonl")
    dice = random.Random(seed)
    attempts: list[list[int]] = []
    for number in range(kills):
        resume = newest_valid(broken / "checkpoints")
        spec = write_spec(folder / f"{number}.json", model, snapshot, resume)
        attempts.append(kill_somewhere(start, spec, broken, folder / f"{number}.jsonl", dice))
    resume = newest_valid(broken / "checkpoints")
    spec = write_spec(folder / "last.json", model, snapshot, resume)
    attempts.append(train_to_the_end(start, spec, broken, folder / "last.jsonl"))
    return {"whole": whole / "artefact", "broken": broken / "artefact", "unbroken": unbroken, "attempts": attempts}


def assert_the_same(found: dict[str, Any]) -> None:
    whole, broken = found["whole"], found["broken"]
    assert verify_folder(whole) is not None
    assert verify_folder(broken) is not None
    for name in ("adapter_model.safetensors", "metrics.csv"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), f"{name} differs: {found['attempts']}"
    # Each attempt goes on right after a checkpoint, never later than where the one before had come.
    reached = 0
    for steps in found["attempts"]:
        if steps:
            assert steps == list(range(steps[0], steps[-1] + 1))
            assert steps[0] <= reached + 1
            reached = max(reached, steps[-1])
    assert reached == found["unbroken"][-1]


@pytest.mark.slow
def test_three_random_kills_change_no_bit_of_the_result(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    found = campaign(3, 20, loaded_process.start, tiny_model, write_snapshot(60, 8), tmp_path)
    assert_the_same(found)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.environ.get("TUNESMITH_CHAOS") != "1", reason="a campaign: TUNESMITH_CHAOS=1")
def test_ten_random_kills_change_no_bit_of_the_result(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    seed = int(os.environ.get("TUNESMITH_CHAOS_SEED") or random.SystemRandom().randrange(2**31))
    print(f"TUNESMITH_CHAOS_SEED={seed}")
    found = campaign(10, seed, Command, tiny_model, write_snapshot(120, 8), tmp_path)
    print(f"steps told by each of {len(found['attempts'])} attempts: {found['attempts']}")
    assert_the_same(found)
