"""One column of groups in the report: fairlearn's figures, their intervals, and whether the gap is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finetune_engine.evaluate.fair.groups import (
    FEWEST_PER_CELL,
    FEWEST_ROWS,
    Column,
    Numbers,
    Odds,
    Values,
    chance_of,
    gap_of_sums,
    group_rows,
    largest,
    odds_gaps,
    odds_of,
    odds_rows,
    parity_gaps,
    permuted,
)
from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.statistics.intervals import bootstrap_sums, mean_of_sums, mean_rows, wilson

PERMUTATIONS = 1_000
FEWEST_PERMUTATIONS = 200
_BUDGET = 2e9
"""Numbers handled by all permutations or resamples of one column together; larger data get fewer permutations, down to 200."""
_MOST_CELLS = 20_000_000
TOO_FEW_GROUPS = f"Fewer than two groups have {FEWEST_ROWS} cases."
NO_ODDS = f"No label has {FEWEST_PER_CELL} true and {FEWEST_PER_CELL} other cases in every group."


@dataclass(frozen=True)
class Served:
    """What one model did, case by case: the headline value (0..1) and, for classification, the label said."""

    values: Values
    said: list[str] | None


@dataclass(frozen=True)
class Gathered:
    """The cases of the groups shown: their places, group numbers, true labels (None outside classification) and blocks."""

    places: Numbers
    numbers: Numbers
    groups: list[str]
    truth: list[str] | None
    blocks: list[Hashable] | None


def column_report(
    column: Column,
    headline: str,
    truth: Sequence[str] | None,
    served: Mapping[str, Served],
    subject: str,
    blocks: Sequence[Hashable] | None,
    seed: int,
) -> dict[str, Any]:
    """The entry of one column. ``p_value`` (gap) and ``equalized_odds_p_value`` are uncorrected; ``by_chance`` is the mean gap
    that random membership would make. The figures of other models are beside, without tests."""
    entry: dict[str, Any] = {
        "column": column.name,
        "metric": headline,
        "by_group": by_group(column, headline, served[subject].values, blocks, seed),
        **_nothing(),
        "by_model": {},
        "is_finding": False,
        "sentence": "",
    }
    if len(column.shown) < 2:
        return entry | {"reason": TOO_FEW_GROUPS, "sentence": f"“{column.name}”: {TOO_FEW_GROUPS}"}
    gathered = gather(column, truth, blocks)
    entry |= _tested(gathered, served[subject], seed)
    by_model = {key: fairlearn_figures(gathered, one) for key, one in served.items()}
    return entry | by_model[subject] | {"by_model": by_model}


def gather(column: Column, truth: Sequence[str] | None, blocks: Sequence[Hashable] | None) -> Gathered:
    """The cases that belong to groups large enough."""
    number = {group: place for place, group in enumerate(column.shown)}
    places = [at for at, group in enumerate(column.of_case) if group in number]
    numbers = [number[group] for group in column.of_case if group is not None and group in number]
    return Gathered(
        np.asarray(places, dtype=np.int64),
        np.asarray(numbers, dtype=np.int64),
        column.shown,
        None if truth is None else [truth[at] for at in places],
        None if blocks is None else [blocks[at] for at in places],
    )


def by_group(
    column: Column, headline: str, values: Values, blocks: Sequence[Hashable] | None, seed: int
) -> list[dict[str, Any]]:
    """The headline value of each group: Wilson's interval for right or wrong, else the bootstrap; small groups without."""
    found = []
    for group, size in sorted(column.sizes.items()):
        mine = [at for at, name in enumerate(column.of_case) if name == group]
        entry: dict[str, Any] = {"group": group, "n": size, "value": None, "ci_low": None, "ci_high": None}
        entry["suppressed"] = size < FEWEST_ROWS
        if size >= FEWEST_ROWS:
            of_group = values[mine]
            if METRICS[headline].is_proportion and blocks is None:
                interval = wilson(int(of_group.sum()), size)
            else:
                drawn = None if blocks is None else [blocks[at] for at in mine]
                interval = bootstrap_sums(mean_rows(of_group), mean_of_sums, seed=seed, groups=drawn)
            entry |= {"value": float(of_group.mean()), "ci_low": interval.low, "ci_high": interval.high}
        found.append(entry)
    return found


def fairlearn_figures(gathered: Gathered, served: Served) -> dict[str, Any]:
    """Difference and ratio of the headline value, demographic parity and equalised odds difference, all by fairlearn. For
    several labels: one against the rest, the largest. None where a figure cannot be had."""
    from fairlearn.metrics import MetricFrame

    values = served.values[gathered.places]
    names = np.asarray(gathered.groups)[gathered.numbers]
    frame = MetricFrame(
        metrics=lambda truth, said: float(np.mean(said)), y_true=values, y_pred=values, sensitive_features=names
    )
    best = float(frame.by_group.max())
    figures: dict[str, Any] = {
        "difference": float(frame.difference(method="between_groups")),
        "ratio": float(frame.ratio(method="between_groups")) if best > 0 else None,
        "demographic_parity_difference": None,
        "demographic_parity_in_references": None,
        "equalized_odds_difference": None,
    }
    if gathered.truth is None or served.said is None:
        return figures
    return figures | _odds_figures(gathered, gathered.truth, [served.said[at] for at in gathered.places], names)


