"""Direct preference optimisation: make the better answer likelier than the worse one.

Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7; the same numbers as TRL's ``DPOTrainer`` with its
default (sigmoid) loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import logsigmoid

from finetune_engine.errors import UserError
from finetune_engine.train.local.collate import micro_batches
from finetune_engine.train.local.encode import Encoded, encode_chat
from finetune_engine.train.local.examples import SnapshotRow
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.objectives.logprobs import answers, judging, reference
from finetune_engine.train.local.objectives.objective import Backward, Between, Limits


@dataclass(frozen=True)
class Pair:
    """One question with the answer people prefer and another; the reference's log-probability of each (nats)."""

    chosen: Encoded
    rejected: Encoded
    reference_chosen: float = 0.0
    reference_rejected: float = 0.0


@dataclass(frozen=True)
class DirectPreference:
    """Rows are ``Pair``; the loss is the mean over pairs of ``-log sigmoid(beta * margin)``."""

    beta: float

    def encode(self, loaded: LoadedModel, row: SnapshotRow, limits: Limits) -> Pair:
        """See Objective. The worse answer stands where the better one does: after the whole conversation before it."""
        if not row.rejected:
            raise UserError(
                "not_a_pair",
                "There is no worse answer. Method 'dpo' needs a better and a worse answer in every row; for answers "
                "with a verdict choose 'kto', for answers alone 'sft'.",
                field="method",
            )
        if len(row.rejected) > 1:
            raise UserError(
                "long_worse_answer",
                "The worse answer has several turns. Only one answer of each kind can be compared: keep the first "
                "turn of it, and of the better one.",
                field="snapshot",
            )
        # Beside the shorter answer the question may be cut later than beside the longer one: both get the same cut.
        chosen = encode_chat(loaded, row.messages, max_length=limits.max_length)
        rejected = encode_chat(loaded, [*row.messages[:-1], row.rejected[0]], max_length=limits.max_length)
        if chosen.prompt_length != rejected.prompt_length:
            shorter, longer = sorted((chosen, rejected), key=lambda text: text.prompt_length)
            same = replace(
                longer,
                input_ids=shorter.input_ids[: shorter.prompt_length] + longer.answer_ids,
                prompt_length=shorter.prompt_length,
                shortened=True,
            )
            chosen, rejected = (same, rejected) if longer is chosen else (chosen, same)
        return Pair(chosen, rejected)

    def sequences(self, row: Pair) -> list[Encoded]:
        """See Objective."""
        return [row.chosen, row.rejected]

    def prepare(self, lesson: Lesson, rows: Sequence[Pair], between: Between) -> list[Pair]:
        """Ask the reference about every answer."""
        found = reference(lesson, [text for row in rows for text in self.sequences(row)], between)
        return [
            replace(row, reference_chosen=chosen, reference_rejected=rejected)
            for row, chosen, rejected in zip(rows, found[::2], found[1::2], strict=True)
        ]

    def weight(self, rows: Sequence[Pair]) -> float:
        """The number of pairs."""
        return float(len(rows))

    def add_gradients(self, lesson: Lesson, rows: Sequence[Pair], *, budget: int, backward: Backward) -> Sums:
        """See Objective."""
        total = Sums()
        for group in self._groups(lesson, rows, budget):
            loss, sums = self.loss(lesson, group)
            backward(loss)
            total += sums
        return total

    def judge(self, lesson: Lesson, rows: Sequence[Pair], *, budget: int, between: Between) -> Sums:
        """See Objective."""
        total = Sums()
        with judging(lesson.model):
            for group in self._groups(lesson, rows, budget):
                between()
                total += self.loss(lesson, group)[1]
        return total

    def loss(self, lesson: Lesson, rows: Sequence[Pair]) -> tuple[torch.Tensor, Sums]:
        """The summed loss of some pairs with its graph, and what they add up to. Both answers are read together."""
        found = answers(lesson, [row.chosen for row in rows] + [row.rejected for row in rows])
        known = [row.reference_chosen for row in rows] + [row.reference_rejected for row in rows]
        ratios = found.logprobs - torch.tensor(known, device=found.logprobs.device)
        chosen, rejected = (self.beta * ratios).chunk(2)
        loss = -logsigmoid(chosen - rejected).sum()
        n = len(rows)
        return loss, Sums(
            loss=float(loss.detach()),
            weight=n,
            correct=float(found.correct[:n].sum()),
            scored=float(found.scored[:n].sum()),
            tokens=sum(len(text.input_ids) for row in rows for text in self.sequences(row)),
            wanted_reward=float(chosen.detach().sum()),
            wanted=n,
            unwanted_reward=float(rejected.detach().sum()),
            unwanted=n,
            agreed=float((chosen > rejected).sum()),
            judged=n,
        )

    def _groups(self, lesson: Lesson, rows: Sequence[Pair], budget: int) -> list[list[Pair]]:
        """Pairs that are read together; a pair is never torn apart. Padded, both texts are as wide as the wider."""
        both = [[len(text.input_ids) for text in self.sequences(row)] for row in rows]
        lengths = [sum(pair) if lesson.flat else 2 * max(pair) for pair in both]
        return [[rows[index] for index in group] for group in micro_batches(lengths, budget, flat=lesson.flat)]
