"""Cheap questions about a whole column of texts, answered from its bytes.

Most texts are plain: printable ASCII with single blanks. Knowing that at once spares them every slower look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

_BLANK, _QUOTE, _COLON = 0x20, 0x22, 0x3A
_FIRST, _LAST = 0x20, 0x7E


def _buffers(column: pl.Series) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """All bytes of a column without missing values, and where each text begins and the last one ends."""
    import polars as pl

    array = column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8), starts


def unusual(column: pl.Series) -> pl.Series:
    """Which texts (none may be missing) hold anything but printable ASCII."""
    import polars as pl

    found = np.zeros(len(column), bool)
    if len(column):
        data, starts = _buffers(column)
        data = data[starts[0] : starts[-1]]
        places = np.flatnonzero((data < _FIRST) | (data > _LAST))
        if len(places):
            found[np.searchsorted(starts, places + starts[0], side="right") - 1] = True
    return pl.Series("unusual", found)


def blanks(column: pl.Series) -> npt.NDArray[np.int32]:
    """How many plain blanks each text (none may be missing) holds."""
    counts = np.zeros(len(column), np.int32)
    if not len(column):
        return counts
    data, starts = _buffers(column)
    filled = np.flatnonzero(starts[1:] > starts[:-1])
    if len(filled):
        # An empty text would be given the count of the next one, so only the others are asked about.
        counts[filled] = np.add.reduceat(data[: starts[-1]] == _BLANK, starts[filled], dtype=np.int32)
    return counts


def names_written(lines: pl.Series) -> pl.Series:
    """How many names of objects each line of JSON (none may be missing) holds, counted by ``":`` and ``" :``; more when
    a text holds such marks."""
    import polars as pl

    if not len(lines):
        return pl.Series("names", [], dtype=pl.Int64)
    data, starts = _buffers(lines)
    # No line of an object begins with a colon, so looking back never leaves the line that matters.
    colons = np.flatnonzero(data[: starts[-1]] == _COLON)
    colons = colons[colons > 1]
    before = data[colons - 1]
    names = (before == _QUOTE) | ((before == _BLANK) & (data[colons - 2] == _QUOTE))
    owner = np.searchsorted(starts, colons[names], side="right") - 1
    return pl.Series("names", np.bincount(owner, minlength=len(lines)))
