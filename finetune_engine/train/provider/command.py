"""``python -m finetune_engine cancel-remote SPEC.json --out DIR``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.ports import Run


def add_arguments(subparsers: Any) -> None:
    """Declare the command; nothing heavy is imported before it runs."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "cancel-remote",
        help="cancel a training that a provider still carries out",
        description="Cancel the provider's job that the spec's 'provider' part remembers. The key is taken from the "
        "environment variable TUNESMITH_PROVIDER_KEY.",
    )
    parser.add_argument("spec", metavar="SPEC.json", type=Path, help="an object with the part 'provider'")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where notes of this run go")
    parser.set_defaults(func=run_command)


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Cancel. Raises UserError or EngineError when the provider would not."""
    from finetune_engine.train.backends.openai_api import cancel_remote
    from finetune_engine.train.provider.settings import ProviderSettings

    try:
        raw = json.loads(args.spec.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError("bad_spec", f"{args.spec.name} cannot be read: {problem}.", reason="bad_config") from problem
    run.emit("phase", phase="stopping at the provider")
    cancel_remote(run, ProviderSettings.from_dict(raw.get("provider")), args.out)
