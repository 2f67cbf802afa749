"""Kahneman-Tversky optimisation: make wanted answers likelier and unwanted ones less likely, without pairs.

Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, equations 7 and 8; the same numbers as TRL's ``KTOTrainer``.
The point of comparison is how far the model has moved from the reference at all: the mean log-ratio of answers that
belong to other questions, not below zero. TRL estimates it from each device batch; here it is all rows of a step, so
that the gradient does not depend on how a step is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from finetune_engine.errors import UserError
from finetune_engine.train.local.collate import micro_batches
from finetune_engine.train.local.encode import Encoded, encode_chat
from finetune_engine.train.local.examples import SnapshotRow
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.objectives.logprobs import answers, judging, reference
from finetune_engine.train.local.objectives.objective import Backward, Between, Limits


@dataclass(frozen=True)
class Verdict:
    """One answer and whether people want it; ``other`` is its question with the answer of another row.

    The references are the reference's log-probabilities of the two (nats).
    """

    answer: Encoded
    wanted: bool
    other: Encoded | None = None
    reference_answer: float = 0.0
    reference_other: float = 0.0


@dataclass(frozen=True)
class Verdicts:
    """Rows are ``Verdict``; the loss is the weighted mean over rows of ``1 - sigmoid(beta * (how far the right way))``."""

    beta: float
    desirable_weight: float
    undesirable_weight: float

    def encode(self, loaded: LoadedModel, row: SnapshotRow, limits: Limits) -> Verdict:
        """See Objective."""
        if row.wanted is None:
            raise UserError(
                "no_verdict",
                "Nobody said whether this answer is wanted. Method 'kto' needs true or false with every answer; for "
                "pairs of a better and a worse answer choose 'dpo', for answers alone 'sft'.",
                field="method",
            )
        return Verdict(encode_chat(loaded, row.messages, max_length=limits.max_length), row.wanted)

    def sequences(self, row: Verdict) -> list[Encoded]:
        """See Objective."""
        return [row.answer]

    def prepare(self, lesson: Lesson, rows: Sequence[Verdict], between: Between) -> list[Verdict]:
        """Give every question the answer of the row before it (the first that of the last, as TRL does), and ask the
        reference about both."""
        limit = lesson.spec.max_length
        others = [
            _question_with(row.answer, before.answer, limit) for row, before in zip(rows, _rotated(rows), strict=True)
        ]
        known = reference(lesson, [row.answer for row in rows] + others, between)
        return [
            replace(row, other=other, reference_answer=known[index], reference_other=known[len(rows) + index])
            for index, (row, other) in enumerate(zip(rows, others, strict=True))
        ]

    def weight(self, rows: Sequence[Verdict]) -> float:
        """The number of answers, as TRL has it: the weights of wanted and unwanted ones change the loss."""
        return float(len(rows))

    def add_gradients(self, lesson: Lesson, rows: Sequence[Verdict], *, budget: int, backward: Backward) -> Sums:
        """See Objective."""
        moved = self.moved(lesson, rows, budget, between=lambda: None)
        total = Sums()
        for group in _groups(lesson, [row.answer for row in rows], budget):
            loss, sums = self.loss(lesson, [rows[index] for index in group], moved)
            backward(loss)
            total += sums
        return total

    def judge(self, lesson: Lesson, rows: Sequence[Verdict], *, budget: int, between: Between) -> Sums:
        """See Objective."""
        total = Sums()
        moved = self.moved(lesson, rows, budget, between)
        with judging(lesson.model):
            for group in _groups(lesson, [row.answer for row in rows], budget):
                between()
                total += self.loss(lesson, [rows[index] for index in group], moved)[1]
        return total

    def moved(self, lesson: Lesson, rows: Sequence[Verdict], budget: int, between: Between) -> float:
        """How far the model has moved from the reference: the estimate of their divergence in nats, at least 0."""
        others = [row.other or row.answer for row in rows]
        total = 0.0
        with judging(lesson.model):
            for group in _groups(lesson, others, budget):
                between()
                found = answers(lesson, [others[index] for index in group]).logprobs
                total += float(found.sum()) - sum(rows[index].reference_other for index in group)
        return max(0.0, total / max(1, len(rows)))

    def loss(self, lesson: Lesson, rows: Sequence[Verdict], moved: float) -> tuple[torch.Tensor, Sums]:
        """The summed loss of some answers with its graph, and what they add up to."""
        found = answers(lesson, [row.answer for row in rows])
        device = found.logprobs.device
        ratios = found.logprobs - torch.tensor([row.reference_answer for row in rows], device=device)
        wanted = torch.tensor([row.wanted for row in rows], device=device)
        way = torch.where(wanted, ratios - moved, moved - ratios)
        weights = torch.where(wanted, self.desirable_weight, self.undesirable_weight)
        loss = (weights * (1 - torch.sigmoid(self.beta * way))).sum()
        rewards = self.beta * ratios.detach()
        n_wanted = int(wanted.sum())
        return loss, Sums(
            loss=float(loss.detach()),
            weight=len(rows),
            correct=float(found.correct[wanted].sum()),
            scored=float(found.scored[wanted].sum()),
            tokens=sum(len(row.answer.input_ids) for row in rows),
            wanted_reward=float(rewards[wanted].sum()),
            wanted=n_wanted,
            unwanted_reward=float(rewards[~wanted].sum()),
            unwanted=len(rows) - n_wanted,
            agreed=float((way.detach() > 0).sum()),
            judged=len(rows),
        )


def _rotated(rows: Sequence[Verdict]) -> list[Verdict]:
    return [*rows[-1:], *rows[:-1]]


def _question_with(question: Encoded, answer: Encoded, limit: int) -> Encoded:
    """The question's prompt and another row's answer, cut at ``limit`` tokens."""
    prompt = question.input_ids[: question.prompt_length]
    return Encoded((prompt + answer.answer_ids)[:limit], question.prompt_length)


def _groups(lesson: Lesson, texts: Sequence[Encoded], budget: int) -> list[list[int]]:
    return micro_batches([len(text.input_ids) for text in texts], budget, flat=lesson.flat)
