"""Telling an answer again to a question that means the same: likeness by embedding, and guards against what an
embedding does not see. Standard library, numpy and usearch only."""

from __future__ import annotations

from finetune_engine.serve.semantic.guards import GUARDS, refusal
from finetune_engine.serve.semantic.index import Neighbour, NeighbourIndex, packed, unit, unpacked
from finetune_engine.serve.semantic.pairs import Pair, shipped_pairs

DEFAULT_THRESHOLD = 0.86
"""Least cosine of two questions for one answer; chosen on the development half of the shipped pairs
(docs/caches.md)."""

__all__ = [
    "DEFAULT_THRESHOLD",
    "GUARDS",
    "Neighbour",
    "NeighbourIndex",
    "Pair",
    "packed",
    "refusal",
    "shipped_pairs",
    "unit",
    "unpacked",
]
