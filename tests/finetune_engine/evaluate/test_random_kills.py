"""An evaluation killed at random moments asks no finished question again, and ends with the scores of one left alone.

Five kills here, of processes that begin with the libraries loaded, on a few hundred cases. With ``TUNESMITH_CHAOS=1`` five kills
of the very command that a worker starts, on 10,000 cases of a real data set (``TUNESMITH_CHAOS_SEED`` repeats a campaign).
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_engine.evaluate.asking.store import AnswerStore
from tests.finetune_engine.train import loaded_process

KILLS = 5
MANY_CASES = 10_000
PATIENCE_SECONDS = 3_000
PAUSE_SECONDS = 0.02
COUNTED = """
CREATE TABLE kept (key BLOB NOT NULL);
CREATE TRIGGER note_every_write AFTER INSERT ON answers BEGIN INSERT INTO kept VALUES (NEW.key); END;
"""
"""Every write leaves a trace, also one that would replace an answer that was there."""


class Process(Protocol):
    """A started evaluation, as both kinds of process have it."""

    def kill(self) -> None: ...

    @property
    def exitcode(self) -> int | None: ...


Start = Callable[[Path, Path, Path], Process]


class Command:
    """``python -m finetune_engine evaluate``, a process from the first instruction."""

    def __init__(self, spec: Path, out: Path, events: Path) -> None:
        with events.open("wb") as stdout:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "finetune_engine", "evaluate", str(spec), "--out", str(out)],
                stdout=stdout,
                stderr=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        self._process.kill()

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()


def loaded(spec: Path, out: Path, events: Path) -> Process:
    return loaded_process.start(spec, out, events, command="evaluate")


def write_snapshot(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    """``(split, prompt, label)`` rows as a snapshot."""
    table = [
        {
            "row": number,
            "split": split,
            "messages": json.dumps([{"role": "user", "content": prompt}, {"role": "assistant", "content": label}]),
            "prompt": prompt,
            "answer": label,
            "label": label,
            "metadata": "{}",
            "content_hash": str(number),
        }
        for number, (split, prompt, label) in enumerate(rows, 1)
    ]
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def write_spec(folder: Path, name: str, model: Path, adapter: Path, snapshot: Path) -> tuple[Path, Path]:
    """A spec with an answer store of its own that counts every write; ``(spec, store)``."""
    store = folder / f"{name}.sqlite"
    AnswerStore(store).close()
    with sqlite3.connect(store) as database:
        database.executescript(COUNTED)
    spec = {
        "base_model": {"key": "small", "path": str(model)},
        "models": [{"key": "base"}, {"key": "tuned", "adapter": str(adapter)}],
        "snapshot": {"path": str(snapshot)},
        "task_type": "classification",
        "max_new_tokens": 8,
        "answer_store": str(store),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path, store


def how_many(store: Path) -> int:
    with sqlite3.connect(store, timeout=60) as database:
        return int(database.execute("SELECT coalesce(max(rowid), 0) FROM kept").fetchone()[0])


def wait_for(claim: Callable[[], bool]) -> None:
    """Wait for a state of another process, without taking the machine away from it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        assert time.monotonic() < deadline, "the evaluation did not get on"
        time.sleep(PAUSE_SECONDS)


def writes(store: Path) -> list[bytes]:
    with sqlite3.connect(store, timeout=60) as database:
        return [row[0] for row in database.execute("SELECT key FROM kept")]


def to_the_end(start: Start, spec: Path, out: Path) -> dict[str, Any]:
    process = start(spec, out, out.with_suffix(".jsonl"))
    wait_for(lambda: process.exitcode is not None)
    assert process.exitcode == 0, out.with_suffix(".jsonl").read_text()[-2000:]
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def kill_somewhere(start: Start, spec: Path, out: Path, store: Path, goal: int, dice: random.Random) -> int:
    """Kill the evaluation at a random moment after it has ``goal`` answers; how many it had."""
    process = start(spec, out, out.with_suffix(".jsonl"))
    wait_for(lambda: how_many(store) >= goal or process.exitcode is not None)
    time.sleep(dice.random() * 0.1)  # the moment itself is what is being drawn
    assert process.exitcode is None, "the evaluation was over before the kill"
    process.kill()
    wait_for(lambda: process.exitcode is not None)
    assert not (out / "report.json").exists()
    return how_many(store)


def campaign(start: Start, seed: int, model: Path, adapter: Path, snapshot: Path, folder: Path) -> None:
    """One evaluation left alone and one killed five times; assert what the two have in common."""
    dice = random.Random(seed)
    spec, store = write_spec(folder, "whole", model, adapter, snapshot)
    began = time.monotonic()
    whole = to_the_end(start, spec, folder / "whole")
    unbroken_seconds = time.monotonic() - began
    total = len(writes(store))
    spec, store = write_spec(folder, "broken", model, adapter, snapshot)
    had = []
    for number in range(KILLS):
        goal = dice.randint(round(total * number / (KILLS + 1)) + 1, round(total * (number + 0.8) / (KILLS + 1)))
        had.append(kill_somewhere(start, spec, folder / "broken", store, goal, dice))
    began = time.monotonic()
    broken = to_the_end(start, spec, folder / "broken")
    last_seconds = time.monotonic() - began
    kept = writes(store)
    print(
        f"{whole['n']} cases, {total} answers; kept at the {KILLS} kills: {had}; written in all: {len(kept)}, different: "
        f"{len(set(kept))}; asked by the last run: {broken['run']['questions_asked']}; unbroken {unbroken_seconds:.0f} s, "
        f"last run {last_seconds:.0f} s"
    )
    assert len(kept) == len(set(kept)) == total, "an answer that was there was asked for again"
    assert broken["run"]["questions_asked"] == total - had[-1]
    for part in ("models", "comparisons", "verdict", "improved", "worsened", "worst", "quality", "slices", "clusters"):
        assert broken[part] == whole[part], part
    tables = [pq.read_table(folder / name / "samples.parquet") for name in ("whole", "broken")]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_five_random_kills_cost_no_answer_and_change_no_score(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    rows = [
        ("test" if n < 200 else "train", f"question {n} about {n % 7}", "even" if n % 2 else "odd") for n in range(230)
    ]
    campaign(loaded, 7, tiny_model, tiny_adapter, write_snapshot(tmp_path / "snapshot.parquet", rows), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.environ.get("TUNESMITH_CHAOS") != "1", reason="a campaign: TUNESMITH_CHAOS=1")
def test_five_random_kills_of_ten_thousand_cases(stories: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("TUNESMITH_CHAOS_SEED") or random.SystemRandom().randrange(2**31))
    print(f"TUNESMITH_CHAOS_SEED={seed}")
    data = json.loads((stories.parents[1] / "classification" / "clinc150_data_full.json").read_text())
    rows = [("test", prompt, label) for prompt, label in data["train"][:MANY_CASES]]
    rows += [("train", prompt, label) for prompt, label in data["val"]]
    snapshot = write_snapshot(tmp_path / "snapshot.parquet", rows)
    campaign(Command, seed, stories, write_adapter(stories, tmp_path / "adapter"), snapshot, tmp_path)


def write_adapter(model: Path, folder: Path) -> Path:
    """A LoRA adapter that changes answers (its B matrices are not zero)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    tuned.save_pretrained(str(folder))
    return folder
