"""Findings that need more than one row: duplicates, contradictions, spellings of labels."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from finetune_engine.data.dedup import Clusters, Texts, alike, groups, near_pairs, same_as_first, same_numbers
from finetune_engine.data.naming import RowNames
from finetune_engine.data.records import Finding, quoted
from finetune_engine.data.stored_batches import StoredBatches
from finetune_engine.data.stored_batches import _row_keys as row_keys

_WORD = re.compile(r"\w+")
_MISSPELT_AT_MOST = 0.05
_MISSPELT_RATIO = 0.86
# Answers to one question are compared one by one up to so many, and held in memory up to so many at once.
_COMPARED_ONE_BY_ONE = 50
_HELD_AT_ONCE = 10_000
_READ_AT_ONCE = 5_000

Ints = npt.NDArray[np.int64]


class Relations:
    """Looks across all stored rows. ``labels_matter``: answers are labels. ``plain_text``: no row has an input (rows
    without one among others are seen as such)."""

    def __init__(
        self, stored: StoredBatches, names: RowNames, *, labels_matter: bool, near: bool, plain_text: bool = False
    ) -> None:
        self._stored = stored
        self._names = names
        self._labels_matter = labels_matter
        self._near = near
        self._lines = stored.lines()
        self._answers = stored.key("answer")
        context = stored.key("context")
        # A text without a question is compared by itself.
        self._contexts = self._answers if plain_text else np.where(context == _no_question(), self._answers, context)
        self._clusters: Clusters | None = None
        self.findings: dict[int, list[Finding]] = defaultdict(list)

    def find(self) -> dict[int, list[Finding]]:
        """Findings by index of the stored row."""
        usable = self._stored.usable()
        first = same_as_first(self._stored.key("content"), usable)
        again = usable & (first != np.arange(len(first)))
        self._same_examples(first, again)
        unique = usable & ~again
        self._same_questions(list(groups(self._contexts, unique)))
        if self._near:
            self._near_questions(unique)
        return self.findings

    def _same_examples(self, first: Ints, again: npt.NDArray[np.bool_]) -> None:
        """Duplicates among the rows that say the same ``again``. Those that judge it in another way are taken out of
        ``again``: another worse answer makes another pair, and an answer both wanted and unwanted is a contradiction."""
        index = np.flatnonzero(again)
        judged = self._judgements(np.union1d(index, first[index]))
        seen: dict[tuple[int, Judgement | None], int] = {}
        for place in index.tolist():
            one = int(first[place])
            judgement, of_one = judged.get(place), judged.get(one)
            same = one if judgement == of_one else seen.setdefault((one, judgement), place)
            if same != place:
                self._add(place, _duplicate(self._name(same), same + 1))
                continue
            again[place] = False
            if judgement and of_one and judgement.is_wanted != of_one.is_wanted:
                self._add(place, _opposite(self._name(one), one + 1))
                self._add(one, _opposite(self._name(place), place + 1))

    def _judgements(self, index: Ints) -> dict[int, Judgement]:
        """What the rows of preferences among ``index`` (ascending) say of their answer; rows without are left out."""
        out: dict[int, Judgement] = {}
        for at in range(0, len(index), _READ_AT_ONCE):
            part = index[at : at + _READ_AT_ONCE]
            worse, wanted = (self._stored.texts(name, part) for name in ("rejected", "desirable"))
            for place, text, is_wanted in zip(part.tolist(), worse, wanted, strict=True):
                if text is not None or is_wanted is not None:
                    out[place] = Judgement(None if text is None else hash(text), is_wanted)
        return out

    def clusters(self) -> dict[int, int]:
        """The smallest row of its cluster of (nearly) alike inputs, by index, for rows in a cluster of at least two."""
        return {} if self._clusters is None else {i: first + 1 for i, first in self._clusters.shared().items()}

    def _name(self, index: int) -> str:
        return self._names.said(index + 1)

    def _add(self, index: int, finding: Finding) -> None:
        if any(f.code == finding.code for f in self.findings[index]):
            return
        line = int(self._lines[index])
        source = self._names.source_of(index + 1)
        placed = finding.placed(self._names.in_file(index + 1), line if line >= 0 else None)
        self.findings[index].append(self._names.place(placed, source))

    def _join(self, one: int, other: int) -> None:
        if self._clusters is None:
            self._clusters = Clusters(self._stored.count)
        self._clusters.join(one, other)

    def _add_near(self, index: int, other: int, how: str) -> None:
        self._join(index, other)
        self._add(index, _near(self._name(other), other + 1, how))

    def _add_contradiction(self, index: int, other: int, how: str) -> None:
        self._add(index, _contradiction(self._name(other), other + 1, how))

    def _same_questions(self, found: list[Ints]) -> None:
        for part in _parts(found):
            index = np.sort(np.concatenate(part))
            judged = self._judgements(index)
            if judged:  # several judged answers to one question are what preferences are made of
                part = [group[[place not in judged for place in group.tolist()]] for group in part]
            if self._labels_matter:
                for group in part:
                    self._contradict(group.tolist())
                continue
            few = [group for group in part if len(group) <= _COMPARED_ONE_BY_ONE]
            answers = self._answers_of(np.sort(np.concatenate(few))) if few else None
            for group in part:
                if answers is not None and len(group) <= _COMPARED_ONE_BY_ONE:
                    self._same_question(group.tolist(), answers)
                else:
                    self._asked_often(group)

    def _answers_of(self, index: Ints) -> Texts:
        return Texts(dict(zip(index.tolist(), self._stored.normal_answers(index), strict=True)))

    def _asked_often(self, group: Ints) -> None:
        """One question with very many answers: compared in time that grows with their number alone."""
        twins: dict[int, int] = {}
        for one, other, _ in near_pairs(group, self._stored.normal_answers).pairs:
            twins.setdefault(other, one)
        for index, twin in twins.items():
            self._add_near(index, twin, "the same input and almost the same answer")
        self._contradict([index for index in group.tolist() if index not in twins])

    def _same_question(self, group: list[int], answers: Texts) -> None:
        """One question, several answers: almost the same ones are duplicates, the others contradict."""
        kept: list[int] = []
        for index in group:
            twin = next((k for k in kept[:20] if answers.alike(k, index)), None)
            if twin is None:
                kept.append(index)
            else:
                self._add_near(index, twin, "the same input and almost the same answer")
        self._contradict(kept)

    def _contradict(self, kept: list[int]) -> None:
        """Rows with one question and answers that differ: each is told of the first, the first of the second."""
        if len(kept) > 1:
            for index in kept:
                self._add_contradiction(index, kept[1] if index == kept[0] else kept[0], "the same input")

    def _near_questions(self, unique: npt.NDArray[np.bool_]) -> None:
        first = same_as_first(self._contexts, unique)
        index = np.flatnonzero(unique & (first == np.arange(len(first))))
        found = near_pairs(index, lambda part: self._stored.texts("subject_norm", part), self._stored.key("setting"))
        if not found.pairs:
            return
        involved = np.unique(np.array([pair[:2] for pair in found.pairs], np.int64))
        prompts = dict(zip(involved.tolist(), self._stored.texts("subject_norm", involved), strict=True))
        answers = dict(zip(involved.tolist(), self._stored.normal_answers(involved), strict=True))
        judged = self._judgements(involved)
        for one, other, _ in found.pairs:
            # Whatever is said of the two, they must not stand on both sides of a split.
            self._join(one, other)
            if judged.get(one) != judged.get(other):
                continue
            same = self._answers[one] == self._answers[other]
            if same or (not self._labels_matter and alike(answers[one], answers[other])):
                by_words = one not in found.by_characters
                if same_numbers(prompts[one], prompts[other]) or (self._labels_matter and by_words):
                    self._add_near(other, one, "almost the same text")
            elif one in judged or one in found.by_characters or not same_numbers(prompts[one], prompts[other]):
                continue
            elif self._labels_matter or not _explained(prompts[one], answers[one], prompts[other], answers[other]):
                self._add_contradiction(one, other, "almost the same input")
                self._add_contradiction(other, one, "almost the same input")


class Judgement(NamedTuple):
    """What a row of preferences says of its answer: the worse one (its hash), or whether it is wanted."""

    worse: int | None
    is_wanted: Any


def _no_question() -> np.uint64:
    """The key of a context without any text."""
    names = ("content_hash", "setting_norm", "prompt_norm", "answer_norm", "instruction")
    key: np.uint64 = row_keys(pl.DataFrame({name: [""] for name in names}))["context"][0]
    return key


def _parts(found: Sequence[Ints]) -> Iterator[list[Ints]]:
    """Some groups at a time, so that few texts are held in memory."""
    part: list[Ints] = []
    size = 0
    for group in found:
        part.append(group)
        size += len(group)
        if size >= _HELD_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _explained(one: str, its_answer: str, other: str, other_answer: str) -> bool:
    """Whether the words that two inputs do not share are those of their answers, as when a fact is looked up."""
    first, second = set(_WORD.findall(one)), set(_WORD.findall(other))
    return bool(
        (first - second) & set(_WORD.findall(its_answer)) or (second - first) & set(_WORD.findall(other_answer))
    )


def _duplicate(name: str, first_row: int) -> Finding:
    return Finding(
        "duplicate_exact",
        f"is the same example as {name}, which is kept.",
        found=f"the same input and answer as {name}",
        expected="each example once",
        fix="Nothing to do: the first one stays.",
        related_row=first_row,
    )


def _near(name: str, other_row: int, how: str) -> Finding:
    return Finding(
        "duplicate_near",
        f"has {how} as {name}. Keep one of them, or accept both if the difference matters.",
        found=how,
        expected="examples that differ",
        fix=f"Compare it with {name}.",
        related_row=other_row,
    )


def _contradiction(name: str, other_row: int, how: str) -> Finding:
    return Finding(
        "contradiction",
        f"has {how} as {name} and another answer. Decide which answer is right.",
        column="answer",
        found="another answer",
        expected=f"the answer of {name}, or another input",
        fix=f"Compare it with {name} and correct one of them.",
        related_row=other_row,
    )


def _opposite(name: str, other_row: int) -> Finding:
    return Finding(
        "contradiction",
        f"has the same input and answer as {name}, and one of them says that the answer is wanted, the other that it "
        "is not. Decide which is right.",
        column="answer",
        found="the opposite judgement",
        expected=f"the judgement of {name}",
        fix=f"Compare it with {name} and correct one of them.",
        related_row=other_row,
    )


def label_variants(labels: Counter[str]) -> dict[str, tuple[str, int]]:
    """Rare spellings of a label: ``{spelling: (usual spelling, how often that occurs)}``.

    Spellings that differ only by case, blanks, dashes or a full stop are one label; the most frequent is the usual
    one. A label that is rare and one or two letters away from a frequent one is taken for a misspelling.
    """
    out: dict[str, tuple[str, int]] = {}
    families: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        families[_plain(label)].append(label)
    totals: dict[str, tuple[str, int]] = {}
    for plain, spellings in families.items():
        usual = max(spellings, key=lambda s: (labels[s], -len(s), s))
        totals[plain] = (usual, sum(labels[s] for s in spellings))
        out |= {s: (usual, labels[usual]) for s in spellings if s != usual}
    frequent = sorted(totals.items(), key=lambda item: -item[1][1])[:500]
    for plain, (spelling, count) in totals.items():
        if (better := _misspelling_of(plain, count, frequent)) is not None:
            for variant in families[plain]:
                out[variant] = (better, labels[better])
            out[spelling] = (better, labels[better])
    return out


def _plain(label: str) -> str:
    return re.sub(r"[\s_\-]+", " ", label).strip(" .:;,").casefold()


def _misspelling_of(plain: str, count: int, frequent: Sequence[tuple[str, tuple[str, int]]]) -> str | None:
    if len(plain) < 5:
        return None
    for other, (usual, total) in frequent:
        if count > max(2, _MISSPELT_AT_MOST * total) or total < 5 * count:
            return None
        if other == plain or abs(len(other) - len(plain)) > 2 or re.findall(r"\d+", other) != re.findall(r"\d+", plain):
            continue
        matcher = SequenceMatcher(None, plain, other, autojunk=False)
        if (
            matcher.quick_ratio() >= _MISSPELT_RATIO
            and matcher.ratio() >= _MISSPELT_RATIO
            and _letters(plain, other) <= 2
        ):
            return usual
    return None


def _letters(first: str, second: str) -> int:
    """Letters to insert, remove, change or swap to turn one text into the other."""
    before: list[int] = []
    last = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def variant_findings(
    rows: Sequence[int], lines: Sequence[int | None], labels: Sequence[str | None], variants: dict[str, tuple[str, int]]
) -> Iterator[Finding]:
    """A finding for every row whose label is a rare spelling."""
    for row, line, label in zip(rows, lines, labels, strict=True):
        if label is None or label not in variants:
            continue
        usual, count = variants[label]
        yield Finding(
            "label_variants",
            f"has the label “{label[:80]}”, while {count} other rows write “{usual[:80]}”. Use one spelling.",
            column="answer",
            found=label,
            expected=usual,
            fix=f"Write {quoted(usual)}.",
        ).placed(row, line)
