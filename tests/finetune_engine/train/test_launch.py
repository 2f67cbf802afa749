"""Starting the processes that train together, and what happens when one of them is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.errors import EngineError
from finetune_engine.events import ListSink
from finetune_engine.ports import Stopped
from finetune_engine.train import launch
from tests.finetune_engine.conftest import WriteSnapshot
from tests.finetune_engine.train.loaded_process import start, wait_for


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the other processes run instead of a training: a few lines of Python."""

    def run(program: str) -> None:
        monkeypatch.setattr(launch, "OTHER", [sys.executable, "-c", program])

    return run


def test_every_process_is_told_its_place_and_the_spec(others: Any, tmp_path: Path) -> None:
    others(
        "import os, sys, json, pathlib; spec = json.loads(sys.stdin.readline());"
        "pathlib.Path(spec['out'], os.environ['RANK']).write_text(os.environ['WORLD_SIZE'] + spec['word'])"
    )
    with launch.together(ListSink(), {"word": "!"}, tmp_path, 3):
        assert launch.place() == launch.Place(rank=0, size=3, local_rank=0, local_size=3)
        assert launch.is_first()
    assert sorted((path.name, path.read_text()) for path in tmp_path.iterdir()) == [("1", "3!"), ("2", "3!")]
    assert launch.place() is None


def test_one_process_starts_no_other(others: Any, tmp_path: Path) -> None:
    others("raise SystemExit('nobody should start this')")
    with launch.together(ListSink(), {}, tmp_path, 1):
        assert launch.place() is None


def test_a_killed_process_ends_the_run_with_a_reason_that_is_tried_again(others: Any, tmp_path: Path) -> None:
    others("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EngineError) as caught, launch.together(ListSink(), {}, tmp_path, 2):
        raise RuntimeError("Connection closed by peer")
    assert caught.value.reason == "worker_lost"
    assert "signal 9" in caught.value.message


def test_the_reason_of_a_process_that_failed_first_is_told(others: Any, tmp_path: Path) -> None:
    event = json.dumps({"kind": "error", "at": 1.0, "data": {"reason": "oom_gpu", "message": "Full."}})
    others(f"print({event!r}); raise SystemExit(1)")
    with pytest.raises(EngineError) as caught, launch.together(ListSink(), {}, tmp_path, 2):
        raise RuntimeError("Connection closed by peer")
    assert (caught.value.reason, caught.value.message) == ("oom_gpu", "Full.")


def test_processes_that_stop_as_asked_are_waited_for(others: Any, tmp_path: Path) -> None:
    others(
        "import sys, time, pathlib, json; spec = json.loads(sys.stdin.readline()); time.sleep(0.2);"
        "pathlib.Path(spec['out'], 'left').touch(); raise SystemExit(3)"
    )
    with pytest.raises(Stopped), launch.together(ListSink(), {}, tmp_path, 2):
        raise Stopped("pause")
    assert (tmp_path / "left").exists()


def test_a_mistake_of_the_person_leaves_no_process_behind(others: Any, tmp_path: Path) -> None:
    others(
        "import os, sys, json, time, pathlib; spec = json.loads(sys.stdin.readline());"
        "pathlib.Path(spec['out'], str(os.getpid())).touch(); time.sleep(600)"
    )

    def mistaken() -> None:
        wait_for(lambda: any(tmp_path.iterdir()))
        raise ValueError

    with pytest.raises(ValueError), launch.together(ListSink(), {}, tmp_path, 2):
        mistaken()
    assert not is_there(int(next(tmp_path.iterdir()).name))


def test_when_the_first_process_is_killed_the_others_end(tmp_path: Path) -> None:
    follower = (
        "import sys, time, pathlib, os; from finetune_engine.train import launch; sys.stdin.readline(); launch.follow();"
        f"pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch(); time.sleep(600)"
    )
    first = (
        "import sys, time; from pathlib import Path; from finetune_engine.events import ListSink;"
        f"from finetune_engine.train import launch; launch.OTHER = [sys.executable, '-c', {follower!r}];\n"
        f"with launch.together(ListSink(), {{}}, Path({str(tmp_path)!r}), 2): time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", first])
    wait_for(lambda: any(tmp_path.iterdir()))
    process.kill()
    process.wait()
    number = int(next(tmp_path.iterdir()).name)
    wait_for(lambda: not is_there(number))
    assert not is_there(number)


def test_only_errors_of_other_processes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    from finetune_engine.events import Event, StreamSink

    quiet = launch.ErrorsOnly(StreamSink(sys.stdout))
    quiet.emit(Event("metric", 1.0, {"step": 1}))
    quiet.emit(Event("error", 1.0, {"reason": "internal"}))
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["error"]


@pytest.mark.slow
def test_one_command_trains_with_two_processes(tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path) -> None:
    events = carried_out(tiny_model, write_snapshot(), tmp_path, {"processes": 2})
    steps = [data["step"] for kind, data in events if kind == "metric"]
    assert steps == list(range(1, len(steps) + 1))
    assert any("2 processes train together" in str(data.get("message")) for kind, data in events if kind == "log")
    assert events[-1][0] == "done"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get("TUNESMITH_CHAOS") != "1", reason="a campaign: TUNESMITH_CHAOS=1")
def test_torchrun_starts_two_machines_that_train_together(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, tiny_model, write_snapshot(), {})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    meeting = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    train = ["-m", "finetune_engine", "train", str(spec), "--out", str(tmp_path / "out")]
    nodes = [
        subprocess.Popen([*launcher, "--node-rank", str(rank), *meeting, *train], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    told = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    kinds = [[json.loads(line)["kind"] for line in text.splitlines()] for text in told]
    assert "result" in kinds[0]
    assert kinds[1] == []


def carried_out(model: Path, snapshot: Path, folder: Path, extra: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The events of the train command, which must succeed."""
    spec, events = write_spec(folder, model, snapshot, extra), folder / "events.jsonl"
    process = start(spec, folder / "out", events)
    wait_for(lambda: process.exitcode is not None)
    told = [(event["kind"], event["data"]) for event in map(json.loads, events.read_text().splitlines())]
    assert process.exitcode == 0, [data for kind, data in told if kind == "error"]
    return told


def write_spec(folder: Path, model: Path, snapshot: Path, extra: Mapping[str, Any]) -> Path:
    spec = {
        "base_model": {"key": "tiny", "path": str(model)},
        "snapshot": {"path": str(snapshot)},
        "training": {"num_train_epochs": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "r": 4},
        "threads": 1,
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec | dict(extra)))
    return path


def free_port() -> int:
    import socket

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def is_there(number: int) -> bool:
    """Whether a process runs (a dead one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
