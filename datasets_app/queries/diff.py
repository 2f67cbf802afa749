"""What differs between two snapshots of a dataset.

Rows are matched by their text first, so that a row whose number moved is still the same row; what is left is matched
by its number, and counts as changed only when enough of its words are still there. Both files are read in batches,
and what is kept of each row is a few numbers. Snapshots never change, so the counts are kept on this machine's disk.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import gettext as _

from datasets_app.models import Snapshot
from datasets_app.queries.membership import SAME_WORDS, groups_with
from datasets_app.queries.snapshots import snapshot_parquet
from datasets_app.word_diff import Piece, word_diff
from finetune_engine.errors import UserError

if TYPE_CHECKING:
    import polars as pl

KINDS = ("added", "removed", "changed", "relabelled", "moved")
SHOWN = 10  # examples of each kind
MOST_AT_ONCE = 100_000  # rows of both snapshots that are compared while the page is drawn
_BATCH = 5_000
_CHECKED_AT_ONCE = 10_000
_LONGEST = 6_000  # characters of a row that a comparison shows
_VERSION = 1


@dataclass(frozen=True)
class DiffExample:
    """One row that differs. A side is empty where the row is not in that snapshot; ``old_pieces`` and ``new_pieces``
    say which words are gone and new."""

    row: int
    old_split: str = ""
    new_split: str = ""
    old_label: str = ""
    new_label: str = ""
    old_pieces: list[Piece] = field(default_factory=list)
    new_pieces: list[Piece] = field(default_factory=list)

    @property
    def old_text(self) -> str:
        """The row as it was."""
        return "".join(piece.text for piece in self.old_pieces)

    @property
    def new_text(self) -> str:
        """The row as it is now."""
        return "".join(piece.text for piece in self.new_pieces)


@dataclass(frozen=True)
class SnapshotDiff:
    """``counts`` by kind: rows ``added`` and ``removed``, ``changed`` in their words, ``relabelled`` (another label),
    ``moved`` to another split (of those that are in both), and ``unchanged``. ``examples``: the first of each kind."""

    counts: dict[str, int]
    examples: dict[str, list[DiffExample]]

    @property
    def is_empty(self) -> bool:
        """Whether the two hold the same rows in the same splits."""
        return not any(self.counts[kind] for kind in KINDS)


@dataclass(frozen=True)
class DiffSection:
    """One kind of difference for the page."""

    key: str
    title: str
    meaning: str
    count: int
    examples: list[DiffExample]


def diff_sections(diff: SnapshotDiff) -> list[DiffSection]:
    """The kinds of difference in the order of the page, in plain words."""
    words = {
        "changed": (_("Changed"), _("The same rows with other words. Marked: what is gone, and what is new.")),
        "relabelled": (_("Another label"), _("Somebody decided that another answer is right.")),
        "added": (_("Added"), _("Rows that were not in the earlier snapshot.")),
        "removed": (_("Removed"), _("Rows that were in the earlier snapshot and are not in this one.")),
        "moved": (_("In another split"), _("Rows that are in both, and were dealt out differently.")),
    }
    return [
        DiffSection(key, title, meaning, diff.counts[key], diff.examples[key])
        for key, (title, meaning) in words.items()
    ]


def snapshot_diff(before: Snapshot, after: Snapshot) -> SnapshotDiff:
    """What changed from ``before`` to ``after``. Raises UserError when they are one, or one has no rows."""
    if before.pk == after.pk:
        raise UserError("same_snapshot", "Choose two different snapshots to compare.", field="from")
    old, new = snapshot_parquet(before), snapshot_parquet(after)
    kept = _place(before, after)
    found = _kept(kept)
    if found is None:
        found = _compare(old, new)
        _keep(kept, found)
    return SnapshotDiff(counts=found["counts"], examples=_examples(old, new, found["rows"]))


def takes_seconds(before: Snapshot, after: Snapshot) -> bool:
    """Whether comparing these two takes longer than a page should: they are large and were never compared here."""
    return before.total + after.total > MOST_AT_ONCE and not _place(before, after).exists()


def _place(before: Snapshot, after: Snapshot) -> Path:
    return Path(settings.CACHE_DIR) / "diffs" / f"{_VERSION}-{before.sha256[:32]}-{after.sha256[:32]}.json"


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _keep(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(found, file)
    os.replace(file.name, path)


def _compare(old: Path, new: Path) -> dict[str, Any]:
    """``{counts, rows}``: how many rows of each kind, and the numbers of the first ones."""
    import polars as pl

    a, b = _fingerprints(old), _fingerprints(new)
    same = a.join(b, on=["text", "nth"], how="inner", suffix="_new")
    old_left = a.join(same.select("row"), on="row", how="anti")
    new_left = b.join(same.select(pl.col("row_new").alias("row")), on="row", how="anti")
    pairs = old_left.join(new_left, on="row", how="inner", suffix="_new").sort("row")
    still = pairs.join(_same_rows(pairs, old, new), on="row", how="semi")
    both = pl.concat(
        [same.select(_PAIR), still.with_columns(pl.col("row").alias("row_new")).select(_PAIR)], how="vertical"
    ).sort("row_new")
    label_differs = pl.col("label") != pl.col("label_new")
    rows = {
        "added": new_left.join(still, on="row", how="anti")["row"].sort(),
        "removed": old_left.join(still, on="row", how="anti")["row"].sort(),
        "changed": still.filter(~label_differs)["row"],
        "relabelled": both.filter(label_differs)["row_new"],
        "moved": both.filter(pl.col("split") != pl.col("split_new"))["row_new"],
    }
    old_numbers = dict(zip(both["row_new"].to_list(), both["row"].to_list(), strict=True)) if _renumbered(both) else {}
    counts = {kind: len(found) for kind, found in rows.items()}
    touched = pl.concat([rows["changed"], rows["relabelled"], rows["moved"]]).n_unique()
    first = {kind: found.head(SHOWN).to_list() for kind, found in rows.items()}
    return {
        "counts": counts | {"unchanged": both.height - touched},
        "rows": {kind: [[old_numbers.get(row, row), row] for row in numbers] for kind, numbers in first.items()},
    }


_PAIR = ["row", "row_new", "label", "label_new", "split", "split_new"]


def _renumbered(both: pl.DataFrame) -> bool:
    return bool((both["row"] != both["row_new"]).any())


def _fingerprints(path: Path) -> pl.DataFrame:
    """``row, split, label, text, nth`` of every row: numbers in place of texts. ``nth`` counts rows of equal text."""
    import polars as pl

    frames = []
    for batch in _batches(path, ["row", "split", "label", "messages", "rejected"]):
        told = [pl.col(name).fill_null("") for name in ("messages", "rejected") if name in batch.columns]
        frames.append(
            batch.select(
                "row",
                pl.col("split").hash().alias("split"),
                pl.col("label").fill_null("").hash().alias("label"),
                pl.concat_str(told, separator="\x1f").hash().alias("text"),
            )
        )
    if not frames:
        schema = {"row": pl.Int64, "split": pl.UInt64, "label": pl.UInt64, "text": pl.UInt64, "nth": pl.Int64}
        return pl.DataFrame(schema=schema)
    return pl.concat(frames).with_columns(pl.int_range(pl.len()).over("text").alias("nth"))


def _same_rows(pairs: pl.DataFrame, old: Path, new: Path) -> pl.DataFrame:
    """Those of the pairs (rows of one number and different text) that still share enough words: ``row``."""
    import polars as pl

    kept = [pl.DataFrame(schema={"row": pl.Int64})]
    numbers = pairs["row"].to_list()
    for start in range(0, len(numbers), _CHECKED_AT_ONCE):
        some = numbers[start : start + _CHECKED_AT_ONCE]
        words = [
            _rows(path, some, ["row", "prompt", "answer"]).select(
                "row",
                pl.concat_str("prompt", "answer", separator=" ").str.to_lowercase().str.extract_all(r"\w+").alias("w"),
            )
            for path in (old, new)
        ]
        joined = words[0].join(words[1], on="row", suffix="_new")
        shared = pl.col("w").list.set_intersection("w_new").list.len()
        most = pl.max_horizontal(pl.col("w").list.n_unique(), pl.col("w_new").list.n_unique(), 1)
        kept.append(joined.filter(shared / most >= SAME_WORDS).select("row"))
    return pl.concat(kept)


def _examples(old: Path, new: Path, rows: dict[str, list[list[int]]]) -> dict[str, list[DiffExample]]:
    """The rows to show, with their words, read from both files."""
    columns = ["row", "split", "label", "messages", "rejected"]
    was = {r["row"]: r for r in _rows(old, sorted({o for kind in rows.values() for o, _ in kind}), columns).to_dicts()}
    now = {r["row"]: r for r in _rows(new, sorted({n for kind in rows.values() for _, n in kind}), columns).to_dicts()}
    examples: dict[str, list[DiffExample]] = {}
    for kind, numbers in rows.items():
        examples[kind] = [
            _example(
                new_row, None if kind == "added" else was.get(old_row), None if kind == "removed" else now.get(new_row)
            )
            for old_row, new_row in numbers
        ]
    return examples


def _example(row: int, old: dict[str, Any] | None, new: dict[str, Any] | None) -> DiffExample:
    before, after = _words_of(old), _words_of(new)
    if old is None or new is None:
        old_pieces = [Piece("same", before)] if before else []
        new_pieces = [Piece("same", after)] if after else []
    else:
        pieces = word_diff(before, after)
        old_pieces = [piece for piece in pieces if piece.kind != "ins"]
        new_pieces = [piece for piece in pieces if piece.kind != "del"]
    return DiffExample(
        row=row,
        old_split=(old or {}).get("split") or "",
        new_split=(new or {}).get("split") or "",
        old_label=(old or {}).get("label") or "",
        new_label=(new or {}).get("label") or "",
        old_pieces=old_pieces,
        new_pieces=new_pieces,
    )


def _words_of(record: dict[str, Any] | None) -> str:
    """A row as text: what each speaker says, a paragraph each."""
    if record is None:
        return ""
    messages = json.loads(record["messages"]) + json.loads(record.get("rejected") or "[]")
    text = "\n\n".join(str(m.get("content") or json.dumps(m.get("tool_calls") or "")) for m in messages)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    import polars as pl
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=False):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _rows(path: Path, numbers: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
    """The rows with these numbers (ascending), reading only the row groups that hold them."""
    import polars as pl
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = [name for name in columns if name in file.schema_arrow.names]
        frames = []
        for group in groups_with(file, numbers):
            frame = pl.from_arrow(file.read_row_group(group, columns=wanted, use_threads=False))
            assert isinstance(frame, pl.DataFrame)
            frames.append(frame.filter(pl.col("row").is_in(list(numbers))))
        if not frames:
            empty = pl.from_arrow(file.schema_arrow.empty_table().select(wanted))
            assert isinstance(empty, pl.DataFrame)
            return empty
        return pl.concat(frames)
