"""Groups of people in the data: does the model serve them alike?

By group the headline value; the gap between the best and the worst served group and the ratio of the two (fairlearn's
``MetricFrame``); for classification the demographic parity difference (how differently often a label is *given*) and
the equalised odds difference (how differently often it is given *rightly and wrongly*), one label against the rest,
the largest over labels. A gap between the largest and the smallest of several figures is never 0 even for a fair
model, so whether it is more than chance is told by exchanging group membership at random.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.cases import TestCase

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

FEWEST_ROWS = 30
"""A group of fewer cases is not shown: its figures would be noise, and might point at a person."""
MOST_GROUPS = 20
FEWEST_PER_CELL = 10
"""How many true and how many other cases of a label each group needs before its odds are compared."""


@dataclass(frozen=True)
class Column:
    """A column of groups. ``of_case`` is each case's group as text, None without one; ``sizes`` how many cases each has."""

    name: str
    of_case: list[str | None]
    sizes: dict[str, int]

    @property
    def shown(self) -> list[str]:
        """Groups of at least FEWEST_ROWS cases, sorted."""
        return sorted(group for group, size in self.sizes.items() if size >= FEWEST_ROWS)


@dataclass(frozen=True)
class Odds:
    """Indicators of the labels compared, ``(n, labels)``: what is true, and what was answered."""

    labels: list[str]
    true: Values
    said: Values


def column_of(cases: Sequence[TestCase], name: str) -> Column:
    """The groups in a metadata column. Lists and objects are no groups."""
    values = [case.metadata.get(name) for case in cases]
    texts = [str(value).strip() if isinstance(value, str | int | float | bool) else None for value in values]
    named = [text or None for text in texts]
    return Column(name, named, dict(Counter(text for text in named if text is not None)))


def columns_for(cases: Sequence[TestCase], wanted: Sequence[str], group_by: str | None) -> list[Column]:
    """The wanted columns; where none are named, every column with 2 to 20 values of at least 30 cases each, except what ties rows
    together and what follows from the label (the topic of an intent, say: that is the task, not a group of people)."""
    if wanted:
        return [column_of(cases, name) for name in wanted]
    names = sorted({name for case in cases for name in case.metadata if name != group_by})
    columns = [column_of(cases, name) for name in names]
    return [
        column
        for column in columns
        if 2 <= len(column.sizes) <= MOST_GROUPS
        and min(column.sizes.values()) >= FEWEST_ROWS
        and not _follows_from_label(column, cases)
    ]


def odds_of(truth: Sequence[str], said: Sequence[str], numbers: Numbers, groups: int, *, fewest: int) -> Odds:
    """Indicators of the labels that each group has at least ``fewest`` true cases and ``fewest`` other cases of."""
    found = []
    for label in sorted(set(truth)):
        true = np.asarray([name == label for name in truth])
        cells = [(true[numbers == group].sum(), (~true[numbers == group]).sum()) for group in range(groups)]
        if all(min(cell) >= fewest for cell in cells):
            found.append(label)
    shape = (len(truth), len(found))
    true_rows = np.asarray([[name == label for label in found] for name in truth], dtype=np.float64).reshape(shape)
    said_rows = np.asarray([[name == label for label in found] for name in said], dtype=np.float64).reshape(shape)
    return Odds(found, true_rows, said_rows)


def group_rows(values: Values, numbers: Numbers, groups: int) -> Values:
    """``(n, 2 groups)``: the value in its group's place, and a 1 in the same place."""
    member = np.eye(groups)[numbers]
    return np.hstack([values[:, None] * member, member])


def gap_of_sums(sums: Values) -> Values:
    """The gap between the best and the worst served group, from sums of ``group_rows``."""
    served, all_of_group = np.hsplit(sums, 2)
    return _spread(_share(served, all_of_group))


