"""GGUF by llama.cpp's own converter, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from finetune_engine.errors import EngineError, UserError

VARIABLE = "GGUF_CONVERTER"
PROGRAM = "convert_hf_to_gguf.py"
MAGIC = b"GGUF"
SECONDS = 3 * 3600.0


def find_converter(given: Path | None = None) -> Path:
    """The converter: the one given, else the one on the path. Raises UserError ``no_converter``."""
    named = given or shutil.which(PROGRAM)
    if not named or not Path(named).is_file():
        raise UserError(
            "no_converter",
            f"This machine has no GGUF converter. Fetch llama.cpp, install what its {PROGRAM} needs, and set {VARIABLE} to "
            "that file's path for the worker. Until then export the merged model.",
            "kind",
            reason="bad_config",
        )
    return Path(named)


def convert(converter: Path, model: Path, target: Path) -> None:
    """Write ``target`` from the merged model in ``model``, in the weights' own precision.

    Raises EngineError when the converter fails or leaves something that is no GGUF file; ``disk_full`` when it says so.
    """
    command = [str(converter), str(model), "--outfile", str(target), "--outtype", "auto"]
    if converter.suffix == ".py" and not os.access(converter, os.X_OK):
        command.insert(0, sys.executable)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise EngineError("internal", f"the GGUF converter could not be run: {problem}") from problem
    if done.returncode and "no space left on device" in done.stderr.lower():
        raise EngineError("disk_full", "There is no room left on the disk for the GGUF file.")
    if done.returncode:
        raise EngineError("internal", f"the GGUF converter failed ({done.returncode}): {done.stderr[-1_000:]}")
    if not _is_gguf(target):
        raise EngineError("internal", f"the GGUF converter left no GGUF file: {done.stdout[-500:]}")


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
