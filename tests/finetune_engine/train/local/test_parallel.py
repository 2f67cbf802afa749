"""Two processes that train one model, against one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from safetensors.torch import load_file

from finetune_engine.train.local.checkpoints import newest_valid
from finetune_engine.train.local.commit import verify_folder
from finetune_engine.train.local.parallel import deal
from tests.finetune_engine.conftest import WriteSnapshot
from tests.finetune_engine.train.loaded_process import start_team, wait_for

SETTINGS = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-3,
    "lora_dropout": 0.0,
    "r": 4,
    "max_length": 64,
    "eval_steps": 3,
    "save_steps": 3,
    "early_stopping_patience": 0,
}


class Training:
    """One training in a folder of its own, by as many processes as are asked for."""

    def __init__(self, folder: Path, model: Path, snapshot: Path, **settings: Any) -> None:
        self.out, self._folder = folder / "out", folder
        folder.mkdir()
        self._spec = {
            "base_model": {"key": "tiny", "path": str(model)},
            "snapshot": {"path": str(snapshot), "sha256": None},
            "training": SETTINGS | settings,
            "threads": 1,
        }
        self._attempts = 0

    def start(self, size: int, resume_from: Path | None = None) -> list[Any]:
        self._attempts += 1
        spec = self._folder / f"spec{self._attempts}.json"
        spec.write_text(json.dumps(self._spec | {"resume_from": str(resume_from) if resume_from else None}))
        return start_team(size, spec, self.out, self._folder / f"{self._attempts}.jsonl")

    def run(self, size: int, resume_from: Path | None = None) -> Training:
        processes = self.start(size, resume_from)
        wait_for(lambda: all(process.exitcode is not None for process in processes))
        assert [process.exitcode for process in processes] == [0] * size, self.told("error")
        return self

    def told(self, kind: str) -> list[dict[str, Any]]:
        path = self._folder / f"{self._attempts}.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [event["data"] for event in map(json.loads, lines) if event["kind"] == kind]

    @property
    def losses(self) -> list[float]:
        return [row["train_loss"] for row in self.told("metric")]

    def newest(self) -> Path | None:
        return newest_valid(self.out / "checkpoints")


WORDS = ["rent", "notice", "law", "tax"]
# Rows of many different lengths; 22 to train on leave a step that is not full.
PAIRS = [("the clause " + "x" * (i % 17), WORDS[i % 4] * (1 + i % 3)) for i in range(29)]
KINDS = {
    "adapters": {"target_modules": "all-linear+embeddings"},
    "all weights": {"packing": False, "peft": "full", "learning_rate": 1e-3},
}


@pytest.fixture
def train(tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path) -> Any:
    """Makes trainings of the same rows."""
    snapshot = write_snapshot(22, 7, PAIRS)
    return lambda name, **settings: Training(tmp_path / name, tiny_model, snapshot, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one_at_every_step(train: Any, kind: str) -> None:
    one, two = train("one", **KINDS[kind]).run(1), train("two", **KINDS[kind]).run(2)
    assert len(one.losses) == 12
    assert two.losses == pytest.approx(one.losses, abs=1e-5)
    valid = [[row["valid_loss"] for row in done.told("metric") if "valid_loss" in row] for done in (one, two)]
    assert valid[1] == pytest.approx(valid[0], abs=1e-5)
    assert [row["grad_norm"] for row in two.told("metric")] == pytest.approx(
        [row["grad_norm"] for row in one.told("metric")], rel=1e-4
    )
    assert two.told("result")[0]["trained_tokens"] == one.told("result")[0]["trained_tokens"]
    spread = [data for data in two.told("log") if "spread" in data]
    assert spread, "the parameters were not spread over the processes"
    assert spread[0]["spread"] == spread[0]["parameters"] > 0
    assert_same_artefact(one, two)


def assert_same_artefact(one: Training, two: Training) -> None:
    """Whole tensors of the same names and shapes, nearly the same numbers, and the same answers."""
    assert verify_folder(two.out / "artefact") is not None
    name = "adapter_model.safetensors" if (one.out / "artefact/adapter_config.json").exists() else "model.safetensors"
    theirs, ours = (load_file(done.out / "artefact" / name) for done in (one, two))
    assert ours.keys() == theirs.keys()
    assert all(ours[key].shape == theirs[key].shape for key in ours)
    assert all(ours[key].allclose(theirs[key], atol=1e-3) for key in ours)
    answers = [[data["answer"] for data in done.told("sample")[-3:]] for done in (one, two)]
    assert answers[0] == answers[1] != []


@pytest.mark.slow
def test_learning_from_pairs_is_the_same_in_two_processes(tiny_model: Path, tmp_path: Path) -> None:
    rows = [
        {
            "row": i + 1,
            "split": "train" if i < 14 else "validation",
            "messages": json.dumps([{"role": "user", "content": q}, {"role": "assistant", "content": a}]),
            "rejected": json.dumps([{"role": "assistant", "content": "no " * (1 + i % 3)}]),
        }
        for i, (q, a) in enumerate(PAIRS[:18])
    ]
    snapshot = tmp_path / "pairs.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), snapshot)
    settings = {"method": "dpo", "num_train_epochs": 1, "max_length": 96}
    one, two = (Training(tmp_path / name, tiny_model, snapshot, **settings).run(n) for n, name in ((1, "a"), (2, "b")))
    assert len(one.losses) == 4
    assert two.losses == pytest.approx(one.losses, abs=1e-5)
    assert [row["rewards_margin"] for row in two.told("metric")] == pytest.approx(
        [row["rewards_margin"] for row in one.told("metric")], abs=1e-4
    )


@pytest.mark.slow
def test_a_team_that_lost_a_process_goes_on_from_its_checkpoint_bit_for_bit(train: Any) -> None:
    whole = train("whole", lora_dropout=0.2).run(2)
    broken = train("broken", lora_dropout=0.2)
    processes = broken.start(2)
    wait_for(lambda: len(broken.told("checkpoint")) >= 1)
    processes[1].kill()
    wait_for(lambda: all(process.exitcode is not None for process in processes))
    broken.run(2, resume_from=broken.newest())
    assert broken.told("metric")[0]["step"] > 1
    theirs, ours = ((done.out / "artefact" / "adapter_model.safetensors").read_bytes() for done in (whole, broken))
    assert ours == theirs


@pytest.mark.slow
def test_another_number_of_processes_goes_on_from_a_checkpoint(train: Any) -> None:
    one, two = train("one").run(1), train("two").run(2)
    for first, then in ((one, 2), (two, 1)):
        middle = sorted((first.out / "checkpoints").iterdir())[0]
        went_on = train(f"then-{then}").run(then, resume_from=middle).losses
        assert 0 < len(went_on) < len(one.losses)
        assert went_on == pytest.approx(one.losses[-len(went_on) :], abs=1e-5)


def test_rows_are_dealt_out_evenly_by_length() -> None:
    shares = deal([9, 1, 8, 2, 7, 3], 2)
    assert sorted(row for share in shares for row in share) == list(range(6))
    assert [sum([9, 1, 8, 2, 7, 3][row] for row in share) for share in shares] == [15, 15]


def test_more_processes_than_rows_leave_some_without() -> None:
    assert [len(share) for share in deal([5, 5], 3)] == [1, 1, 0]
