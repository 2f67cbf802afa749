"""Import what a training needs, and not what its libraries would bring along for other purposes.

peft imports bitsandbytes (with torch's compiler behind it) wherever it is installed, and transformers scipy and
scikit-learn for losses and decoders that no text model has: a quarter of the time until the first step. They look whether
a package is there before they use it; here it is hidden while they look. They remember the answer, so this is for a
process that trains and ends, never for one that goes on to other work.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNNEEDED = ("scipy", "sklearn")
FOUR_BIT = "bitsandbytes"
LOOKING = ("transformers.generation.utils", "transformers.loss.loss_utils", "peft")


def import_for(spec: Mapping[str, Any]) -> None:
    """Import the libraries that the training of ``spec`` (as read from its file) needs, lean where they are new."""
    if "transformers" in sys.modules or "peft" in sys.modules:
        return
    with hidden([*UNNEEDED, *([] if may_be_packed(spec) else [FOUR_BIT])]):
        for name in LOOKING:
            importlib.import_module(name)
        looked = importlib.import_module("peft.import_utils")
        looked.is_bnb_available()
        looked.is_bnb_4bit_available()


def may_be_packed(spec: Mapping[str, Any]) -> bool:
    """Whether 4-bit weights may come up: asked for, or in the model's folder, or not known before it is fetched."""
    training, base = spec.get("training"), spec.get("base_model")
    if not isinstance(base, Mapping) or not base.get("path"):
        return True
    if isinstance(training, Mapping) and training.get("peft") == "qlora":
        return True
    try:
        return "quantization_config" in json.loads((Path(str(base["path"])) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return True


@contextmanager
def hidden(names: Sequence[str]) -> Iterator[None]:
    """Inside, packages not imported yet seem not to be installed."""
    new = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(new))
    try:
        yield
    finally:
        for name in new:
            if name in modules and modules[name] is None:
                del modules[name]
