"""Figures about a set of examples, gathered while they stream by."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_BINS = 20
_SAMPLE_ROWS = 2_000
_PAIRS = 1_000
_VOCABULARY_LIMIT = 4_000_000


@dataclass
class Statistics:
    """Takes batches of rows that stay in; gives the figures at the end. Lengths are in words."""

    _prompt_words: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _answer_words: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _vocabulary: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    _tokens: int = 0
    _sample: list[str] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Take in rows with ``prompt``, ``answer``, ``prompt_words`` and ``answer_words``."""
        if frame.is_empty():
            return
        self._prompt_words.append(frame["prompt_words"].to_numpy().astype(np.int32))
        self._answer_words.append(frame["answer_words"].to_numpy().astype(np.int32))
        text = frame.select(pl.concat_str("prompt", "answer", separator=" ").str.to_lowercase().alias("text"))
        words = text["text"].str.extract_all(r"\w+").explode(empty_as_null=False, keep_nulls=False)
        self._tokens += len(words)
        if len(self._vocabulary) < _VOCABULARY_LIMIT:
            self._vocabulary = np.union1d(self._vocabulary, words.unique().hash(seed=3).to_numpy().astype(np.uint64))
        if len(self._sample) < _SAMPLE_ROWS:
            self._sample.extend(text["text"].head(_SAMPLE_ROWS - len(self._sample)).to_list())

    def as_dict(self) -> dict[str, Any]:
        """``total_examples, avg_prompt_length, avg_completion_length, vocabulary_size, diversity_score`` and more."""
        prompts = np.concatenate(self._prompt_words) if self._prompt_words else np.zeros(0, np.int32)
        answers = np.concatenate(self._answer_words) if self._answer_words else np.zeros(0, np.int32)
        distinct_2, distance = self._diversity()
        return {
            "total_examples": len(prompts),
            "avg_prompt_length": _mean(prompts),
            "avg_completion_length": _mean(answers),
            "max_prompt_length": int(prompts.max(initial=0)),
            "max_completion_length": int(answers.max(initial=0)),
            "vocabulary_size": len(self._vocabulary),
            "distinct_1": round(len(self._vocabulary) / self._tokens, 4) if self._tokens else 0.0,
            "distinct_2": distinct_2,
            "diversity_score": distance,
            "prompt_length_histogram": histogram(prompts),
            "completion_length_histogram": histogram(answers),
        }

    def _diversity(self) -> tuple[float, float]:
        """The share of different word pairs, and how far two examples are apart on average (1 - Jaccard of words)."""
        texts = [text.split() for text in self._sample]
        pairs = [pair for words in texts for pair in pairwise(words)]
        distinct = round(len(set(pairs)) / len(pairs), 4) if pairs else 0.0
        if len(texts) < 2:
            return distinct, 0.0
        sets = [set(words) for words in texts]
        chooser = np.random.default_rng(0)
        first = chooser.integers(0, len(sets), _PAIRS)
        second = (first + chooser.integers(1, len(sets), _PAIRS)) % len(sets)
        total = 0.0
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            union = len(sets[a] | sets[b])
            total += 1 - len(sets[a] & sets[b]) / union if union else 0.0
        return distinct, round(total / _PAIRS, 4)


def _mean(values: npt.NDArray[np.int32]) -> float:
    return round(float(values.mean()), 2) if len(values) else 0.0


def histogram(values: npt.NDArray[np.int32]) -> list[dict[str, int]]:
    """At most twenty bins of whole width, ``[{from, to, count}]``; ``to`` is included.

    The last bin reaches to the greatest value, so that one giant does not flatten the rest.
    """
    if not len(values):
        return []
    low, high = int(values.min()), int(values.max())
    body = max(int(np.quantile(values, 0.99)), low)
    width = max(1, -(-(body - low + 1) // _BINS))
    edges = list(range(low, body + 1, width))
    out: list[dict[str, int]] = []
    for place, start in enumerate(edges):
        end = edges[place + 1] - 1 if place + 1 < len(edges) else max(high, start)
        out.append({"from": start, "to": end, "count": int(((values >= start) & (values <= end)).sum())})
    return out
