"""From answers to scores with intervals, and from two models' scores to their paired comparison."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.answers import ModelAnswers
from finetune_engine.evaluate.baselines import Baseline
from finetune_engine.evaluate.cases import Cases
from finetune_engine.evaluate.intervals import (
    Indices,
    bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    sign_flip_test,
    wilson,
)
from finetune_engine.evaluate.metrics.quality import (
    Classified,
    LabelReader,
    exact_match,
    macro_f1_of,
    mcc_of,
    quasi_exact_match,
    token_f1,
)
from finetune_engine.evaluate.report import BaselineReport, Comparison, ModelReport, Score

Values = npt.NDArray[np.float64]
RIGHT_OR_WRONG = frozenset({"accuracy", "accuracy_loglik", "exact_match", "quasi_exact_match"})
NAMES = {
    "accuracy": "greedy answer read as a label; unreadable answers are wrong; Wilson 95 %",
    "accuracy_loglik": "label of highest summed log-likelihood, end token included; Wilson 95 %",
    "exact_match": "equal after trimming; Wilson 95 %",
    "quasi_exact_match": "equal without case, punctuation, articles and surplus spaces; Wilson 95 %",
    "f1": "SQuAD word F1, scripts without spaces letter by letter; bootstrap 95 %",
}


@dataclass(frozen=True)
class Uncertainty:
    """How intervals are drawn: the seed, and the group of each case (None: independent cases)."""

    seed: int
    groups: Sequence[Hashable] | None = None


@dataclass(frozen=True)
class Scored:
    """A model's report with the case-by-case values behind it, by metric."""

    report: ModelReport
    values: dict[str, Values] = field(default_factory=dict)


def headline_of(task_type: str) -> str:
    """The one metric that decides, named before anything is measured."""
    return "accuracy" if task_type == "classification" else "f1"


def groups_of(cases: Cases) -> list[Hashable] | None:
    """The group of every case; a case without one stands alone. None when no case has any."""
    if all(case.group is None for case in cases.test):
        return None
    return [case.group if case.group is not None else case.row for case in cases.test]


def score_model(key: str, name: str, answers: ModelAnswers, cases: Cases, task_type: str, how: Uncertainty) -> Scored:
    """All quality scores of one model."""
    references = [case.reference for case in cases.test]
    values: dict[str, Values] = {
        "exact_match": _each(exact_match, answers.answers, references),
        "quasi_exact_match": _each(quasi_exact_match, answers.answers, references),
    }
    if task_type != "classification":
        values["f1"] = _each(token_f1, answers.answers, references)
        scores = [*_means(values, how), _perplexity(answers, how)]
        return Scored(ModelReport(key, name, scores), values)
    labels = [case.label or "" for case in cases.test]
    reader = LabelReader(cases.labels)
    classified = Classified.of(labels, [reader.read(answer) for answer in answers.answers])
    values = {"accuracy": classified.correct.astype(np.float64)} | values
    if answers.likeliest is not None:
        values["accuracy_loglik"] = Classified.of(labels, answers.likeliest).correct.astype(np.float64)
    scores = [*_means(values, how), *class_scores(classified, how), _perplexity(answers, how)]
    report = ModelReport(key, name, scores, classified.per_class(), classified.confusion())
    return Scored(report, values)


def score_baseline(baseline: Baseline, cases: Cases, how: Uncertainty) -> tuple[BaselineReport, Values]:
    """Scores of a baseline, and case by case whether it was right."""
    classified = Classified.of([case.label or "" for case in cases.test], baseline.predictions)
    correct = classified.correct.astype(np.float64)
    accuracy = replace(_mean("accuracy", correct, how), signature=f"{baseline.signature}; Wilson 95 %")
    return BaselineReport(baseline.key, baseline.name, [accuracy, *class_scores(classified, how)]), correct


