"""Texts as sets of overlapping pieces: five words, or five characters where words do not help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

U64 = npt.NDArray[np.uint64]
WIDTH = 5
SHORT_WORDS = 8
_BASE = np.uint64(0x9E3779B97F4A7C15)
# Shingles are numbers of 52 bits, so that a text's number within a few thousand fits beside one.
_OWNER_BITS, _HASH_BITS = np.uint64(12), np.uint64(52)
_HASH_MASK = np.uint64((1 << 52) - 1)
_BOILERPLATE_ROWS = 30
_BOILERPLATE_SHARE = 0.1


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of several texts, flat: those of text ``i`` are ``hashes[offsets[i]:offsets[i + 1]]``, sorted
    and each once. ``by_characters[i]`` tells that text ``i`` was cut into characters."""

    hashes: U64
    offsets: npt.NDArray[np.int64]
    by_characters: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, index: int) -> U64:
        """The shingles of one text."""
        return self.hashes[self.offsets[index] : self.offsets[index + 1]]


def shingle(texts: Sequence[str]) -> ShingleSets:
    """Shingles of normalised texts. Texts under eight words, and scripts without blanks, are cut into characters."""
    series = pl.Series("t", texts, dtype=pl.String)
    words = series.str.split(" ")
    counts = words.list.len().to_numpy().astype(np.int64)
    by_characters = counts < SHORT_WORDS
    word_hashes = words.explode(empty_as_null=True, keep_nulls=True).hash(seed=1).to_numpy().astype(np.uint64)
    long_hashes, long_owner = _windows(word_hashes, counts, ~by_characters)
    points, sizes = _code_points(series, by_characters)
    short_hashes, short_owner = _windows(points, sizes, by_characters)
    return _sets(
        np.concatenate((long_hashes, short_hashes)),
        np.concatenate((long_owner, short_owner)),
        len(texts),
        by_characters,
    )


def _code_points(series: pl.Series, wanted: npt.NDArray[np.bool_]) -> tuple[U64, npt.NDArray[np.int64]]:
    """The characters of the wanted texts as numbers; unwanted texts count none."""
    chosen = ["" if not take else text for text, take in zip(series.to_list(), wanted, strict=True)]
    encoded = [np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32) for text in chosen]
    sizes = np.array([len(part) for part in encoded], dtype=np.int64)
    flat = np.concatenate(encoded) if encoded else np.zeros(0, np.uint32)
    return (flat.astype(np.uint64) + np.uint64(1)) * _BASE, sizes


def _windows(
    items: U64, counts: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_]
) -> tuple[U64, npt.NDArray[np.int64]]:
    """Hashes of all windows that stay inside one wanted text, with the text each belongs to.

    A text shorter than a window is one window of what it has.
    """
    if not len(items):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    ends = np.repeat(np.cumsum(counts), counts)
    starts = ends - np.repeat(counts, counts)
    position = np.arange(len(items))
    padded = np.concatenate((items, np.zeros(WIDTH, np.uint64)))
    mixed = np.zeros(len(items), np.uint64)
    with np.errstate(over="ignore"):
        for step in range(WIDTH):
            inside = position + step < ends
            part = np.where(inside, padded[step : step + len(items)], np.uint64(0))
            mixed = (mixed ^ part) * _BASE
            mixed ^= mixed >> np.uint64(29)
    whole = (position + WIDTH <= ends) | ((position == starts) & (ends - starts < WIDTH))
    keep = whole & wanted[owner]
    return mixed[keep], owner[keep]


def _sets(hashes: U64, owner: npt.NDArray[np.int64], count: int, by_characters: npt.NDArray[np.bool_]) -> ShingleSets:
    hashes = hashes >> _OWNER_BITS
    if count <= 1 << int(_OWNER_BITS):
        # Text and shingle in one number: one fast sort puts both in order.
        both = np.sort((owner.astype(np.uint64) << _HASH_BITS) | hashes)
        if len(both):
            both = both[np.concatenate(([True], both[1:] != both[:-1]))]
        owner, hashes = (both >> _HASH_BITS).astype(np.int64), both & _HASH_MASK
    else:
        order = np.lexsort((hashes, owner))
        hashes, owner = hashes[order], owner[order]
        if len(hashes):
            fresh = (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])
            keep = np.concatenate(([True], fresh))
            hashes, owner = hashes[keep], owner[keep]
    offsets = np.searchsorted(owner, np.arange(count + 1)).astype(np.int64)
    return ShingleSets(hashes, offsets, by_characters)


def boilerplate(sets: ShingleSets) -> U64:
    """Shingles that stand in a tenth of many texts: a shared instruction says nothing about likeness."""
    values, counts = np.unique(sets.hashes, return_counts=True)
    return values[counts >= max(_BOILERPLATE_ROWS, _BOILERPLATE_SHARE * len(sets))]


def without(sets: ShingleSets, common: U64) -> ShingleSets:
    """The same sets less the ``common`` shingles."""
    if not len(common):
        return sets
    owner = np.repeat(np.arange(len(sets)), np.diff(sets.offsets))
    keep = ~np.isin(sets.hashes, common)
    offsets = np.searchsorted(owner[keep], np.arange(len(sets) + 1)).astype(np.int64)
    return ShingleSets(sets.hashes[keep], offsets, sets.by_characters)


def jaccard(first: U64, second: U64) -> float:
    """The share of shingles two sets have in common, 1.0 for two empty sets."""
    if not len(first) and not len(second):
        return 1.0
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
