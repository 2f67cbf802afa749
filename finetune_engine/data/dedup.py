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
_STEP = 2_000
_ALL_PAIRS_UP_TO = 12
_SHARED_BY = 3
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

    Two sets that are this much alike, put in one common order, share a member among the first three tenths of each
    (Chaudhuri et al. 2006, prefix filtering). So only those beginnings are kept and compared, and no pair is missed
    as long as no beginning is shared by very many texts.
    """
    found = NearPairs()
    if len(index) < 2:
        return found
    keys, owners, common = _beginnings(index, texts_of)
    candidates = _candidates(keys, owners, index, settings)
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


def _beginnings(index: Ints, texts_of: TextsOf) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32], U64]:
    """The first shingles of every text with the place of the text in ``index``, and the shingles left out because they
    are in most texts. Shingles that the first texts share come last in the order: they say little."""
    common: U64 | None = None
    shared = np.zeros(0, np.uint64)
    keys: list[npt.NDArray[np.uint32]] = []
    owners: list[npt.NDArray[np.int32]] = []
    for number, part in enumerate(_parts(index)):
        sets = shingle(texts_of(part))
        if common is None:
            common = boilerplate(sets)
            values, counts = np.unique(sets.hashes, return_counts=True)
            shared = values[counts > _SHARED_BY]
        own = without(sets, common)
        begun, owner = _first_of_each(own, shared)
        # Half of the number is enough to find candidates: each is compared in full.
        keys.append((begun ^ (begun >> np.uint64(32))).astype(np.uint32))
        owners.append((owner + number * _STEP).astype(np.int32))
    return np.concatenate(keys), np.concatenate(owners), common if common is not None else np.zeros(0, np.uint64)


def _first_of_each(sets: ShingleSets, shared: U64) -> tuple[U64, Ints]:
    """The beginning of every set in the common order, and the set each shingle belongs to."""
    sizes = np.diff(sets.offsets)
    owner = np.repeat(np.arange(len(sets)), sizes)
    hashes = sets.hashes
    if len(shared) and len(hashes):
        late = shared[np.minimum(np.searchsorted(shared, hashes), len(shared) - 1)] == hashes
        if late.any():
            order = np.lexsort((hashes, late, owner))
            hashes = hashes[order]
    length = sizes - np.ceil(THRESHOLD * sizes - 1e-9).astype(np.int64) + 1
    first = np.arange(len(hashes)) - np.repeat(sets.offsets[:-1], sizes) < np.repeat(length, sizes)
    return hashes[first], owner[first]


def _candidates(
    keys: npt.NDArray[np.uint32], owners: npt.NDArray[np.int32], index: Ints, settings: U64 | None
) -> set[tuple[int, int]]:
    """Pairs that share a shingle of their beginnings. Large groups are chained instead of paired, so that work stays
    linear."""
    out: set[tuple[int, int]] = set()
    apart = settings[index] if settings is not None else np.zeros(len(index), np.uint64)
    order = np.argsort(keys, kind="stable")
    done: set[tuple[int, ...]] = set()
    for start, end in runs(keys[order]):
        bucket = tuple(owners[order[start:end]].tolist())
        if bucket not in done:  # twins share most of their beginnings
            done.add(bucket)
            _pair_up(bucket, index, apart, out)
    return out


def _pair_up(members: Sequence[int], index: Ints, apart: U64, out: set[tuple[int, int]]) -> None:
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

    def members(self) -> Iterator[list[int]]:
        """The items of every cluster, in order; an item that is alone is a cluster of one."""
        shared = self.shared()
        together: dict[int, list[int]] = {}
        for item, first in shared.items():
            together.setdefault(first, []).append(item)
        for item in range(len(self._parent)):
            if item not in shared:
                yield [item]
            elif item in together:
                yield together[item]


def same_numbers(first: str, second: str) -> bool:
    """Whether two texts name the same figures: "within 30 days" and "within 60 days" are different questions."""
    return sorted(_NUMBER.findall(first)) == sorted(_NUMBER.findall(second))


class Texts:
    """Normalised answers to be compared with one another, by index: each is cut up once."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts = texts
        self._places = {index: place for place, index in enumerate(texts)}
        self._sets = shingle(list(texts.values()))

    def alike(self, first: int, second: int) -> bool:
        """Whether two of them say nearly the same (Jaccard of at least 0.7, the same figures)."""
        one, other = self.texts[first], self.texts[second]
        if one == other:
            return True
        if not one or not other:
            return False
        a, b = self._places[first], self._places[second]
        if self._sets.by_characters[a] != self._sets.by_characters[b]:
            return False
        pieces, others = self._sets.of(a), self._sets.of(b)
        if min(len(pieces), len(others)) < THRESHOLD * max(len(pieces), len(others)):
            return False
        return jaccard(pieces, others) >= THRESHOLD and same_numbers(one, other)


def alike(first: str, second: str) -> bool:
    """``Texts.alike`` for two normalised answers."""
    return Texts({0: first, 1: second}).alike(0, 1)


def hash64(texts: pl.Series) -> U64:
    """A 64-bit key for each text; missing ones share one."""
    return texts.hash(seed=7).to_numpy().astype(np.uint64)
