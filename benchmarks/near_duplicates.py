"""Near-duplicates: our search against datasketch on the same texts, where the planted pairs are known.

Both arms cut texts into groups of five words, find candidates with some 256 permutations for a likeness of 0.7, and
keep those whose exact Jaccard likeness is at least 0.7. What a pair of texts has in common is counted, not believed.
"""

from __future__ import annotations

import random
from typing import Any

from benchmarks.clock import cpu_seconds

_WIDTH, _THRESHOLD, _PERMUTATIONS = 5, 0.7, 256
Pairs = set[tuple[int, int]]


def measure(*, full: bool = False, rows: int | None = None) -> dict[str, dict[str, Any]]:
    """Goals: 10 times fewer CPU-seconds than datasketch, and as many of the planted pairs but for one in a hundred."""
    texts, planted = made_texts(rows or (100_000 if full else 2_000))
    found: dict[str, Pairs] = {}

    def ours() -> None:
        found["ours"] = _ours(texts)

    def theirs() -> None:
        found["datasketch"] = _datasketch(texts)

    arms = cpu_seconds({"datasketch": theirs, "ours": ours}, repeats=1 if full else 2)
    for name, pairs in found.items():
        wrong = [pair for pair in pairs if _likeness(texts[pair[0]], texts[pair[1]]) < _THRESHOLD]
        if wrong:
            raise SystemExit(f"near-duplicates: {name} reports {len(wrong)} pairs that are not alike")
    recall = {name: len(planted & pairs) / len(planted) for name, pairs in found.items()}
    return {
        "near-duplicates, times datasketch": {
            "value": arms["datasketch"] / arms["ours"],
            "unit": "x fewer CPU-seconds",
            "goal": ">= 10",
            "arms": arms,
        },
        "near-duplicates, planted pairs found": {
            "value": recall["ours"],
            "unit": f"of {len(planted):,} pairs",
            "goal": ">= datasketch - 0.01",
            "arms": recall,
        },
    }


def made_texts(rows: int) -> tuple[list[str], Pairs]:
    """Texts of 40 to 120 words; every tenth is an earlier one with a few words changed. The pairs are those whose exact
    likeness is at least 0.7."""
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(8_000)]
    texts: list[str] = []
    planted: Pairs = set()
    for number in range(rows):
        if number % 10 == 9:
            earlier = number - rng.randint(1, 8)
            changed = texts[earlier].split()
            for _ in range(rng.randint(1, 5)):
                changed[rng.randrange(len(changed))] = rng.choice(words)
            texts.append(" ".join(changed))
            if _likeness(texts[earlier], texts[number]) >= _THRESHOLD:
                planted.add((earlier, number))
        else:
            texts.append(" ".join(rng.choices(words, k=rng.randint(40, 120))))
    return texts, planted


def _pieces(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[at : at + _WIDTH]) for at in range(len(words) - _WIDTH + 1)}


def _likeness(one: str, other: str) -> float:
    first, second = _pieces(one), _pieces(other)
    return len(first & second) / len(first | second)


def _ours(texts: list[str]) -> Pairs:
    import numpy as np

    from finetune_engine.data.dedup import near_pairs

    found = near_pairs(np.arange(len(texts)), lambda part: [texts[i] for i in part.tolist()])
    return {(a, b) for a, b, _ in found.pairs}


def _datasketch(texts: list[str]) -> Pairs:
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

    index = MinHashLSH(threshold=_THRESHOLD, num_perm=_PERMUTATIONS)
    pairs: Pairs = set()
    prints = MinHash.generator(
        ([piece.encode() for piece in _pieces(text)] for text in texts), num_perm=_PERMUTATIONS, seed=1
    )
    for number, fingerprint in enumerate(prints):
        for earlier in index.query(fingerprint):
            if _likeness(texts[earlier], texts[number]) >= _THRESHOLD:
                pairs.add((earlier, number))
        index.insert(number, fingerprint, check_duplication=False)
    return pairs