def _odds_figures(gathered: Gathered, truth: list[str], said: list[str], names: Any) -> dict[str, Any]:
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    groups, numbers = len(gathered.groups), gathered.numbers
    every = odds_of(truth, said, numbers, groups, fewest=0)
    compared = odds_of(truth, said, numbers, groups, fewest=FEWEST_PER_CELL)

    def by_fairlearn(metric: Callable[..., float], odds: Odds, gaps: Callable[[Values, int], Values]) -> float | None:
        """fairlearn's figure for the label with the largest gap."""
        if not odds.labels:
            return None
        sums = odds_rows(odds, numbers, groups).sum(axis=0, keepdims=True)
        at = int(np.nanargmax(gaps(sums, groups)[0]))
        return float(metric(odds.true[:, at], odds.said[:, at], sensitive_features=names))

    ideal = replace(every, said=every.true)
    return {
        "demographic_parity_difference": by_fairlearn(demographic_parity_difference, every, parity_gaps),
        "demographic_parity_in_references": by_fairlearn(demographic_parity_difference, ideal, parity_gaps),
        "equalized_odds_difference": by_fairlearn(equalized_odds_difference, compared, odds_gaps),
    }


def _tested(gathered: Gathered, served: Served, seed: int) -> dict[str, Any]:
    groups, numbers = len(gathered.groups), gathered.numbers
    values = served.values[gathered.places]
    rows = group_rows(values, numbers, groups)
    interval = bootstrap_sums(rows, gap_of_sums, seed=seed, groups=gathered.blocks)

    def gap(changed: Numbers) -> float:
        sizes = np.bincount(changed, minlength=groups)
        sums = np.bincount(changed, weights=values, minlength=groups)
        return float(gap_of_sums(np.concatenate([sums, sizes])[None, :])[0])

    p_value, by_chance = chance_of(
        gap(numbers), gap, lambda rng: permuted(numbers, None, gathered.blocks, rng), seed, PERMUTATIONS
    )
    found: dict[str, Any] = {
        "difference_low": interval.low,
        "difference_high": interval.high,
        "p_value": p_value,
        "by_chance": by_chance,
    }
    return found | _tested_odds(gathered, served, seed)


def _tested_odds(gathered: Gathered, served: Served, seed: int) -> dict[str, Any]:
    if gathered.truth is None or served.said is None:
        return {"odds_reason": "Only answers that are labels have odds to compare."}
    groups, numbers, truth = len(gathered.groups), gathered.numbers, gathered.truth
    odds = odds_of(truth, [served.said[at] for at in gathered.places], numbers, groups, fewest=FEWEST_PER_CELL)
    if not odds.labels:
        return {"odds_reason": NO_ODDS}
    strata = np.unique(np.asarray(truth), return_inverse=True)[1]
    # Four cells for each group and label; each permutation adds them all up by matrix products.
    weight = len(numbers) * len(odds.labels) * groups
    times = int(max(FEWEST_PERMUTATIONS, min(PERMUTATIONS, _BUDGET / weight)))
    columns = np.hstack([odds.true * odds.said, odds.true, (1 - odds.true) * odds.said, 1 - odds.true])

    def gap(changed: Numbers) -> float:
        sums = np.eye(groups)[changed].T @ columns
        cells = np.stack(np.hsplit(sums, 4)).reshape(1, -1)
        return float(largest(odds_gaps(cells, groups))[0])

    p_value, by_chance = chance_of(
        gap(numbers), gap, lambda rng: permuted(numbers, strata, gathered.blocks, rng), seed, times
    )
    found: dict[str, Any] = {
        "labels_compared": odds.labels,
        "equalized_odds_p_value": p_value,
        "equalized_odds_by_chance": by_chance,
    }
    if weight * 4 <= _MOST_CELLS:
        rows = odds_rows(odds, numbers, groups)
        interval = bootstrap_sums(
            rows, lambda sums: largest(odds_gaps(sums, groups)), seed=seed, groups=gathered.blocks
        )
        given = bootstrap_sums(rows, lambda sums: largest(parity_gaps(sums, groups)), seed=seed, groups=gathered.blocks)
        found |= {"equalized_odds_low": interval.low, "equalized_odds_high": interval.high}
        found |= {"demographic_parity_low": given.low, "demographic_parity_high": given.high}
    return found


def _nothing() -> dict[str, Any]:
    names = (
        "difference", "difference_low", "difference_high", "ratio", "demographic_parity_difference",
        "demographic_parity_low", "demographic_parity_high", "demographic_parity_in_references",
        "equalized_odds_difference", "equalized_odds_low", "equalized_odds_high", "equalized_odds_p_value",
        "equalized_odds_by_chance", "equalized_odds_p_holm", "p_value", "p_holm", "by_chance", "reason", "odds_reason",
    )  # fmt: skip
    return dict.fromkeys(names) | {"labels_compared": []}
