"""Figures about a set of examples, gathered while they stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from finetune_engine.data.formats.turns import ROLES
from finetune_engine.data.stored_once import filled

_BINS = 20
_COMPARED_ROWS = 1_000
_COMPARED_CHARACTERS = 4_000  # of each: whole contracts would fill the memory
_PAIRS = 1_000
# Words are counted in all rows of sets up to this size, in an evenly spread sample of larger ones.
WORD_ROWS = 10_000


@dataclass
class Statistics:
    """Takes batches of rows that stay in; gives the figures at the end. Lengths are in words.

    ``every``: words are read in one row of so many (see ``step_for``); all other figures are of all rows.
    """

    every: int = 1
    roles: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    _prompt_words: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _answer_words: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _tokens: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _vocabulary: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    _words: int = 0
    _word_rows: int = 0
    _sample: list[str] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Take in rows with ``row``, ``messages``, ``prompt``, ``answer``, ``prompt_words``, ``answer_words``, and, where
        known, ``turns`` and ``tokens``."""
        if frame.is_empty():
            return
        self._prompt_words.append(frame["prompt_words"].to_numpy().astype(np.int32))
        self._answer_words.append(frame["answer_words"].to_numpy().astype(np.int32))
        if "tokens" in frame.columns and frame["tokens"].null_count() < frame.height:
            self._tokens.append(frame["tokens"].drop_nulls().to_numpy().astype(np.int32))
        if "turns" in frame.columns:
            self._add_turns(frame)
        self._add_words(frame if self.every == 1 else frame.filter((pl.col("row") - 1) % self.every == 0))

    def _add_turns(self, frame: pl.DataFrame) -> None:
        self.turns.update(dict(frame["turns"].value_counts().iter_rows()))
        # One input and one answer, the usual row, needs no look into the messages.
        plain = frame.select((pl.col("turns") == 2) & (pl.col("prompt") != "")).to_series()
        pairs = int(plain.sum())
        self.roles.update({"user": pairs, "assistant": pairs} if pairs else {})
        if pairs < frame.height:
            messages = filled(frame.filter(~plain).select("messages", "prompt", "answer"))["messages"]
            for role in ROLES:
                if count := int(messages.str.count_matches(f'"role":"{role}"', literal=True).sum()):
                    self.roles[role] += count

    def _add_words(self, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        text = frame.select(pl.concat_str("prompt", "answer", separator=" ").str.to_lowercase().alias("text"))["text"]
        words = _words_of(text)
        self._words += len(words)
        self._word_rows += frame.height
        self._vocabulary = np.union1d(self._vocabulary, words.hash(seed=3).unique().to_numpy())
        if len(self._sample) < _COMPARED_ROWS:
            some = text.head(_COMPARED_ROWS - len(self._sample))
            self._sample.extend(some.str.slice(0, _COMPARED_CHARACTERS).to_list())

    def as_dict(self) -> dict[str, Any]:
        """``total_examples, avg_prompt_length, avg_completion_length, vocabulary_size, diversity_score`` and more.

        ``vocabulary_size``, ``distinct_1`` and ``distinct_2`` are of the ``word_rows`` rows whose words were read.
        """
        prompts, answers, tokens = map(_joined, (self._prompt_words, self._answer_words, self._tokens))
        distinct_2, distance = self._diversity()
        return {
            "total_examples": len(prompts),
            "avg_prompt_length": _mean(prompts),
            "avg_completion_length": _mean(answers),
            "max_prompt_length": int(prompts.max(initial=0)),
            "max_completion_length": int(answers.max(initial=0)),
            "vocabulary_size": len(self._vocabulary),
            "word_rows": self._word_rows,
            "distinct_1": round(len(self._vocabulary) / self._words, 4) if self._words else 0.0,
            "distinct_2": distinct_2,
            "diversity_score": distance,
            "prompt_length_histogram": histogram(prompts),
            "completion_length_histogram": histogram(answers),
            "roles": dict(self.roles.most_common()),
            "turns": {str(turns): rows for turns, rows in sorted(self.turns.items())},
        } | (_of_tokens(tokens) if len(tokens) else {})

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


# Each byte that is no part of an ASCII word, made a blank.
_BLANKED = bytes(byte if chr(byte).isalnum() or byte in b"_" or byte > 127 else 0x20 for byte in range(256))


def _words_of(lower: pl.Series) -> pl.Series:
    """All words (``\\w+``) of some texts. Those of ASCII are taken apart at blanks, several times as fast."""
    foreign = lower.str.len_bytes() != lower.str.len_chars()
    plain = " ".join(lower.filter(~foreign).to_list()).encode().translate(_BLANKED).decode()
    words = pl.Series([plain], dtype=pl.String).str.split(" ").explode(empty_as_null=False, keep_nulls=False)
    words = words.filter(words != "")
    if foreign.any():
        others = lower.filter(foreign).str.extract_all(r"\w+").explode(empty_as_null=False, keep_nulls=False)
        words = words.append(others)
    return words


def step_for(rows: int) -> int:
    """In one of how many rows the words are read, for a set of so many rows."""
    return max(1, -(-rows // WORD_ROWS))


def _joined(parts: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _of_tokens(tokens: npt.NDArray[np.int32]) -> dict[str, Any]:
    return {
        "avg_tokens": _mean(tokens),
        "max_tokens": int(tokens.max()),
        "total_tokens": int(tokens.sum(dtype=np.int64)),
        "token_length_histogram": histogram(tokens),
    }


@dataclass
class SplitLengths:
    """Lengths in words, apart for each split."""

    _splits: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _prompt_words: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _answer_words: list[npt.NDArray[np.int32]] = field(default_factory=list)

    def add(self, frame: pl.DataFrame, splits: npt.NDArray[np.uint8]) -> None:
        """Take in rows with ``prompt_words`` and ``answer_words``, and which split (by number) each is in."""
        self._splits.append(splits)
        self._prompt_words.append(frame["prompt_words"].to_numpy().astype(np.int32))
        self._answer_words.append(frame["answer_words"].to_numpy().astype(np.int32))

    def as_dict(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """``{split: {avg_prompt_length, avg_completion_length, prompt_length_histogram, completion_length_histogram}}``."""
        if not self._splits:
            return {}
        splits = np.concatenate(self._splits)
        prompts, answers = np.concatenate(self._prompt_words), np.concatenate(self._answer_words)
        out: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(names):
            inside = splits == number
            out[name] = {
                "avg_prompt_length": _mean(prompts[inside]),
                "avg_completion_length": _mean(answers[inside]),
                "prompt_length_histogram": histogram(prompts[inside]),
                "completion_length_histogram": histogram(answers[inside]),
            }
        return out


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
