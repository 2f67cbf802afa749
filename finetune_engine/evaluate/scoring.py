"""From answers to scores with intervals, and from two models' scores to their paired comparison.

Intervals: Wilson for shares of independent cases; else the percentile bootstrap, over groups where cases share one.
Differences: paired bootstrap, with the exact McNemar test for right-or-wrong on independent cases; else swaps of the two
models, case by case or group by group (McNemar's test does not hold for cases that depend on each other). One headline
metric is named before the run and judged by its own p-value; all other comparisons together are corrected by Holm.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.asking.answers import ModelAnswers
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.conclusions.baselines import Baseline
from finetune_engine.evaluate.metrics.chosen import METRICS, headline_of, metrics_for
from finetune_engine.evaluate.metrics.class_agreement import (
    MACRO_F1_SIGNATURE,
    MCC_SIGNATURE,
    classified,
    macro_f1_of_sums,
    mcc_of_sums,
)
from finetune_engine.evaluate.metrics.labels import Classified
from finetune_engine.evaluate.metrics.metric import Material, Measured, mean_over
from finetune_engine.evaluate.report import BaselineReport, Comparison, ModelReport, Score
from finetune_engine.evaluate.statistics.intervals import (
    FEWEST_DISCORDANT,
    FLIPS,
    RESAMPLES,
    Interval,
    bootstrap_sums,
    holm,
    paired_bootstrap_sums,
    sign_test,
    swap_test,
    wilson,
)

__all__ = [
    "Scored",
    "Uncertainty",
    "compare",
    "compare_all",
    "correct",
    "grade",
    "groups_of",
    "headline_of",
    "score_model",
]

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Uncertainty:
    """How intervals are drawn: the seed, and the group of each case (None: independent cases)."""

    seed: int
    groups: Sequence[Hashable] | None = None

    @property
    def group_count(self) -> int | None:
        """How many groups there are; None when cases are independent, or when each is a group of its own."""
        if self.groups is None:
            return None
        count = len(set(self.groups))
        return count if count < len(self.groups) else None


@dataclass(frozen=True)
class Scored:
    """A model's report; by metric, what it was computed from; and the values case by case, in the metric's own unit."""

    report: ModelReport
    values: dict[str, Values] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)


def groups_of(cases: Cases) -> list[Hashable] | None:
    """The group of every case; a case without one stands alone. None when no case has any."""
    if all(case.group is None for case in cases.test):
        return None
    return [case.group if case.group is not None else case.row for case in cases.test]


def score_model(
    key: str,
    name: str,
    answers: ModelAnswers,
    cases: Cases,
    task_type: str,
    how: Uncertainty,
    wanted: Sequence[str] | None = None,
) -> Scored:
    """All quality scores of one model: those that suit task and data, or the ``wanted`` metrics.

    Raises UserError ``unknown_metric``.
    """
    material = _material(answers, cases, task_type)
    metrics = metrics_for(task_type, material, wanted)
    measured = {metric.name: metric.measure(material) for metric in metrics}
    scores = [score_of(metric, found, how) for metric, found in measured.items()]
    values = {metric: found.values for metric, found in measured.items() if found.values is not None}
    if not material.labels:
        return Scored(ModelReport(key, name, scores), values, measured)
    classes = classified(material)
    return Scored(ModelReport(key, name, scores, classes.per_class(), classes.confusion()), values, measured)


def score_baseline(baseline: Baseline, cases: Cases, how: Uncertainty) -> tuple[BaselineReport, Values]:
    """Scores of a baseline, and case by case whether it was right."""
    classes = Classified.of([case.label or "" for case in cases.test], baseline.predictions)
    correct = classes.correct.astype(np.float64)
    accuracy = score_of("accuracy", mean_over(correct, baseline.signature), how)
    return BaselineReport(baseline.key, baseline.name, [accuracy, *class_scores(classes, how)]), correct


def class_scores(classes: Classified, how: Uncertainty) -> list[Score]:
    """Macro F1 and the Matthews coefficient, with bootstrap intervals."""
    rows = classes.rows()
    return [
        score_of("macro_f1", Measured(rows, macro_f1_of_sums, None, MACRO_F1_SIGNATURE), how),
        score_of("mcc", Measured(rows, mcc_of_sums, None, MCC_SIGNATURE), how),
    ]


def score_of(metric: str, found: Measured, how: Uncertainty) -> Score:
    """One metric with its 95 % interval, and how that was made."""
    known, n = METRICS[metric], len(found.rows)
    interval, method = _interval(known.is_proportion, found, how)
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Score(metric, found.value, low, high, n, known.higher_is_better, f"{found.signature}; {method}")


def mean_interval(metric: str, values: Values, how: Uncertainty) -> Interval:
    """The 95 % interval of the mean of some cases' values (0..1) of a metric; ``how.groups`` tells of these cases. 0 to 1
    where nothing can be said of it."""
    return _interval(METRICS[metric].is_proportion, mean_over(values, ""), how)[0] or Interval(0.0, 1.0)


def _interval(is_proportion: bool, found: Measured, how: Uncertainty) -> tuple[Interval | None, str]:
    groups, n = how.group_count, len(found.rows)
    if is_proportion and groups is None:
        return wilson(round(float(found.rows[:, 0].sum())), n), "Wilson 95 %"
    if is_proportion and groups is not None and found.value in (0.0, 1.0):
        # All drawn groups look alike, and a bootstrap would claim to know the share exactly.
        return wilson(groups if found.value else 0, groups), f"Wilson 95 % over {groups} groups"
    if n == 1 or groups == 1:
        # All draws are alike, and the bootstrap would claim to know the value exactly.
        return None, "no interval from a single case or group"
    interval = bootstrap_sums(found.rows, found.of_sums, seed=how.seed, groups=how.groups)
    over = f" over {groups} groups" if groups is not None else ""
    return interval, f"bootstrap 95 %{over}, {RESAMPLES:,} draws, seed {how.seed}"


def compare(metric: str, first: Values, second: Values, how: Uncertainty, *, against: str = "base") -> Comparison:
    """``second`` against ``first`` on the same cases, from values case by case whose mean is the metric."""
    return compare_measured(metric, mean_over(first, ""), mean_over(second, ""), how, against=against)


def compare_measured(
    metric: str, first: Measured, second: Measured, how: Uncertainty, *, against: str = "base"
) -> Comparison:
    """``second`` against ``first`` on the same cases. Raises ValueError when they tell of different cases."""
    gap = paired_bootstrap_sums(first.rows, second.rows, second.of_sums, seed=how.seed, groups=how.groups)
    is_proportion = metric in METRICS and METRICS[metric].is_proportion
    better = worse = None
    if is_proportion:
        better = int((second.rows[:, 0] > first.rows[:, 0]).sum())
        worse = int((second.rows[:, 0] < first.rows[:, 0]).sum())
    p_value, p_mid, test = _significance(first.rows, second, how, better, worse)
    return Comparison(
        metric=metric,
        base=first.value,
        tuned=second.value,
        difference=gap.value,
        ci_low=gap.interval.low,
        ci_high=gap.interval.high,
        p_value=p_value,
        test=test,
        n=len(first.rows),
        better=better,
        worse=worse,
        against=against,
        p_mid=p_mid,
        is_grouped=how.group_count is not None,
    )


def _significance(
    first: Values, second: Measured, how: Uncertainty, better: int | None, worse: int | None
) -> tuple[float, float | None, str]:
    """p-value, McNemar's mid-p beside it where it may be read, and the name of the test."""
    if better is not None and worse is not None and how.group_count is None:
        mid = sign_test(better, worse, mid=True) if better + worse >= FEWEST_DISCORDANT else None
        return sign_test(better, worse), mid, "exact McNemar"
    p_value = swap_test(first, second.rows, second.of_sums, seed=how.seed, groups=how.groups)
    over = f" over {how.group_count} groups" if how.group_count is not None else ""
    return p_value, None, f"paired sign-flip{over} (at most {FLIPS:,})"


