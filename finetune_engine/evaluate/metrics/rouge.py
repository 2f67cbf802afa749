"""ROUGE: words, pairs of words and word order that answers share with their references (rouge-score's definitions)."""

from __future__ import annotations

import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np

from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured, Values, mean_over
from finetune_engine.evaluate.texts.words import split_words

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class UnicodeTokenizer:
    """Words in any script, to be passed to rouge-score, whose own tokenizer keeps a-z and 0-9 only and so gives identical Thai
    texts a score of 0. On ASCII text it returns the very tokens of rouge-score's tokenizer with the stemmer on."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = lru_cache(maxsize=100_000)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        """Lower-case words of letters, marks and digits; English ones of over three letters by their stem."""
        composed = unicodedata.normalize("NFC", text.lower())
        bare = "".join(mark if _is_of_a_word(mark) else " " for mark in composed)
        return [self._stem(word) if len(word) > 3 and word.isascii() else word for word in split_words(bare)]


@lru_cache(maxsize=20_000)
def _is_of_a_word(mark: str) -> bool:
    return unicodedata.category(mark)[0] in "LMN"


class Rouge:
    """One kind of ROUGE, its F value averaged over the cases."""

    unit = "share"
    higher_is_better = True
    is_proportion = False
    task_types = TEXT_TASKS

    def __init__(self, kind: str) -> None:
        self.name = kind

    def suits(self, material: Material) -> bool:
        """When there is something to be like."""
        return any(reference.strip() for reference in material.references)

    def measure(self, material: Material) -> Measured:
        """The mean F value of the cases."""
        columns = material.once("rouge", lambda: _all_kinds(material))
        signature = f"F|stemmer:porter on ASCII words|tok:unicode|mean of cases|rouge-score:{version('rouge-score')}"
        return mean_over(columns[self.name], signature)


def _all_kinds(material: Material) -> dict[str, Values]:
    tokenizer = UnicodeTokenizer()
    pairs = zip(material.answers, material.references, strict=True)
    rows = [_one_case(tokenizer, answer, reference) for answer, reference in pairs]
    return {kind: np.asarray([row[kind] for row in rows]) for kind in KINDS}


def _one_case(tokenizer: UnicodeTokenizer, answer: str, reference: str) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    by_words: dict[str, Any] = RougeScorer(["rouge1", "rouge2"], tokenizer=tokenizer).score(reference, answer)
    said, wanted = tokenizer.tokenize(answer), tokenizer.tokenize(reference)
    in_order = _f_value(longest_common(wanted, said), len(wanted), len(said))
    by_line = in_order
    if "\n" in answer.strip() or "\n" in reference.strip():
        by_line = _line_by_line(
            *([tokenizer.tokenize(line) for line in text.split("\n")] for text in (answer, reference))
        )
    return {
        "rouge1": float(by_words["rouge1"].fmeasure),
        "rouge2": float(by_words["rouge2"].fmeasure),
        "rougeL": in_order,
        "rougeLsum": by_line,
    }


def longest_common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, a whole row of the table at once as the bits of a number (Hyyrö 2004): the
    library's own table, in Python, takes seconds for long texts."""
    last_row = deque(_rows(second, first), maxlen=1)[0]
    return len(first) - last_row.bit_count()


def _rows(first: list[str], second: list[str]) -> Iterator[int]:
    """The rows of the table, one more than ``first`` has words; a bit is 0 where the number grows with that word of
    ``second``."""
    places: dict[str, int] = {}
    for position, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << position
    everywhere = (1 << len(second)) - 1
    row = everywhere
    yield row
    for word in first:
        found = row & places.get(word, 0)
        row = ((row + found) | (row - found)) & everywhere
        yield row


def _line_by_line(said: list[list[str]], wanted: list[list[str]]) -> float:
    """rouge-score's rougeLsum: of each line of the reference the words in order with any line of the answer, no word of the
    answer counted twice."""
    free_said, free_wanted = (Counter(word for line in lines for word in line) for lines in (said, wanted))
    hits = 0
    for line in wanted:
        for place in sorted({place for other in said for place in common_places(line, other)}):
            word = line[place]
            if free_said[word] > 0 and free_wanted[word] > 0:
                hits += 1
                free_said[word] -= 1
                free_wanted[word] -= 1
    return _f_value(hits, sum(map(len, wanted)), sum(map(len, said)))


def common_places(wanted: list[str], said: list[str]) -> list[int]:
    """The places in ``wanted`` of a longest common subsequence, of several the one that rouge-score takes. The rows of its
    table are kept as bits, as in ``longest_common``: the number at column j is j less the ones before it."""
    rows = list(_rows(wanted, said))
    if rows[-1].bit_count() == len(said):
        return []
    bits = [row.to_bytes(len(said) // 8 + 1, "little") for row in rows]
    places: list[int] = []
    i, j = len(wanted), len(said)
    here, above = _up_to(rows[i], j), _up_to(rows[i - 1], j)
    while here:
        column = j - 1
        left = here - _grows(bits[i], column)
        is_common = wanted[i - 1] == said[column]
        if not is_common and left > above:
            here, above, j = left, above - _grows(bits[i - 1], column), column
            continue
        if is_common:
            places.append(i - 1)
            above, j = above - _grows(bits[i - 1], column), column
        i -= 1
        here, above = above, _up_to(rows[i - 1], j) if i else 0
    return places[::-1]


def _up_to(row: int, column: int) -> int:
    return column - (row & ((1 << column) - 1)).bit_count()


def _grows(row: bytes, column: int) -> bool:
    return not row[column >> 3] >> (column & 7) & 1


def _f_value(shared: int, wanted: int, said: int) -> float:
    return 2 * shared / (wanted + said) if shared else 0.0
