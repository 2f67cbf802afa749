"""Findings that need more than one row: duplicates, contradictions, spellings of labels."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from finetune_engine.data.dedup import Clusters, alike, groups, near_pairs, same_as_first, same_numbers
from finetune_engine.data.naming import RowNames
from finetune_engine.data.records import Finding, quoted
from finetune_engine.data.stored_batches import StoredBatches

_WORD = re.compile(r"\w+")
_MISSPELT_AT_MOST = 0.05
_MISSPELT_RATIO = 0.86


class Relations:
    """Looks across all stored rows. ``labels_matter``: answers are labels. ``plain_text``: there are no inputs."""

    def __init__(
        self, stored: StoredBatches, names: RowNames, *, labels_matter: bool, near: bool, plain_text: bool = False
    ) -> None:
        self._stored = stored
        self._names = names
        self._labels_matter = labels_matter
        self._near = near
        self._lines = stored.lines()
        self._answers = stored.key("answer")
        self._contexts = stored.key("answer" if plain_text else "context")
        self._clusters: Clusters | None = None
        self.findings: dict[int, list[Finding]] = defaultdict(list)

    def find(self) -> dict[int, list[Finding]]:
        """Findings by index of the stored row."""
        usable = self._stored.usable()
        first = same_as_first(self._stored.key("content"), usable)
        again = usable & (first != np.arange(len(first)))
        for index in np.flatnonzero(again).tolist():
            self._add(index, _duplicate(self._name(int(first[index])), int(first[index]) + 1))
        unique = usable & ~again
        self._same_questions(list(groups(self._contexts, unique)))
        if self._near:
            self._near_questions(unique)
        return self.findings

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

    def _same_questions(self, found: list[npt.NDArray[np.int64]]) -> None:
        if not found:
            return
        texts: dict[int, str] = {}
        if not self._labels_matter:
            index = np.sort(np.concatenate(found))
            texts = dict(zip(index.tolist(), self._stored.normal_answers(index), strict=True))
        for group in found:
            self._same_question(group, [texts.get(index, "") for index in group.tolist()])

    def _same_question(self, group: npt.NDArray[np.int64], texts: list[str]) -> None:
        """One question, several answers: almost the same ones are duplicates, the others contradict."""
        kept: list[int] = []
        for place, index in enumerate(group.tolist()):
            twin = None
            if not self._labels_matter:
                twin = next((k for k in kept[:20] if alike(texts[k], texts[place])), None)
            if twin is None:
                kept.append(place)
            else:
                self._add_near(index, int(group[twin]), "the same input and almost the same answer")
        if len(kept) > 1:
            for order, place in enumerate(kept):
                other = kept[1] if order == 0 else kept[0]
                self._add_contradiction(int(group[place]), int(group[other]), "the same input")

    def _near_questions(self, unique: npt.NDArray[np.bool_]) -> None:
        first = same_as_first(self._contexts, unique)
        index = np.flatnonzero(unique & (first == np.arange(len(first))))
        found = near_pairs(index, lambda part: self._stored.texts("subject_norm", part), self._stored.key("setting"))
        if not found.pairs:
            return
        involved = np.unique(np.array([pair[:2] for pair in found.pairs], np.int64))
        prompts = dict(zip(involved.tolist(), self._stored.texts("subject_norm", involved), strict=True))
        answers = dict(zip(involved.tolist(), self._stored.normal_answers(involved), strict=True))
        for one, other, _ in found.pairs:
            # Whatever is said of the two, they must not stand on both sides of a split.
            self._join(one, other)
            same = self._answers[one] == self._answers[other]
            if same or (not self._labels_matter and alike(answers[one], answers[other])):
                by_words = one not in found.by_characters
                if same_numbers(prompts[one], prompts[other]) or (self._labels_matter and by_words):
                    self._add_near(other, one, "almost the same text")
            elif one in found.by_characters or not same_numbers(prompts[one], prompts[other]):
                continue
            elif self._labels_matter or not _explained(prompts[one], answers[one], prompts[other], answers[other]):
                self._add_contradiction(one, other, "almost the same input")
                self._add_contradiction(other, one, "almost the same input")


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
