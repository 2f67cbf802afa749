"""Finding the kept question that means the same: time, memory and recall of the look-up, and what is told wrongly.

``python -m benchmarks.semantic_lookup`` looks up at 100,000 entries (``--full``: at 1,000,000 too; ``--entries`` at
others), against an exact search in the same run. ``--pairs`` prints hits and false hits on the shipped pairs of
questions, embedded anew where the embedder is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_engine.serve.semantic import DEFAULT_THRESHOLD, NeighbourIndex, refusal, shipped_pairs
from finetune_engine.serve.semantic.pairs import KINDS, PARTS
from finetune_engine.serve.semantic.report import JudgedPair, Share, judged_shipped_pairs, reported_pairs, threshold_row

_WIDTH, _QUERIES, _BLOCK = 384, 1_000, 20_000
_SPREAD, _NOISE = 0.8, 0.45
Vectors = npt.NDArray[np.float32]


def measure(*, full: bool = False, sizes: tuple[int, ...] | None = None) -> dict[str, dict[str, Any]]:
    """Goals: at 100,000 entries a millisecond and the true nearest neighbour in 99 of 100 look-ups."""
    results: dict[str, dict[str, Any]] = {}
    for size in sizes or ((5_000, 100_000, 1_000_000) if full else (5_000, 100_000)):
        results |= _look_up(size)
    return results | _pairs_as_results()


def clustered(size: int, seed: int = 0) -> Vectors:
    """Unit vectors as questions of a trade have them: around one subject for every fifty, about 0.6 alike within it."""
    rng = np.random.default_rng(seed)
    centres = _unit(rng.standard_normal((max(20, size // 50), _WIDTH), dtype=np.float32))
    made = np.empty((size, _WIDTH), np.float32)
    for start in range(0, size, _BLOCK):
        count = min(_BLOCK, size - start)
        noise = _unit(rng.standard_normal((count, _WIDTH), dtype=np.float32))
        made[start : start + count] = _unit(centres[rng.integers(len(centres), size=count)] + _SPREAD * noise)
    return made


def _look_up(size: int) -> dict[str, dict[str, Any]]:
    vectors = clustered(size)
    rng = np.random.default_rng(1)
    chosen = rng.integers(size, size=_QUERIES)
    noise = _unit(rng.standard_normal((_QUERIES, _WIDTH), dtype=np.float32))
    queries = _unit(vectors[chosen] + _NOISE * noise)
    index, begun = NeighbourIndex(_WIDTH), time.process_time()
    for start in range(0, size, _BLOCK):
        index.add(range(start, min(start + _BLOCK, size)), vectors[start : start + _BLOCK])
    building = time.process_time() - begun
    taken, found = [], []
    for query in queries:
        begun_at = time.perf_counter()
        found.append(index.nearest(query)[0].key)
        taken.append(1000 * (time.perf_counter() - begun_at))
    exact, exact_milliseconds = _exact(vectors, queries)
    recall = sum(one == other for one, other in zip(found, exact, strict=True)) / _QUERIES
    name = f"semantic look-up, {size:,} entries"
    return {
        f"{name}, median": {
            "value": statistics.median(taken),
            "unit": "ms",
            "goal": "<= 1" if size <= 100_000 else "(growth)",
            "arms": {
                "p95, ms": float(np.percentile(taken, 95)),
                "exact search in numpy, ms": exact_milliseconds,
                "building, CPU-seconds": building,
                "memory, MiB": index.memory_bytes / 2**20,
            },
        },
        f"{name}, recall@1": {
            "value": recall,
            "unit": f"of {_QUERIES:,} look-ups",
            "goal": ">= 0.99" if size <= 100_000 else "(growth)",
            "arms": {},
        },
    }


def _exact(vectors: Vectors, queries: Vectors) -> tuple[list[int], float]:
    """The nearest of all, and the milliseconds that one look-up of that kind takes."""
    best, keys = np.full(len(queries), -2.0, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ queries.T
        places = cosines.argmax(axis=0)
        values = cosines[places, np.arange(len(queries))]
        better = values > best
        best[better], keys[better] = values[better], places[better] + start
    begun = time.perf_counter()
    for query in queries[:20]:
        (vectors @ query).argmax()
    return keys.tolist(), 1000 * (time.perf_counter() - begun) / 20


def _unit(block: npt.NDArray[np.float32]) -> Vectors:
    return np.asarray(block / np.linalg.norm(block, axis=1, keepdims=True), np.float32)


def _pairs_as_results() -> dict[str, dict[str, Any]]:
    row = threshold_row(reported_pairs(), DEFAULT_THRESHOLD)
    return {
        name: {
            "value": 100 * (share.value or 0.0),
            "unit": f"% of {share.of} pairs that chose nothing",
            "goal": goal,
            "arms": {"95 % interval, low": 100 * share.interval.low, "95 % interval, high": 100 * share.interval.high},
        }
        for name, share, goal in (
            ("semantic cache, hits on paraphrases", row.hits, ">= 30"),
            ("semantic cache, false hits", row.false_hits, "<= 1"),
        )
    }


def live_pairs(half: str) -> list[JudgedPair] | None:
    """The shipped pairs with similarities computed now; None where the embedder is not installed."""
    from finetune_engine.serve.embed import MinilmEmbedder, minilm_folder

    if minilm_folder() is None:
        return None
    pairs, embedder = shipped_pairs(half), MinilmEmbedder()
    first = np.asarray(embedder.embed([pair.first for pair in pairs]).vectors)
    second = np.asarray(embedder.embed([pair.second for pair in pairs]).vectors)
    embedder.close()
    cosines = (first * second).sum(axis=1)
    return [
        JudgedPair(float(cosine), pair.is_same, refusal(pair.second, pair.first))
        for pair, cosine in zip(pairs, cosines, strict=True)
    ]


def print_pairs() -> None:
    """Hits and false hits of each half, kind and threshold."""
    for half in PARTS:
        live = live_pairs(half)
        judged = live or list(judged_shipped_pairs(half))
        source = "embedded now" if live else "recorded similarities"
        same = sum(pair.is_same for pair in judged)
        print(f"{half} part ({source}): {same} paraphrases, {len(judged) - same} pairs of different meaning")
        for threshold in (0.75, 0.80, 0.84, DEFAULT_THRESHOLD, 0.88, 0.90, 0.92, 0.95):
            row = threshold_row(judged, threshold)
            mark = "  <- default" if threshold == DEFAULT_THRESHOLD else ""
            print(f"  {threshold:.2f}  hits {_told(row.hits)}   false hits {_told(row.false_hits)}{mark}")
        for kind in KINDS[1:]:
            chosen = [pair for pair, shipped in zip(judged, shipped_pairs(half), strict=True) if shipped.kind == kind]
            print(f"  {kind:<10} false hits {_told(threshold_row(chosen, DEFAULT_THRESHOLD).false_hits)}")
        bare = [JudgedPair(pair.similarity, pair.is_same) for pair in judged]
        row = threshold_row(bare, DEFAULT_THRESHOLD)
        print(f"  without guards: hits {_told(row.hits)}   false hits {_told(row.false_hits)}")


def _told(share: Share) -> str:
    interval = share.interval
    return f"{100 * (share.value or 0):5.1f} % ({share.count}/{share.of}, {100 * interval.low:.1f} to {100 * interval.high:.1f})"


def main() -> None:
    """``--pairs``, or the look-up; ``--json PATH`` writes the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semantic_lookup")
    parser.add_argument("--pairs", action="store_true", help="hits and false hits on the shipped pairs")
    parser.add_argument("--full", action="store_true", help="up to 1,000,000 entries")
    parser.add_argument("--entries", type=int, nargs="+", help="these sizes instead")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    if wanted.pairs:
        print_pairs()
        return
    results = measure(full=wanted.full, sizes=tuple(wanted.entries or ()))
    for name, result in results.items():
        print(f"{name:<48} {result['value']:>9.3f} {result['unit']:<24} goal {result['goal']}")
        for arm, value in result["arms"].items():
            print(f"    {arm:<44} {value:>9.3f}")
    if wanted.json:
        wanted.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
