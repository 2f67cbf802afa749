"""``prepare`` and ``snapshot`` on the command line. Heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_engine.errors import UserError
from finetune_engine.ports import Run

# Names that mallopt(3) gives to: hand memory back from this size on, and take blocks of this size apart from the rest.
_TRIM_ABOVE, _MAP_ABOVE = -1, -3

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_arguments(subparsers: _SubParsers) -> None:
    """Add both commands to a parser of ``python -m finetune_engine``."""
    prepare = subparsers.add_parser("prepare", help="check files of examples and write them in canonical form")
    kinds = "JSON lines, JSON, CSV, TSV, Excel (.xlsx) or Parquet (.parquet); each also gzipped"
    prepare.add_argument("files", metavar="file", type=Path, nargs="+", help=kinds)
    prepare.add_argument("--out", type=Path, required=True, help="folder for the results")
    prepare.add_argument("--options", type=Path, help="JSON file with the choices for this import")
    prepare.add_argument("--report", action="store_true", help="print a summary to read instead of events")
    prepare.set_defaults(func=prepare_command)
    snapshot = subparsers.add_parser("snapshot", help="freeze checked examples into train, validation and test")
    snapshot.add_argument("spec", type=Path, help="JSON file that says which examples and how to split them")
    snapshot.add_argument("--out", type=Path, required=True, help="folder for the results")
    snapshot.set_defaults(func=snapshot_command)


def prepare_command(args: argparse.Namespace, run: Run) -> None:
    """Check ``args.files`` and write chunks, findings and report to ``args.out``."""
    spare_the_machine()
    from finetune_engine.data.options import read_options
    from finetune_engine.data.prepare import prepare

    for file in args.files:
        if not file.is_file():
            raise UserError("file_not_found", f"There is no file {file}.", field="file")
    options = read_options(read_json(args.options) if args.options else None)
    if not args.report:
        prepare(args.files, args.out, options, run)
        return
    from finetune_engine.data.report import summary
    from finetune_engine.events import ListSink

    print(summary(prepare(args.files, args.out, options, replace(run, sink=ListSink()))))


def spare_the_machine() -> None:
    """Settings for the table engine, before it is loaded: batches are small, so a second thread costs more than it
    gives, and memory that the next batch needs is not handed back in between."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")
    with suppress(OSError, AttributeError):  # only the C library of most Linux systems has this setting
        keep = ctypes.CDLL(None).mallopt
        keep(_TRIM_ABOVE, 1 << 26)
        keep(_MAP_ABOVE, 1 << 25)


def snapshot_command(args: argparse.Namespace, run: Run) -> None:
    """Freeze the examples that ``args.spec`` names into ``args.out``."""
    spare_the_machine()
    from finetune_engine.data.snapshot import make_snapshot, read_spec

    make_snapshot(read_spec(read_json(args.spec)), args.out, run)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. UserError when it is missing or not an object."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError("bad_spec", f"{path} could not be read as JSON: {error}.", reason="bad_config") from error
    if not isinstance(raw, dict):
        raise UserError("bad_spec", f"{path} must hold one JSON object.", reason="bad_config")
    return raw
