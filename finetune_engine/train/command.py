"""``python -m finetune_engine train SPEC.json --out DIR``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.ports import Run
from finetune_engine.train.launch import together
from finetune_engine.train.lean_imports import import_for
from finetune_engine.train.spec import RunSpec

STANDARD_INPUT = "-"
# What a training imports sooner or later; the last ones are found out late: by the optimiser and the commonest models.
WARM = (
    "peft",
    "finetune_engine.train.backends.local_peft",
    "pyarrow.parquet",
    "torch._dynamo",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
)


def add_arguments(subparsers: Any) -> None:
    """Declare the command; nothing heavy is imported before it runs."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="fine-tune a base model on a frozen dataset",
        description="Fine-tune a base model on a frozen dataset. With '-' as SPEC the trainer loads its libraries, "
        "waits for one spec on standard input (a line of JSON that also has 'out') and carries it out.",
    )
    parser.add_argument("spec", metavar="SPEC.json", help="the training spec, or - to wait for it on standard input")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where checkpoints and the artefact go")
    parser.set_defaults(func=run_command, wait=wait_for_spec)


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Train as the spec says. Raises UserError, EngineError or Stopped."""
    raw = args.spec_content if getattr(args, "spec_content", None) is not None else read_spec(Path(args.spec))
    spec = RunSpec.from_dict(raw)
    if spec.provider is not None:
        from finetune_engine.train.backends import openai_api

        openai_api.run_training(run, spec, args.out)
        return
    if getattr(args, "own_process", False):
        import_for(raw)
    from finetune_engine.train.backends.local_peft import run_training
    from finetune_engine.train.local.fit import processes_for
    from finetune_engine.train.local.team import joined

    with together(run.sink, raw, args.out, processes_for(spec)), joined() as team:
        run_training(run, spec, args.out, team=team)


def wait_for_spec(args: argparse.Namespace) -> None:
    """Be a warm trainer: import what training needs, then block until a spec arrives; fills ``args``.

    Raises UserError when the line is no spec; SystemExit(0) when the input ends without one.
    """
    if args.spec != STANDARD_INPUT:
        return
    for name in WARM:
        importlib.import_module(name)
    line = sys.stdin.readline()
    if not line.strip():
        raise SystemExit(0)
    args.spec_content = _parse(line, "standard input")
    if isinstance(args.spec_content, dict) and args.spec_content.get("out"):
        args.out = Path(args.spec_content["out"])


def read_spec(path: Path) -> Any:
    """The JSON in a spec file. Raises UserError."""
    try:
        return _parse(path.read_text(encoding="utf-8"), path.name)
    except OSError as problem:
        sentence = f"The spec {path} cannot be read: {problem.strerror}."
        raise UserError("spec_missing", sentence, reason="bad_config") from problem


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise UserError("bad_spec", f"{name} is not valid JSON: {problem}.", reason="bad_config") from problem