def class_scores(classified: Classified, how: Uncertainty) -> list[Score]:
    """Macro F1 and the Matthews coefficient, with bootstrap intervals."""
    n = len(classified.references)

    def interval_of(statistic: Callable[[npt.NDArray[np.int64]], float]) -> tuple[float, float]:
        def of_chosen(chosen: Indices) -> float:
            return statistic(classified.matrix(chosen))

        interval = bootstrap(of_chosen, n, seed=how.seed, groups=how.groups)
        return interval.low, interval.high

    macro = "scikit-learn f1_score macro over classes seen, unreadable answers a class; bootstrap 95 %"
    mcc = "scikit-learn matthews_corrcoef, unreadable answers a class; bootstrap 95 %"
    return [
        Score("macro_f1", classified.macro_f1(), *interval_of(macro_f1_of), n, True, macro),
        Score("mcc", classified.mcc(), *interval_of(mcc_of), n, True, mcc),
    ]


def compare(metric: str, first: Values, second: Values, how: Uncertainty, *, against: str = "base") -> Comparison:
    """``second`` against ``first`` on the same cases: exact McNemar for right-or-wrong, else a sign-flip test."""
    gap = paired_bootstrap(first.tolist(), second.tolist(), seed=how.seed, groups=how.groups)
    binary = metric in RIGHT_OR_WRONG
    if binary:
        p_value, test = mcnemar_exact((first > 0.5).tolist(), (second > 0.5).tolist()), "exact McNemar"
    else:
        p_value, test = sign_flip_test((second - first).tolist(), seed=how.seed), "paired sign-flip (10,000)"
    return Comparison(
        metric=metric,
        base=float(first.mean()),
        tuned=float(second.mean()),
        difference=gap.value,
        ci_low=gap.interval.low,
        ci_high=gap.interval.high,
        p_value=p_value,
        test=test,
        n=len(first),
        better=int((second > first).sum()) if binary else None,
        worse=int((second < first).sum()) if binary else None,
        against=against,
    )


def compare_all(base: Scored, tuned: Scored, how: Uncertainty) -> list[Comparison]:
    """Every metric that both models have, with p-values corrected for their number (Holm)."""
    found = [
        compare(metric, base.values[metric], tuned.values[metric], how)
        for metric in tuned.values
        if metric in base.values
    ]
    corrected = holm([comparison.p_value for comparison in found])
    return [replace(comparison, p_holm=p) for comparison, p in zip(found, corrected, strict=True)]


def _each(metric: Callable[[str, str], float], answers: Sequence[str], references: Sequence[str]) -> Values:
    pairs = zip(answers, references, strict=True)
    return np.asarray([float(metric(answer, reference)) for answer, reference in pairs], dtype=np.float64)


def _means(values: dict[str, Values], how: Uncertainty) -> list[Score]:
    return [_mean(metric, column, how) for metric, column in values.items()]


def _mean(metric: str, column: Values, how: Uncertainty) -> Score:
    n = len(column)
    if metric in RIGHT_OR_WRONG:
        interval = wilson(int(column.sum()), n)
    else:
        interval = bootstrap(lambda chosen: float(column[chosen].mean()), n, seed=how.seed, groups=how.groups)
    return Score(metric, float(column.mean()), interval.low, interval.high, n, True, NAMES[metric])


def _perplexity(answers: ModelAnswers, how: Uncertainty) -> Score:
    """exp of the token-weighted mean, not a mean of perplexities."""
    nll, tokens = np.asarray(answers.nll, dtype=np.float64), np.asarray(answers.tokens, dtype=np.float64)

    def of(chosen: Indices) -> float:
        return float(np.exp(min(700.0, nll[chosen].sum() / max(1.0, tokens[chosen].sum()))))

    everything = np.arange(len(nll), dtype=np.int64)
    interval = bootstrap(of, len(nll), seed=how.seed, groups=how.groups)
    signature = "exp(sum of answer-token nll / answer tokens), end token included; bootstrap 95 %"
    return Score("perplexity", of(everything), interval.low, interval.high, len(nll), False, signature)
