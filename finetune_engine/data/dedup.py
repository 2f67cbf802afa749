"""The same example again, almost the same one, and the same question with another answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from finetune_engine.data.shingles import U64, ShingleSets, boilerplate, jaccard, shingle, without

THRESHOLD = 0.7
BANDS, ROWS_PER_BAND = 42, 6
PERMUTATIONS = BANDS * ROWS_PER_BAND
_STEP = 2_000
_ALL_PAIRS_UP_TO = 12
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Ints = npt.NDArray[np.int64]
TextsOf = Callable[[Ints], list[str]]


def same_as_first(keys: U64, usable: npt.NDArray[np.bool_]) -> Ints:
    """For every item the index of the first usable item with the same key; -1 for items that are not usable."""
    first = np.full(len(keys), -1, np.int64)
    index = np.flatnonzero(usable)
    if not len(index):
        return first
    _, start, inverse = np.unique(keys[index], return_index=True, return_inverse=True)
    first[index] = index[start[inverse]]
    return first


def groups(keys: U64, usable: npt.NDArray[np.bool_]) -> Iterator[Ints]:
    """Indexes of usable items that share a key, for keys that occur more than once; each group in order."""
    index = np.flatnonzero(usable)
    if not len(index):
        return
    order = index[np.argsort(keys[index], kind="stable")]
    yield from (order[start:end] for start, end in runs(keys[order]))


def runs(ordered: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Where an ordered array repeats a value: ``(start, end)`` of every run of at least two."""
    if not len(ordered):
        return
    starts = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    ends = np.append(starts[1:], len(ordered))
    long = ends - starts > 1
    yield from zip(starts[long].tolist(), ends[long].tolist(), strict=True)


@dataclass
class NearPairs:
    """Pairs ``(i, j, likeness)`` with i < j, every one checked by exact Jaccard on the shingles."""

    pairs: list[tuple[int, int, float]] = field(default_factory=list)
    by_characters: set[int] = field(default_factory=set)


def near_pairs(index: Ints, texts_of: TextsOf, settings: U64 | None = None) -> NearPairs:
    """Pairs of texts among ``index`` with Jaccard of at least 0.7, both whole and less what most texts share.

    ``texts_of`` gives normalised texts for some indexes and is asked for a few thousand at a time. ``settings``
    (by index) keeps texts apart that stand in different conversations; None compares all.
    """
    found = NearPairs()
    if len(index) < 2:
        return found
    bands, common = _bands(index, texts_of)
    candidates = _candidates(bands, index, settings)
    if not candidates:
        return found
    wanted = np.unique(np.array(sorted(candidates), np.int64))
    whole: dict[int, U64] = {}
    own: dict[int, U64] = {}
    for part in _parts(wanted):
        shingled = shingle(texts_of(part))
        telling = without(shingled, common)
        for place, item in enumerate(part.tolist()):
            whole[item], own[item] = shingled.of(place), telling.of(place)
            if shingled.by_characters[place]:
                found.by_characters.add(item)
    for first, second in sorted(candidates):
        if not len(own[first]) or not len(own[second]) or jaccard(own[first], own[second]) < THRESHOLD:
            continue
        likeness = jaccard(whole[first], whole[second])
        if likeness >= THRESHOLD:
            found.pairs.append((first, second, likeness))
    return found


def _parts(index: Ints) -> list[Ints]:
    return [index[at : at + _STEP] for at in range(0, len(index), _STEP)]


def _bands(index: Ints, texts_of: TextsOf) -> tuple[npt.NDArray[np.uint32], U64]:
    """Band keys ``[texts, bands]`` and the shingles left out because they are in most texts."""
    common: U64 | None = None
    rows: list[npt.NDArray[np.uint32]] = []
    for part in _parts(index):
        sets = shingle(texts_of(part))
        if common is None:
            common = boilerplate(sets)
        rows.append(_band_keys(without(sets, common)))
    return np.concatenate(rows), common if common is not None else np.zeros(0, np.uint64)


def _band_keys(sets: ShingleSets) -> npt.NDArray[np.uint32]:
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(sets.hashes, sets.offsets.tolist(), PERMUTATIONS, 42)
    digests = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(sets), BANDS, ROWS_PER_BAND)
    key = np.zeros((len(sets), BANDS), np.uint64)
    with np.errstate(over="ignore"):
        for place in range(ROWS_PER_BAND):
            key = (key ^ digests[:, :, place]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(31)
    short: npt.NDArray[np.uint32] = (key >> np.uint64(16)).astype(np.uint32)
    empty = np.flatnonzero(np.diff(sets.offsets) == 0)
    short[empty] = empty[:, None].astype(np.uint32) * np.uint32(2654435761)  # texts without shingles match nothing
    return short


def _candidates(bands: npt.NDArray[np.uint32], index: Ints, settings: U64 | None) -> set[tuple[int, int]]:
    """Pairs that share a band. Large buckets are chained instead of paired, so that work stays linear."""
    out: set[tuple[int, int]] = set()
    apart = settings[index] if settings is not None else np.zeros(len(index), np.uint64)
    for band in range(bands.shape[1]):
        keys = bands[:, band]
        order = np.argsort(keys, kind="stable")
        for start, end in runs(keys[order]):
            _pair_up(order[start:end], index, apart, out)
    return out


def _pair_up(bucket: Ints, index: Ints, apart: U64, out: set[tuple[int, int]]) -> None:
    members = bucket.tolist()
    if len(members) <= _ALL_PAIRS_UP_TO:
        pairs = ((a, b) for i, a in enumerate(members) for b in members[i + 1 :])
    else:
        star = ((members[0], b) for b in members[1:])
        chain = ((a, b) for gap in (1, 2, 3) for a, b in zip(members, members[gap:], strict=False))
        pairs = iter([*star, *chain])  # type: ignore[assignment]
    for a, b in pairs:
        if apart[a] == apart[b]:
            first, second = int(index[a]), int(index[b])
            out.add((first, second) if first < second else (second, first))


class Clusters:
    """Union of items into clusters; the smallest index stands for its cluster."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """The item that stands for the cluster of ``item``."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Put two items into one cluster."""
        a, b = self.find(first), self.find(second)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def shared(self) -> dict[int, int]:
        """The item that stands for each item that is not alone."""
        size = Counter(stands := [self.find(item) for item in range(len(self._parent))])
        return {item: first for item, first in enumerate(stands) if size[first] > 1}

    def members(self) -> dict[int, list[int]]:
        """The items of every cluster, in order, by the item that stands for it."""
        out: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            out.setdefault(self.find(item), []).append(item)
        return out


def same_numbers(first: str, second: str) -> bool:
    """Whether two texts name the same figures: "within 30 days" and "within 60 days" are different questions."""
    return sorted(_NUMBER.findall(first)) == sorted(_NUMBER.findall(second))


def alike(first: str, second: str) -> bool:
    """Whether two normalised answers say nearly the same (Jaccard of at least 0.7)."""
    if first == second:
        return True
    if not first or not second:
        return False
    sets = shingle([first, second])
    if sets.by_characters[0] != sets.by_characters[1]:
        return False
    return jaccard(sets.of(0), sets.of(1)) >= THRESHOLD and same_numbers(first, second)


def hash64(texts: pl.Series) -> U64:
    """A 64-bit key for each text; missing ones share one."""
    return texts.hash(seed=7).to_numpy().astype(np.uint64)
