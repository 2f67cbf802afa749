"""A column of lists in which most lists are empty, made without an object per row."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def sparse_lists(name: str, count: int, places: Sequence[int] | pl.Series, lists: Sequence[list[str]]) -> pl.Series:
    """``count`` lists of texts: ``lists`` at ``places``, empty ones elsewhere."""
    empty = pl.Series(name, [[]], dtype=pl.List(pl.String))
    if not lists:
        return empty.new_from_index(0, count)
    # Each row points to its list in a short column: the first there is the empty one.
    pointer = pl.repeat(0, count, dtype=pl.UInt32, eager=True)
    pointer = pointer.scatter(places, pl.Series(range(1, len(lists) + 1), dtype=pl.UInt32))
    return pl.concat([empty, pl.Series(name, lists, dtype=pl.List(pl.String))]).gather(pointer)
