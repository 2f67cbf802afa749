"""A training without learning: each step folds a number into a hash, so that a run that was broken and resumed shows it.

It speaks to its supervisor through the engine's own front door, events, control file, lock and checkpoint commits.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import time
from pathlib import Path

from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.commit import commit_folder, remove_folder, sweep_aside


def add_arguments(subparsers) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("toy")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--out", type=Path)
    parser.set_defaults(func=train)


def expected(job_id: str, steps: int) -> str:
    """The value that a training without faults ends with."""
    value = job_id
    for step in range(1, steps + 1):
        value = fold(value, step)
    return value


def fold(value: str, step: int) -> str:
    return hashlib.sha256(f"{value}:{step}".encode()).hexdigest()


def train(args: argparse.Namespace, run: Run) -> None:
    spec = json.loads(args.spec.read_text())
    if fault := spec.get("fault"):
        _play(fault, args.out)
    run.emit("phase", phase="training")
    sweep_aside(args.out)
    kept = args.out / "checkpoints"
    sweep_aside(kept)
    step, value = 0, spec["job"]
    if spec["resume_from"]:
        step, value = json.loads((Path(spec["resume_from"]) / "state.json").read_text())
    while step < spec["steps"]:
        action = run.boundary()
        if action == "pause":
            _save(run, kept, step, value)
            raise Stopped("pause")
        if action == "stop_and_keep" and step:
            break
        _note(spec, f"step {step + 1}")
        time.sleep(spec["step_seconds"])
        step, value = step + 1, fold(value, step + 1)
        run.emit("metric", step=step, train_loss=1.0 / step)
        run.emit("progress", done=step, total=spec["steps"], unit="steps")
        if fault == "full" and step > spec["save_steps"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        if step % spec["save_steps"] == 0:
            _save(run, kept, step, value)

    def write(folder: Path) -> None:
        (folder / "run.json").write_text(json.dumps({"value": value, "steps": step}))
        (folder / "metrics.csv").write_text(f"step,train_loss\n{step},{1.0 / step}\n")

    digest = commit_folder(args.out / "artefact", write, name="artefact")
    run.emit("result", artefact="artefact", manifest_sha256=digest, best_step=step, steps=step)


def _save(run: Run, kept: Path, step: int, value: str) -> None:
    digest = commit_folder(
        kept / f"step-{step:08d}",
        lambda folder: (folder / "state.json").write_text(json.dumps([step, value])),
        name="checkpoint",
    )
    run.emit("checkpoint", step=step, path=f"checkpoints/step-{step:08d}", manifest_sha256=digest, metrics={})
    for old in sorted(kept.glob("step-*"), reverse=True)[2:]:
        remove_folder(old)


def _note(spec: dict, what: str) -> None:
    """One line of a ledger that only the checker reads: who worked on this job, and when."""
    with open(Path(spec["ledger"]) / spec["job"], "a") as file:
        file.write(f"{time.monotonic_ns()} {os.getpid()} {what}\n")


def _play(fault: str, out: Path) -> None:
    """The ways in which a program may fail at its start; those called ``..._once`` only do it once."""
    once = fault.endswith("_once")
    if once and (out / "played").exists():
        return
    (out / "played").touch()
    if fault == "segfault":
        os.kill(os.getpid(), 11)
    if fault == "quiet":
        os._exit(0)
    if fault == "error_once":
        raise RuntimeError("a fault that passes")
    if fault == "memory":
        raise MemoryError
