"""The nearest kept question: exact up to a few thousand, by a graph of neighbours (HNSW) above.

Vectors have length 1 and are held as 16-bit floats: 768 bytes for 384 numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from usearch.index import Index

EXACT_UP_TO = 5_000
"""Entries up to which every vector is compared: about a millisecond, and never a miss."""
CONNECTIVITY = 16
EFFORT_ADDING = 128
EFFORT_SEARCHING = 64

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """An entry and its cosine with the question."""

    key: int
    similarity: float


def unit(vector: Sequence[float] | Vector) -> Vector:
    """The vector at length 1, as 32-bit floats. Raises ValueError when it has no length or is not finite."""
    array = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(array))
    if array.ndim != 1 or not np.isfinite(length) or length == 0.0:
        raise ValueError("an embedding is a list of finite numbers, not all of them 0")
    return np.asarray(array / length, dtype=np.float32)


def packed(vector: Sequence[float] | Vector) -> bytes:
    """The vector at length 1 as 16-bit floats, little end first: what is stored."""
    return unit(vector).astype("<f2").tobytes()


def unpacked(data: bytes) -> Vector:
    """What ``packed`` stored, at length 1. Raises ValueError for anything else."""
    return unit(np.frombuffer(bytes(data), dtype="<f2").astype(np.float32))


class NeighbourIndex:
    """Vectors under keys (whole numbers from 0) that are looked up by likeness. Safe to use from several threads;
    ``width`` is the length of every vector."""

    def __init__(self, width: int, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self.width = width
        self._exact_up_to = exact_up_to
        self._lock = threading.Lock()
        self._keys: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: npt.NDArray[np.float32] = np.empty((0, width), np.float32)
        self._count = 0
        self._places: dict[int, int] = {}
        self._graph: Index | None = None

    def __len__(self) -> int:
        return len(self._graph) if self._graph is not None else self._count

    def add(self, keys: Sequence[int], vectors: Sequence[Vector] | Vector) -> None:
        """Take entries in. A key that is there already gets the new vector."""
        if not len(keys):
            return
        block = np.asarray(vectors, dtype=np.float32).reshape(len(keys), self.width)
        with self._lock:
            self._drop(keys)
            if self._graph is None and self._count + len(keys) > self._exact_up_to:
                self._become_graph()
            if self._graph is not None:
                self._graph.add(np.asarray(keys, np.uint64), block, threads=1)
                return
            self._make_room(self._count + len(keys))
            for key, row in zip(keys, block, strict=True):
                self._keys[self._count], self._rows[self._count] = key, row
                self._places[key] = self._count
                self._count += 1

    def remove(self, keys: Sequence[int]) -> None:
        """Take entries out; unknown keys are passed over."""
        with self._lock:
            self._drop(keys)

    def nearest(self, vector: Vector, count: int = 1) -> list[Neighbour]:
        """The ``count`` entries most alike, the likest first; fewer when there are fewer."""
        with self._lock:
            if self._graph is not None:
                found = self._graph.search(vector, min(count, max(1, len(self._graph))), threads=1)
                return [
                    Neighbour(int(key), 1.0 - float(distance))
                    for key, distance in zip(found.keys, found.distances, strict=True)
                ]
            if not self._count:
                return []
            cosines = self._rows[: self._count] @ vector
            best = np.argpartition(-cosines, min(count, self._count) - 1)[:count]
            best = best[np.argsort(-cosines[best])]
            return [Neighbour(int(self._keys[place]), float(cosines[place])) for place in best]

    @property
    def memory_bytes(self) -> int:
        """What the vectors and their graph hold."""
        return int(self._graph.memory_usage) if self._graph is not None else self._rows.nbytes + self._keys.nbytes

    def _drop(self, keys: Sequence[int]) -> None:
        if self._graph is not None:
            there = [key for key in keys if key in self._graph]
            if there:
                self._graph.remove(np.asarray(there, np.uint64), threads=1)
            return
        for key in keys:
            place = self._places.pop(key, None)
            if place is None:
                continue
            self._count -= 1
            if place != self._count:  # the last row moves into the gap
                self._keys[place], self._rows[place] = self._keys[self._count], self._rows[self._count]
                self._places[int(self._keys[place])] = place

    def _make_room(self, wanted: int) -> None:
        if wanted <= len(self._keys):
            return
        size = max(64, wanted, 2 * len(self._keys))
        keys, rows = np.empty(size, np.int64), np.empty((size, self.width), np.float32)
        keys[: self._count], rows[: self._count] = self._keys[: self._count], self._rows[: self._count]
        self._keys, self._rows = keys, rows

    def _become_graph(self) -> None:
        from usearch.compiled import MetricKind, ScalarKind
        from usearch.index import Index

        self._graph = Index(
            ndim=self.width,
            metric=MetricKind.Cos,
            dtype=ScalarKind.F16,
            connectivity=CONNECTIVITY,
            expansion_add=EFFORT_ADDING,
            expansion_search=EFFORT_SEARCHING,
        )
        if self._count:
            self._graph.add(self._keys[: self._count].astype(np.uint64), self._rows[: self._count], threads=1)
        self._keys, self._rows, self._count = np.empty(0, np.int64), np.empty((0, self.width), np.float32), 0
        self._places.clear()
