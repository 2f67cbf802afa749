"""Which columns of their own the rows of a snapshot carry."""

from __future__ import annotations

import json
import logging

from datasets_app.models import Snapshot
from datasets_app.queries import snapshot_parquet
from finetune_engine.errors import EngineError, UserError

log = logging.getLogger(__name__)

LOOKED_AT = 500  # rows whose columns are read; columns are the same in all rows but for gaps
MOST_OFFERED = 40  # in a list that a person reads
_OURS = frozenset({"source", "file", "row", "sheet"})


def metadata_columns(snapshot: Snapshot) -> list[str]:
    """The metadata columns of the rows, sorted. Empty while the file cannot be read."""
    if not snapshot.storage_prefix:
        return []
    import polars as pl

    try:
        rows = pl.scan_parquet(snapshot_parquet(snapshot)).select("metadata").head(LOOKED_AT).collect()["metadata"]
    except (OSError, pl.exceptions.PolarsError, UserError, EngineError) as problem:
        log.info("the columns of snapshot %s cannot be read: %s", snapshot.pk, problem)
        return []
    found: set[str] = set()
    for text in rows:
        values = _values(text)
        found.update(name for name, value in values.items() if isinstance(value, str | int | float | bool))
    return sorted(found - _OURS)


def _values(text: str | None) -> dict[str, object]:
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