def odds_rows(odds: Odds, numbers: Numbers, groups: int) -> Values:
    """``(n, 4 groups labels)``: label rightly given, label true, label wrongly given, label not true; by group and label."""
    member = np.eye(groups)[numbers][:, :, None]
    true, said = odds.true[:, None, :], odds.said[:, None, :]
    parts = (member * true * said, member * true, member * (1 - true) * said, member * (1 - true))
    return np.hstack([part.reshape(len(numbers), -1) for part in parts])


def odds_gaps(sums: Values, groups: int) -> Values:
    """``(m, labels)``: the equalised odds difference of each label from sums of ``odds_rows``, the larger of two gaps between
    groups: in the share of true cases found, and in the share of other cases that wrongly got the label."""
    given, true, wrong, other = _cells(sums, groups)
    gaps: Values = np.fmax(_spread(_share(given, true)), _spread(_share(wrong, other)))
    return gaps


def parity_gaps(sums: Values, groups: int) -> Values:
    """``(m, labels)``: the demographic parity difference of each label from the same sums: the gap in how often it is given."""
    given, true, wrong, other = _cells(sums, groups)
    return _spread(_share(given + wrong, true + other))


def largest(gaps: Values) -> Values:
    """``(m,)``: the largest over labels; not a number where no label has any."""
    found: Values = np.fmax.reduce(gaps, axis=1)
    return found


def _cells(sums: Values, groups: int) -> list[Values]:
    """Four arrays (m, groups, labels)."""
    return [part.reshape(len(sums), groups, -1) for part in np.hsplit(sums, 4)]


def _share(part: Values, whole: Values) -> Values:
    """Not a number where a resample drew nobody."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Values = np.where(whole > 0, part / whole, np.nan)
    return shares


def _spread(values: Values) -> Values:
    """The largest minus the smallest over groups (axis 1), those without anybody left aside."""
    spread: Values = np.fmax.reduce(values, axis=1) - np.fmin.reduce(values, axis=1)
    return spread


def permuted(
    numbers: Numbers, strata: Numbers | None, blocks: Sequence[Hashable] | None, rng: np.random.Generator
) -> Numbers:
    """Group membership exchanged at random: among all cases, or within each stratum (the true label).

    Where cases come in blocks (one document, one customer), whole blocks change their group when each block has a single one;
    else membership is exchanged within blocks.
    """
    if blocks is None:
        return rng.permutation(numbers) if strata is None else _within(numbers, strata, rng)
    places = {block: place for place, block in enumerate(dict.fromkeys(blocks))}
    block_of = np.asarray([places[block] for block in blocks], dtype=np.int64)
    first = np.zeros(len(places), dtype=np.int64)
    first[block_of[::-1]] = numbers[::-1]
    if (first[block_of] == numbers).all():
        shuffled: Numbers = rng.permutation(first)[block_of]
        return shuffled
    return _within(numbers, block_of, rng)


def _within(numbers: Numbers, strata: Numbers, rng: np.random.Generator) -> Numbers:
    out = numbers.copy()
    for stratum in np.unique(strata):
        mine = np.flatnonzero(strata == stratum)
        out[mine] = rng.permutation(numbers[mine])
    return out


def chance_of(
    seen: float,
    statistic: Callable[[Numbers], float],
    shuffle: Callable[[np.random.Generator], Numbers],
    seed: int,
    times: int,
) -> tuple[float, float]:
    """The p-value of a gap under random membership, and the mean gap that chance alone makes."""
    rng = np.random.default_rng(seed)
    by_chance = np.asarray([statistic(shuffle(rng)) for _ in range(times)])
    extreme = int((by_chance >= seen - 1e-12).sum())
    return (extreme + 1) / (times + 1), float(np.nanmean(by_chance))


def _follows_from_label(column: Column, cases: Sequence[TestCase]) -> bool:
    values: dict[str, set[str | None]] = {}
    for case, group in zip(cases, column.of_case, strict=True):
        if case.label is None:
            return False
        values.setdefault(case.label, set()).add(group)
    return all(len(groups) == 1 for groups in values.values())
