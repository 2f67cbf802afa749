"""The engine's one front door: ``python -m finetune_engine COMMAND ... --out DIR``.

Events go to standard output, one JSON object a line; everything else that a library says goes to standard
error. Exit codes: 0 success, 2 a mistake the person can mend, 3 stopped as asked, 4 the folder is in use by
another process, 1 anything else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import IO

from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event, StreamSink
from finetune_engine.ports import ControlFile, Run, Stopped
from finetune_engine.train.launch import ErrorsOnly, follow, is_first
from finetune_engine.train.lock import FolderBusy, take_lock

COMMANDS = {
    "prepare": "finetune_engine.data.commands",
    "snapshot": "finetune_engine.data.commands",
    "train": "finetune_engine.train.command",
    "probe": "finetune_engine.train.probe",
    "cancel-remote": "finetune_engine.train.provider.command",
    "evaluate": "finetune_engine.evaluate.command",
    "export": "finetune_engine.export.command",
    "serve": "finetune_engine.serve.command",
}
OK, FAILED, MISTAKE, STOPPED, BUSY = 0, 1, 2, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    own_process = argv is None
    argv = sys.argv[1:] if argv is None else argv
    # Before torch: waiting threads must sleep, not spin (3-5 times slower on a shared machine).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    args = build_parser(argv).parse_args(argv, argparse.Namespace(own_process=own_process))
    events = StreamSink(_private_stdout())
    run = Run(sink=events if is_first() else ErrorsOnly(events))
    try:
        return _carry_out(args, run)
    except Stopped as stopped:
        run.emit("stopped", action=stopped.action)
        return STOPPED
    except FolderBusy as busy:
        message = f"Another process is already working in {busy}."
        run.emit("error", reason="internal", code="already_running", message=message)
        return BUSY
    except UserError as mistake:
        run.emit("error", reason=mistake.reason, **mistake.as_dict())
        return MISTAKE
    except EngineError as failure:
        _tell(failure)
        run.emit("error", reason=failure.reason, code=failure.reason, message=failure.message, details=failure.details)
        return FAILED
    except Exception as unexpected:  # the front door: whatever happened is recorded as an event
        _tell(unexpected)
        run.emit("error", **explain(unexpected))
        return FAILED


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The argument parser; only the module of the command at hand is imported."""
    parser = argparse.ArgumentParser(prog="python -m finetune_engine", description="Tunesmith's workshop.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((word for word in argv if not word.startswith("-")), None)
    modules = {COMMANDS[asked]} if asked in COMMANDS else dict.fromkeys(COMMANDS.values())
    for name in modules:
        importlib.import_module(name).add_arguments(subparsers)
    return parser


def explain(problem: BaseException) -> dict[str, object]:
    """The ``error`` event's data for an exception nobody foresaw: memory and disk have reasons of their own."""
    text = f"{type(problem).__name__}: {problem}"
    lowered = text.lower()
    if isinstance(problem, MemoryError) or "can't allocate memory" in lowered or "not enough memory" in lowered:
        sentence = "The computer's memory was full. Use a smaller model, shorter texts or a smaller batch."
        return {"reason": "oom_host", "code": "oom_host", "message": sentence, "details": {"error": text}}
    if type(problem).__name__ == "OutOfMemoryError" or "cuda out of memory" in lowered:
        sentence = "The GPU's memory was full. Use a smaller model, a shorter maximum length or a smaller batch."
        return {"reason": "oom_gpu", "code": "oom_gpu", "message": sentence, "details": {"error": text}}
    if getattr(problem, "errno", None) == 28 or "no space left on device" in lowered:
        return {"reason": "disk_full", "code": "disk_full", "message": "There is no room left on the disk."}
    return {"reason": "internal", "code": "internal", "message": text}


def _carry_out(args: argparse.Namespace, run: Run) -> int:
    if wait := getattr(args, "wait", None):
        wait(args)
    out: Path | None = getattr(args, "out", None)
    if out is None:
        raise UserError("no_out", "Say where the results go with --out DIR.", field="out", reason="bad_config")
    out = args.out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    lock = None
    if is_first():
        lock = take_lock(out)
        control = ControlFile(out / "control.json")
        control.listen_for_sigterm()
        run.stop = control
    else:
        follow()
    args.func(args, run)
    run.sink.emit(Event("done", run.clock.now()))
    if lock is not None:
        os.close(lock)
    return OK


def _private_stdout() -> IO[str]:
    """The real standard output for events alone; from here on, printing goes to standard error."""
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    return events


def _tell(problem: BaseException) -> None:
    traceback.print_exception(problem, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
