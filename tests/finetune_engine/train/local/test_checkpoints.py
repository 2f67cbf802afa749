"""Checkpoints on a disk that fails: what was good stays good."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_engine.errors import EngineError
from finetune_engine.train.local import checkpoints
from finetune_engine.train.local.checkpoints import LoopState, load_checkpoint, newest_valid, resolve_resume
from finetune_engine.train.local.commit import commit_folder, verify_folder

FACTS = {"training": "this one"}


class Tiny(torch.nn.Linear):
    """A model of one layer, with the two configurations that are saved beside weights."""

    class _Config:
        def save_pretrained(self, folder: str) -> None:
            (Path(folder) / "config.json").write_text("{}")

    config = generation_config = _Config()


@pytest.fixture
def model() -> Any:
    torch.manual_seed(3)
    return Tiny(4, 2)


@pytest.fixture
def optimizer(model: Any) -> torch.optim.Optimizer:
    """With moments: one step has been taken."""
    made = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 4)).sum().backward()
    made.step()
    return made


def save(folder: Path, model: Any, optimizer: torch.optim.Optimizer, step: int) -> Path:
    checkpoints.save_checkpoint(folder, model, optimizer, LoopState(step=step), FACTS)
    return folder / checkpoints.checkpoint_name(step)


def test_a_disk_that_fills_up_while_saving_leaves_the_checkpoint_before(
    tmp_path: Path, model: Any, optimizer: torch.optim.Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = save(tmp_path, model, optimizer, 3)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_history", full)
    with pytest.raises(EngineError) as caught:
        save(tmp_path, model, optimizer, 6)
    assert caught.value.reason == "disk_full"
    assert list(tmp_path.iterdir()) == [good]
    assert newest_valid(tmp_path) == good
    assert load_checkpoint(good, model, optimizer, FACTS).step == 3


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, model: Any, optimizer: torch.optim.Optimizer, name: str, harm: str
) -> None:
    before, newest = save(tmp_path, model, optimizer, 3), save(tmp_path, model, optimizer, 6)
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / name).write_bytes(bytes(content) if harm == "flipped" else bytes(content[: len(content) // 2]))
    assert verify_folder(newest) is None
    assert newest_valid(tmp_path) == before
    assert resolve_resume(newest) == before


def test_everything_is_on_the_disk_before_the_name_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        happened.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def noted_rename(source: Any, target: Any) -> None:
        happened.append("rename " + Path(target).name)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    commit_folder(tmp_path / "made", lambda folder: (folder / "a").write_text("alpha") and None, name="test")
    aside = happened[2].removeprefix("sync ")
    assert aside.startswith(".tmp-")
    assert happened == ["sync a", "sync manifest.json", f"sync {aside}", "rename made", f"sync {tmp_path.name}"]


def test_random_states_of_processes_that_were_not_there_are_left_out() -> None:
    states = checkpoints._by_rank([{"cpu": torch.zeros(1)}, {"cpu": torch.ones(1)}])
    assert checkpoints._of_rank(states, 0)["cpu"].item() == 0
    assert checkpoints._of_rank(states, 1)["cpu"].item() == 1
    assert checkpoints._of_rank(states, 2) == {}
