"""Where a model is better or worse than on the whole: by columns of the data, by length, by topic.

A slice is a finding only when its distance from the other cases is more than chance after correcting for the number of slices
(Holm): with forty slices two look special by luck alone. Small slices are shown, marked, and never findings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.conclusions.topics import topics_of
from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.scoring import Uncertainty, mean_interval
from finetune_engine.evaluate.statistics.intervals import holm, resampled_values
from finetune_engine.evaluate.statistics.percent import percent
from finetune_engine.evaluate.statistics.power import SIGNIFICANCE
from finetune_engine.evaluate.suites.suite import Bench

SMALL = 30
MOST_VALUES = 20
"""Values of a column that are shown, the most frequent ones."""
FEWEST_FOR_TOPICS = 120
CASES_PER_TOPIC = 40
MOST_TOPICS = 8

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """Some of the cases: what tells them apart, and their numbers."""

    by: str
    value: str
    members: list[int]


def slices_of(bench: Bench) -> list[dict[str, Any]]:
    """The headline by slice: ``[{by: "metadata:<column>"|"length"|"topic", value, n, subject: {value, ci_low, ci_high},
    against: {...}|null, is_small, difference, p_holm|null, is_finding, sentence|null}]``.

    ``difference`` is the subject's value in the slice minus its value on all other cases. Values are 0..1, 1 the best.
    In classification the label is the topic.
    """
    slices = [one for one in _all_slices(bench) if len(one.members) < len(bench.cases.test)]
    own = bench.values[bench.spec.subject]
    large = [place for place, one in enumerate(slices) if len(one.members) >= SMALL]
    corrected = holm([_p_value(bench.headline, own, slices[place].members, bench.how) for place in large])
    by_place = dict(zip(large, corrected, strict=True))
    return [_described(bench, one, by_place.get(place)) for place, one in enumerate(slices)]


def slice_findings(slices: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """``[{tone, text}]``: the slices that are worse beyond chance, the worst first."""
    worse = [one for one in slices if one["is_finding"] and one["difference"] < 0]
    return [{"tone": "warn", "text": one["sentence"]} for one in sorted(worse, key=lambda one: one["difference"])]


def _all_slices(bench: Bench) -> list[Slice]:
    cases = bench.cases.test
    slices = []
    for column in bench.spec.slices.columns:
        slices += _by_value(f"metadata:{column}", [_shown(case.metadata.get(column)) for case in cases])
    slices += _by_length([len(case.prompt) for case in cases])
    if bench.spec.task_type == "classification":
        return slices + _by_value("topic", [case.label for case in cases])
    return slices + _by_topic([case.prompt for case in cases], bench.how.seed)


def _shown(value: Any) -> str | None:
    return None if value is None or isinstance(value, dict | list) else str(value)


def _by_value(by: str, values: Sequence[str | None]) -> list[Slice]:
    frequent = [value for value, _ in Counter(value for value in values if value is not None).most_common(MOST_VALUES)]
    return [Slice(by, value, [place for place, found in enumerate(values) if found == value]) for value in frequent]


def _by_length(sizes: Sequence[int]) -> list[Slice]:
    """Quarters by the length of the question in characters; fewer when many are of one length."""
    edges = sorted({int(edge) for edge in np.quantile(np.asarray(sizes), [0.25, 0.5, 0.75])})
    slices = []
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        members = [
            place for place, size in enumerate(sizes) if (low is None or size > low) and (high is None or size <= high)
        ]
        name = f"up to {high:,}" if low is None else f"over {low:,}" if high is None else f"{low + 1:,} to {high:,}"
        slices.append(Slice("length", f"{name} characters", members))
    return [one for one in slices if one.members]


def _by_topic(prompts: Sequence[str], seed: int) -> list[Slice]:
    if len(prompts) < FEWEST_FOR_TOPICS:
        return []
    count = min(MOST_TOPICS, len(prompts) // CASES_PER_TOPIC)
    return [
        Slice("topic", topic.title, sorted(topic.members))
        for topic in topics_of(prompts, count, seed=seed)
        if topic.terms
    ]


def _described(bench: Bench, one: Slice, p_holm: float | None) -> dict[str, Any]:
    spec, own = bench.spec, bench.values[bench.spec.subject]
    inside = np.zeros(len(own), dtype=bool)
    inside[one.members] = True
    difference = float(own[inside].mean() - own[~inside].mean())
    is_finding = p_holm is not None and p_holm < SIGNIFICANCE
    against = bench.values.get(spec.against) if spec.against else None
    described = {
        "by": one.by,
        "value": one.value,
        "n": len(one.members),
        "subject": _value(bench, own, one.members),
        "against": None if against is None else _value(bench, against, one.members),
        "is_small": len(one.members) < SMALL,
        "difference": difference,
        "p_holm": p_holm,
        "is_finding": is_finding,
        "sentence": None,
    }
    if is_finding:
        described["sentence"] = (
            f"{_name(one)}: {percent(float(own[inside].mean()))} on {len(one.members):,} cases, against "
            f"{percent(float(own[~inside].mean()))} on all others, {'worse' if difference < 0 else 'better'} beyond chance."
        )
    return described


def _name(one: Slice) -> str:
    if one.by.startswith("metadata:"):
        return f"Where {one.by.removeprefix('metadata:')} is “{one.value}”"
    return f"{'Questions of' if one.by == 'length' else 'Questions about'} {one.value}"


def _value(bench: Bench, values: Values, members: Sequence[int]) -> dict[str, float]:
    interval = mean_interval(bench.headline, values[list(members)], _within(bench.how, members))
    return {"value": float(values[list(members)].mean()), "ci_low": interval.low, "ci_high": interval.high}


def _within(how: Uncertainty, members: Sequence[int]) -> Uncertainty:
    groups: list[Hashable] | None = None if how.groups is None else [how.groups[place] for place in members]
    return Uncertainty(how.seed, groups)


def _p_value(headline: str, values: Values, members: Sequence[int], how: Uncertainty) -> float:
    """Two-sided: could the slice be drawn from all cases by chance? Fisher's exact test for right-or-wrong; else the normal
    approximation to drawing without replacement; where cases share groups, the spread of the grouped bootstrap."""
    inside = np.zeros(len(values))
    inside[list(members)] = 1.0
    if how.group_count is not None:
        return _p_by_groups(values, inside, how)
    if METRICS[headline].is_proportion:
        return fisher_exact(round(float(values @ inside)), len(members), round(float(values.sum())), len(values))
    n, m = len(values), len(members)
    spread = math.sqrt(float(values.var(ddof=1)) / m * (1 - m / n))
    return _two_sided(float(values @ inside) / m - float(values.mean()), spread)


def _p_by_groups(values: Values, inside: Values, how: Uncertainty) -> float:
    rows = np.column_stack([values * inside, inside, values * (1 - inside), 1 - inside])

    def gap(sums: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            gaps: Values = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
        return gaps

    drawn = resampled_values(rows, gap, seed=how.seed, groups=how.groups)
    return _two_sided(float(gap(rows.sum(axis=0, keepdims=True))[0]), float(np.nanstd(drawn)))


def _two_sided(distance: float, spread: float) -> float:
    if spread <= 0:
        return 1.0
    return 2 * NormalDist().cdf(-abs(distance) / spread)


def fisher_exact(right_inside: int, inside: int, right: int, n: int) -> float:
    """Two-sided p-value of Fisher's exact test: the tables no likelier than the one seen, their margins as they are."""

    def log_ways(k: int) -> float:
        return _log_choose(right, k) + _log_choose(n - right, inside - k) - _log_choose(n, inside)

    seen = log_ways(right_inside)
    possible = range(max(0, inside - (n - right)), min(inside, right) + 1)
    return min(1.0, math.fsum(math.exp(log) for k in possible if (log := log_ways(k)) <= seen + 1e-9))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
