"""``python -m finetune_engine``: exit codes, events, the lock, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.events import Event, parse_lines
from tests.finetune_engine.conftest import WriteSnapshot

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"num_train_epochs": 1, "learning_rate": 5e-3, "r": 4, "eval_steps": 2, "save_steps": 2}
BLOCK = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"django", "celery", "redis", "ninja"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Wall())
"""


def write_spec(folder: Path, model: Path, snapshot: Path, **settings: Any) -> Path:
    path = folder / "spec.json"
    content = {
        "base_model": {"key": "tiny", "path": str(model)},
        "snapshot": {"path": str(snapshot), "sha256": None},
        "training": SETTINGS | settings,
        "threads": 1,
    }
    path.write_text(json.dumps(content))
    return path


def engine(*words: object, **extra: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finetune_engine", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **extra)


def events(output: str) -> list[Event]:
    return list(parse_lines(iter(output.splitlines())))


def test_help_comes_without_torch() -> None:
    code = BLOCK + (
        "from finetune_engine.__main__ import build_parser\n"
        "build_parser([]).format_help()\n"
        "sys.exit(bool({'torch', 'polars', 'transformers'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_names_the_commands() -> None:
    shown = engine("--help")
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("prepare", "snapshot", "train", "evaluate"))


def test_a_training_prints_events_only_and_ends_with_done(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot())
    ended = engine("train", spec, "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    found = events(ended.stdout)
    assert len(found) == len(ended.stdout.splitlines())
    assert [event.kind for event in found][-2:] == ["result", "done"]


def test_a_training_needs_no_web_framework(tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot())
    words = ["train", str(spec), "--out", str(tmp_path / "out")]
    code = BLOCK + f"from finetune_engine.__main__ import main\nsys.exit(main({words!r}))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/artefact/manifest.json").exists()


def test_a_mistake_in_the_spec_exits_two_and_names_the_fields(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot(), r=-1, method="ppo")
    ended = engine("train", spec, "--out", tmp_path / "out")
    error = events(ended.stdout)[-1]
    assert (ended.returncode, error.kind, error.data["reason"]) == (2, "error", "bad_config")
    assert {problem["field"] for problem in error.data["problems"]} == {"r", "method"}


def test_a_spec_that_is_not_there_exits_two(tmp_path: Path) -> None:
    ended = engine("train", tmp_path / "none.json", "--out", tmp_path / "out")
    assert (ended.returncode, events(ended.stdout)[-1].data["code"]) == (2, "spec_missing")


def test_a_fault_of_ours_exits_one_and_is_recorded(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot())
    ended = engine(
        "train", spec, "--out", tmp_path / "out", env=os.environ | {"TUNESMITH_FAILPOINT": "artefact:before:raise"}
    )
    error = events(ended.stdout)[-1]
    assert (ended.returncode, error.data["reason"]) == (1, "internal")
    assert "Traceback" in ended.stderr
    assert not (tmp_path / "out/artefact").exists()


def test_the_control_file_pauses_with_a_checkpoint_and_exit_three(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "control.json").write_text('{"action": "pause"}')
    ended = engine("train", write_spec(tmp_path, tiny_model, write_snapshot()), "--out", out)
    kinds = [event.kind for event in events(ended.stdout)]
    assert ended.returncode == 3
    assert kinds[-2:] == ["checkpoint", "stopped"]


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "finetune_engine", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for_metric(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if '"metric"' in line:
            return
    pytest.fail(f"no step was made: {process.stderr.read() if process.stderr else ''}")


def test_sigterm_cancels_at_the_next_step(tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot(), num_train_epochs=1000, early_stopping_patience=0)
    process = start("train", spec, "--out", tmp_path / "out")
    try:
        wait_for_metric(process)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
        assert time.monotonic() - asked < 10
        assert process.returncode == 3
        assert events(rest)[-1].data == {"action": "cancel"}
    finally:
        process.kill()


def test_a_second_trainer_in_the_same_folder_is_refused(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot(), num_train_epochs=1000, early_stopping_patience=0)
    first = start("train", spec, "--out", tmp_path / "out")
    try:
        wait_for_metric(first)
        second = engine("train", spec, "--out", tmp_path / "out")
        assert second.returncode == 4
        assert events(second.stdout)[-1].data["code"] == "already_running"
    finally:
        first.kill()
        first.wait()
    third = engine("train", write_spec(tmp_path, tiny_model, tmp_path / "snapshot.parquet"), "--out", tmp_path / "out")
    assert third.returncode == 0, third.stdout[-500:]


def test_a_warm_trainer_takes_its_spec_from_standard_input(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = json.loads(write_spec(tmp_path, tiny_model, write_snapshot()).read_text())
    ended = engine("train", "-", input=json.dumps(spec | {"out": str(tmp_path / "out")}) + "\n")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/artefact/manifest.json").exists()


def test_a_warm_trainer_without_work_ends_quietly() -> None:
    ended = engine("train", "-", input="")
    assert (ended.returncode, ended.stdout) == (0, "")
