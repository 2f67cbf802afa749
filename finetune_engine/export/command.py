"""``python -m finetune_engine export SPEC.json --out DIR``: a trained model as one archive."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_engine.errors import EngineError
from finetune_engine.export.gguf import VARIABLE
from finetune_engine.ports import Run, Stopped

if TYPE_CHECKING:
    from finetune_engine.export.spec import ExportSpec

ARCHIVE = "model.zip"
CHECKS = "checks.json"
# Named as scraps are, so that they are swept away even when the program is killed.
FOLDER = ".tmp-folder"
PACKING = ".tmp-model.zip"


def add_arguments(subparsers: Any) -> None:
    """Describe the command; nothing heavy is imported until it runs."""
    parser = subparsers.add_parser("export", help="write a model as a folder that runs elsewhere")
    parser.add_argument("spec", type=Path, metavar="SPEC.json", help="what to export")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where model.zip and checks.json go")
    parser.add_argument(
        "--converter",
        type=Path,
        default=os.environ.get(VARIABLE) or None,
        metavar="PROGRAM",
        help=f"llama.cpp's converter to GGUF, where the spec names none (default: ${VARIABLE})",
    )
    parser.set_defaults(func=run_command)


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Write the folder, compare it with the served model, pack it.

    Raises UserError for what cannot be exported so, EngineError when the export is not the model that was served.
    """
    from finetune_engine.export.spec import read_spec

    spec = read_spec(args.spec)
    export(replace(spec, converter=spec.converter or args.converter), args.out, run)


def export(spec: ExportSpec, out: Path, run: Run) -> dict[str, Any]:
    """Leave ``model.zip`` and ``checks.json`` in ``out``; returns the checks. When it fails it leaves nothing."""
    folder = out / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # an attempt before may have died in the middle
    try:
        checks = _write(spec, folder, run)
        _phase(run, "packing", 80)
        _pack(folder, out / PACKING)
        (out / PACKING).replace(out / ARCHIVE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (out / PACKING).unlink(missing_ok=True)  # half an archive would only keep a full disk full
    (out / CHECKS).write_text(json.dumps(checks), encoding="utf-8")
    run.emit("progress", done=100, total=100, unit="percent")
    return checks


def _write(spec: ExportSpec, folder: Path, run: Run) -> dict[str, Any]:
    """All that goes into the archive, compared with the served model."""
    from finetune_engine.export import folders, gguf
    from finetune_engine.export.checks import compare

    converter = gguf.find_converter(spec.converter) if spec.kind == "gguf" else None
    model = folder / folders.MODEL
    model.mkdir(parents=True, exist_ok=True)
    _phase(run, "merging" if spec.kind != "adapter" else "copying", 0)
    (folders.write_adapter if spec.kind == "adapter" else folders.write_merged)(spec, model)
    _phase(run, "checking", 40)
    checks = compare(spec, model).as_dict()
    if not checks["is_equal"]:
        sentence = (
            f"The export was not kept: it differs from the model in use. {checks['same_answers']} of {checks['questions']} "
            f"questions got the same answer; the probability of a word moved by up to {checks['largest_shift']:.1%}."
        )
        raise EngineError("internal", sentence, checks)
    if converter is not None:
        _phase(run, "converting", 60)
        gguf.convert(converter, model, folder / "model.gguf")
        shutil.rmtree(model)
    folders.write_manual(spec, folder)
    (folder / CHECKS).write_text(json.dumps(checks, indent=1), encoding="utf-8")
    return checks


def _phase(run: Run, phase: str, percent: int) -> None:
    if run.boundary() == "pause":
        raise Stopped("pause")
    run.emit("phase", phase=phase)
    run.emit("progress", done=percent, total=100, unit="percent")


def _pack(folder: Path, archive: Path) -> None:
    """Weights hardly shrink, so they are stored as they are: the archive is made at the speed of the disk."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