def compare_all(
    base: Scored, tuned: Scored, how: Uncertainty, *, headline: str | None = None, against: str = "base"
) -> list[Comparison]:
    """Every metric that both models have. ``headline`` is left out of the correction for the number of comparisons.

    Perplexity is left out where the two cut the references into different tokens: ``bits_per_byte`` says it then.
    """
    found = []
    for metric, second in tuned.measured.items():
        first = base.measured.get(metric)
        if first is not None and not (metric == "perplexity" and _counts_differ(first, second)):
            found.append(compare_measured(metric, first, second, how, against=against))
    return correct(found, headline=headline)


def _counts_differ(first: Measured, second: Measured) -> bool:
    """Whether two models count the tokens of the same references differently."""
    return not np.array_equal(first.rows[:, 1], second.rows[:, 1])


def correct(found: Sequence[Comparison], *, headline: str | None = None) -> list[Comparison]:
    """The comparisons with ``p_holm``: Holm over all of them but the headline against the base, which was named before the
    run and keeps its own p-value."""
    named = [comparison.metric == headline and comparison.against == "base" for comparison in found]
    others = iter(holm([one.p_value for one, is_named in zip(found, named, strict=True) if not is_named]))
    return [
        replace(comparison, p_holm=comparison.p_value if is_named else next(others))
        for comparison, is_named in zip(found, named, strict=True)
    ]


def grade(
    task_type: str,
    headline: str,
    answers: Sequence[str],
    cases: Sequence[TestCase],
    known_labels: Sequence[str] = (),
) -> Values:
    """The headline metric of single answers as 0 (wrong) to 1 (right), one for each case: ``(n,)``.

    ``known_labels`` are those of the snapshot; for classification only. Raises UserError ``bad_headline``.
    """
    labels = [case.label or "" for case in cases] if task_type == "classification" else []
    references = [case.reference for case in cases]
    material = Material(answers, references, labels, list(known_labels) or sorted(set(labels)))
    if not answers:
        return np.zeros(0)
    values = METRICS[headline_of(task_type, headline)].measure(material).values
    return as_share(headline, values if values is not None else np.zeros(len(answers)))


def as_share(metric: str, values: Values) -> Values:
    """Values of a metric as 0 (worst) to 1 (best): of 0..100 its hundredth; where less is better, what is missing to 1."""
    known = METRICS[metric]
    shares = np.clip(values / (100.0 if known.unit == "hundred" else 1.0), 0.0, 1.0)
    return shares if known.higher_is_better else 1.0 - shares


def _material(answers: ModelAnswers, cases: Cases, task_type: str) -> Material:
    is_labelled = task_type == "classification"
    return Material(
        answers=answers.answers,
        references=[case.reference for case in cases.test],
        labels=[case.label or "" for case in cases.test] if is_labelled else [],
        known_labels=cases.labels if is_labelled else [],
        likeliest=answers.likeliest,
        nll=answers.nll,
        tokens=answers.tokens,
    )
