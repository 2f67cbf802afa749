"""The formats we read. Each file of this folder with a ``FORMAT`` is one; nothing else needs to know of it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from finetune_engine.data.formats.row_format import RowFormat

__all__ = ["RowFormat", "all_formats", "format_named"]


@cache
def all_formats() -> tuple[RowFormat, ...]:
    """Every format, the most telling first."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        candidate = getattr(importlib.import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if isinstance(candidate, RowFormat):
            found.append(candidate)
    return tuple(sorted(found, key=lambda f: -f.priority))


def format_named(name: str) -> RowFormat | None:
    """The format with this name; None when there is none."""
    return next((f for f in all_formats() if f.name == name), None)
