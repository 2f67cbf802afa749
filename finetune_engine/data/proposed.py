"""Rows that somebody proposed: they wait for a decision, say where they came from, and change no other row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson
import polars as pl

from finetune_engine.data.records import Finding

PROVENANCE = "provenance"
"""The column of a file of proposals that says in a sentence who proposed the row and why."""


def proposed_findings(frame: pl.DataFrame) -> Iterator[Finding]:
    """One ``proposed`` finding for every row of a batch whose rows are counted in their own file. The sentence is the
    row's ``provenance``."""
    for row, metadata in frame.select("row", "metadata").iter_rows():
        values = orjson.loads(metadata) if metadata else {}
        told = " ".join(str(values.get(PROVENANCE) or "").split()) or "Somebody proposed this row."
        yield Finding(
            "proposed",
            f"{told} Nothing is learnt from it before somebody accepts it.",
            row=row,
            expected="a person's decision",
            fix="Accept it, edit it, or leave it out.",
        )


def without_effect_of(proposals: Sequence[range], related: Mapping[int, list[Finding]]) -> dict[int, list[Finding]]:
    """What the comparison of rows found, by index of the stored row, less what it holds against other rows because of
    ``proposals`` (indexes): nobody has accepted those, so they make no other row a duplicate or a contradiction."""
    if not proposals:
        return dict(related)

    def is_proposed(index: int) -> bool:
        return any(index in part for part in proposals)

    return {
        index: findings
        if is_proposed(index)
        else [f for f in findings if f.related_row is None or not is_proposed(f.related_row - 1)]
        for index, findings in related.items()
    }
