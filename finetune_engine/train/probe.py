"""``python -m finetune_engine probe SPEC.json --out DIR``: measure this machine with a training's own model and data."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from finetune_engine.ports import Run
from finetune_engine.train.spec import RunSpec

RESULT = "probe.json"


def add_arguments(subparsers: Any) -> None:
    """Declare the command; nothing heavy is imported before it runs."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "probe",
        help="measure how fast and with how much memory a training would run here",
        description="Load the model of a training spec and make a few steps, a check and some answers with its longest "
        f"texts. Writes {RESULT}. Memory that does not suffice is a result, not a failure.",
    )
    parser.add_argument("spec", metavar="SPEC.json", help="a training spec")
    parser.add_argument("--out", metavar="DIR", type=Path, help=f"where {RESULT} goes")
    parser.set_defaults(func=run_command, started=time.monotonic())


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Measure, write ``probe.json``, emit it as ``result``. Raises UserError, EngineError or Stopped."""
    from finetune_engine.train.command import read_spec
    from finetune_engine.train.local.measure import measure

    spec = RunSpec.from_dict(read_spec(Path(args.spec)))
    found = measure(run, spec, started=args.started).as_dict()
    path: Path = args.out / RESULT
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(found, indent=1), encoding="utf-8")
    draft.replace(path)
    run.emit("result", probe=RESULT, **found)
