"""``python -m finetune_engine evaluate SPEC.json --out DIR``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from finetune_engine.ports import Run


def add_arguments(subparsers: Any) -> None:
    """Describe the command; nothing heavy is imported until it runs."""
    parser = subparsers.add_parser("evaluate", help="score models on a snapshot's test cases")
    parser.add_argument("spec", type=Path, metavar="SPEC.json", help="what to evaluate")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where report.json goes")
    parser.set_defaults(func=run_command)


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Read the spec, evaluate, write ``report.json`` and ``samples.parquet``."""
    from finetune_engine.evaluate.run import evaluate
    from finetune_engine.evaluate.spec import read_spec

    evaluate(read_spec(args.spec), args.out, run)
