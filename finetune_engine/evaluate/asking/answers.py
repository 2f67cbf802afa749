"""What one model says to every test case: its answer, the cost of the reference, the label it finds likeliest."""

from __future__ import annotations

from dataclasses import dataclass, field

from finetune_engine.evaluate.cases import Cases

LONGEST_ANSWER = 1024
MOST_LABEL_SCORINGS = 200_000
"""Rows x labels beyond which label likelihoods are left out (and the report says so)."""


@dataclass(frozen=True)
class ModelAnswers:
    """Case by case, in the order of the cases.

    ``nll`` is the negative log-likelihood (nats, summed) of the reference and its end token, ``tokens`` how
    many tokens that is (both None for a model that gives no likelihoods). ``label_loglikelihoods`` has one number for
    each of ``cases.train_labels`` and ``likeliest`` the label of the highest (None: not asked). ``logprobs`` is the mean
    log-probability (nats) of each answer's own tokens, None where nobody knows it. ``shortened`` counts prompts cut to
    fit the context.
    """

    answers: list[str]
    finish_reasons: list[str]
    nll: list[float] | None
    tokens: list[int] | None
    likeliest: list[str] | None
    answer_limit: int
    shortened: int
    label_loglikelihoods: list[list[float]] | None = None
    logprobs: list[float | None] = field(default_factory=list)


def asks_labels(cases: Cases, task_type: str) -> bool:
    """Whether label likelihoods are worth their cost."""
    wanted = task_type == "classification" and len(cases.train_labels) >= 2
    return wanted and len(cases.test) * len(cases.train_labels) <= MOST_LABEL_SCORINGS


def answer_limit(longest: int) -> int:
    """Half as long again as the longest reference of ``longest`` tokens: room to be wordy, not to ramble on."""
    return min(LONGEST_ANSWER, longest + max(4, longest // 2))
