"""What is remembered of each row of a snapshot while its splits are decided, and what leaks between splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from finetune_engine.data.canonical import normalised
from finetune_engine.data.dedup import Clusters, hash64, near_pairs
from finetune_engine.data.records import quoted
from finetune_engine.data.snapshot_spec import NEAR_DUPLICATES, SnapshotSpec
from finetune_engine.data.splitting import SPLITS, Unit, assign
from finetune_engine.errors import UserError

# Up to so many rows the final texts are compared with one another; of larger sets the clusters found by ``prepare``
# are known, and only sameness is looked for again.
COMPARED_ROWS = 20_000
_BATCH_ROWS = 20_000

U64 = npt.NDArray[np.uint64]


def shown_text(frame: pl.DataFrame) -> pl.Series:
    """The normalised input of each row; the answer where there is no input."""
    prompt, answer = normalised(frame["prompt"]), normalised(frame["answer"])
    return prompt.zip_with(prompt != "", answer)


def group_keys(values: pl.Series) -> U64:
    """A key of the group of each row, 0 for none."""
    if values.null_count() == len(values):
        return np.zeros(len(values), np.uint64)
    return np.where(values.is_null().to_numpy(), np.uint64(0), hash64(values.fill_null("")))


class Index:
    """The few things kept in memory about each included row, in order of row."""

    def __init__(self, spec: SnapshotSpec, *, keeps_texts: bool) -> None:
        self._spec = spec
        self._keeps_texts = keeps_texts
        self._parts: dict[str, list[pl.Series]] = defaultdict(list)
        self._texts: list[str] = []
        self.pairs: list[tuple[int, int]] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Take in some rows."""
        texts = shown_text(frame)
        if self._keeps_texts:
            self._texts += texts.to_list()
        parts = {name: frame[name] for name in ("row", "split", "cluster")}
        parts["label"] = frame["label"].cast(pl.Categorical)
        keys = {"key": hash64(texts), "content": hash64(frame["content_hash"]), "group": group_keys(frame["group"])}
        for name, part in (parts | {name: pl.Series(values) for name, values in keys.items()}).items():
            self._parts[name].append(part)

    def finish(self) -> Index:
        """Join what was taken in; find near pairs where the texts were kept."""
        self.count = sum(len(part) for part in self._parts["row"])
        if not self.count:
            return self
        joined = {name: pl.concat(parts) for name, parts in self._parts.items()}
        self._parts.clear()
        self.rows = joined["row"].to_numpy()
        self.labels, self.splits, self.clusters = joined["label"], joined["split"], joined["cluster"]
        self.keys, self.contents, self.groups = (joined[n].to_numpy() for n in ("key", "content", "group"))
        wanted = self._spec.group_by
        if wanted not in (None, NEAR_DUPLICATES) and not self.groups.any():
            raise UserError(
                "bad_spec",
                f"No example has a value in {quoted(wanted)}, so rows cannot be kept together by it. Choose another column.",
                field="group_by",
                reason="bad_config",
            )
        if self._keeps_texts:
            _, first = np.unique(self.keys, return_index=True)
            found = near_pairs(np.sort(first), lambda part: [self._texts[i] for i in part.tolist()])
            self.pairs = [(a, b) for a, b, _ in found.pairs]
            self._texts = []
        return self

    def divide(self) -> npt.NDArray[np.int8]:
        """The place in ``SPLITS`` of every row: frozen and uploaded ones first, the rest by clusters."""
        fixed = self._fixed()
        members = self._members()
        names = np.array(self.labels.to_list(), dtype=object) if self._spec.stratify_by == "label" else None
        out = fixed.copy()
        units = []
        for cluster in members:
            loose = [i for i in cluster if fixed[i] < 0]
            if loose and len(loose) < len(cluster):
                # A row like a held-out one must not be learnt from: it follows the most protected of its cluster.
                out[loose] = max(int(fixed[i]) for i in cluster)
            elif loose:
                units.append(Unit(tuple(loose), _stratum(names, loose)))
        for i, name in assign(units, self._shares_left(fixed), self._spec.seed).items():
            out[i] = SPLITS.index(name)
        return out

    def _members(self) -> Iterator[list[int]]:
        """Rows that must stay together: the same input, nearly the same input, or the same group."""
        clusters = Clusters(self.count)
        for a, b in self.pairs:
            clusters.join(a, b)
        known = self.clusters.is_not_null()
        of_clusters = self.clusters.fill_null(0).to_numpy().astype(np.uint64)
        everything = np.ones(self.count, bool)
        for keys, usable in (
            (self.keys, everything),
            (of_clusters, known.to_numpy()),
            (self.groups, self.groups != 0),
        ):
            for group in groups_of(keys, usable):
                for other in group[1:]:
                    clusters.join(group[0], other)
        return clusters.members()

    def _fixed(self) -> npt.NDArray[np.int8]:
        """Rows whose split is settled already, by the file they came in or by an earlier snapshot; -1 for the rest."""
        wanted = {name for name in SPLITS if self._spec.split.get(name, 0) > 0}
        uploaded = set(self.splits.drop_nulls().unique().to_list())
        # What came as held out is never learnt from. A part that the file did not come with is taken from its train rows.
        settled = uploaded if wanted <= uploaded else uploaded - {"train"}
        places = {name: place for place, name in enumerate(SPLITS) if name in settled}
        fixed = self.splits.replace_strict(places, default=-1, return_dtype=pl.Int8).fill_null(-1).to_numpy().copy()
        if self._spec.frozen_test is not None:
            frozen = earlier_rows(self._spec.frozen_test)
            test = frozen.filter(pl.col("split") == "test")
            stays = np.isin(self.keys, test["key"].to_numpy()) | np.isin(self.contents, test["content"].to_numpy())
            fixed[stays] = SPLITS.index("test")
        return fixed

    def _shares_left(self, fixed: npt.NDArray[np.int8]) -> dict[str, float]:
        """Shares for the rows that are not settled: a split that is settled already takes no more."""
        settled = {SPLITS[place] for place in np.unique(fixed) if place >= 0}
        shares = {n: share for n, share in self._spec.split.items() if n == "train" or n not in settled}
        return shares if sum(shares.values()) > 0 else {"train": 1.0}

    def leakage(self, splits: npt.NDArray[np.int8]) -> dict[str, int]:
        """Rows outside train whose input is (nearly) that of a row in train, and rows that earlier snapshots held for
        another purpose."""
        train = splits == SPLITS.index("train")
        found = {
            "exact_across_splits": int((np.isin(self.keys, self.keys[train]) & ~train).sum()),
            "near_across_splits": self._near_leaks(train),
        }
        if self._spec.earlier:
            found |= {"earlier_test_in_train": 0, "earlier_train_in_test": 0}
            then = pl.concat([earlier_rows(path) for path in self._spec.earlier])
            for name, was, now in (
                ("earlier_test_in_train", "test", "train"),
                ("earlier_train_in_test", "train", "test"),
            ):
                rows = then.filter(pl.col("split") == was)
                mine = splits == SPLITS.index(now)
                same = np.isin(self.keys, rows["key"].to_numpy()) | np.isin(self.contents, rows["content"].to_numpy())
                found[name] = int((same & mine).sum())
        return found

    def _near_leaks(self, train: npt.NDArray[np.bool_]) -> int:
        """Rows outside train that are nearly a row in train: by pairs where texts were compared, else by clusters."""
        if self._keeps_texts:
            return len({b if train[a] else a for a, b in self.pairs if train[a] != train[b]})
        known = self.clusters.is_not_null().to_numpy()
        of_clusters = self.clusters.fill_null(0).to_numpy()
        return int((known & ~train & np.isin(of_clusters, of_clusters[known & train])).sum())


def groups_of(keys: U64, usable: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Indexes of usable items that share a key, for keys that occur more than once."""
    from finetune_engine.data.dedup import groups

    return [group.tolist() for group in groups(keys, usable)]


def _stratum(names: Any, members: list[int]) -> str | None:
    if names is None:
        return None
    if len(members) == 1:
        return names[members[0]] or None
    return Counter(names[i] or "" for i in members).most_common(1)[0][0] or None


def earlier_rows(path: Path) -> pl.DataFrame:
    """``split``, ``key`` (of the input) and ``content`` of the rows of an earlier snapshot."""
    parts = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["split", "prompt", "answer", "content_hash"]):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            parts.append(
                frame.select("split").with_columns(
                    pl.Series("key", hash64(shown_text(frame))), pl.Series("content", hash64(frame["content_hash"]))
                )
            )
    empty = pl.DataFrame(schema={"split": pl.String, "key": pl.UInt64, "content": pl.UInt64})
    return pl.concat(parts) if parts else empty
