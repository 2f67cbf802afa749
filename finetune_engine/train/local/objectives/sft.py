"""Supervised fine-tuning: imitate the answers, token by token."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.train.local.collate import collate, micro_batches
from finetune_engine.train.local.encode import Encoded, encode_chat
from finetune_engine.train.local.examples import SnapshotRow
from finetune_engine.train.local.forward import batch_loss, judge
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.objectives.objective import Backward, Between, Limits


class Supervised:
    """Rows are ``Encoded``; the loss is the mean of nats over all learnt tokens."""

    def encode(self, loaded: LoadedModel, row: SnapshotRow, limits: Limits) -> Encoded:
        """See Objective."""
        return encode_chat(loaded, row.messages, max_length=limits.max_length, learn_prompt=limits.learn_prompt)

    def sequences(self, row: Encoded) -> list[Encoded]:
        """See Objective."""
        return [row]

    def prepare(self, lesson: Lesson, rows: Sequence[Encoded], between: Between) -> list[Encoded]:
        """Nothing needs to be known beforehand."""
        return list(rows)

    def weight(self, rows: Sequence[Encoded]) -> float:
        """The number of learnt tokens."""
        return float(sum(len(row.input_ids) - row.first_scored for row in rows))

    def add_gradients(self, lesson: Lesson, rows: Sequence[Encoded], *, budget: int, backward: Backward) -> Sums:
        """See Objective."""
        nll, correct, tokens = 0.0, 0, 0
        for group in micro_batches([len(row.input_ids) for row in rows], budget, flat=lesson.flat):
            batch = collate([rows[index] for index in group], flat=lesson.flat, pad_id=lesson.pad_id)
            loss, right = batch_loss(lesson.model, batch.to(lesson.device), lesson.dtype)
            backward(loss)
            nll, correct, tokens = nll + float(loss.detach()), correct + int(right), tokens + batch.tokens
        learnt = self.weight(rows)
        return Sums(nll, learnt, correct, learnt, tokens)

    def judge(self, lesson: Lesson, rows: Sequence[Encoded], *, budget: int, between: Between) -> Sums:
        """See Objective."""
        found = judge(
            lesson.model,
            rows,
            tokens=budget,
            flat=lesson.flat,
            pad_id=lesson.pad_id,
            dtype=lesson.dtype,
            between=between,
        )
        return Sums(found.nll, found.scored, found.correct, found.scored)
