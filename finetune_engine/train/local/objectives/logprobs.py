"""How likely a model finds whole answers: what learning from preferences is counted in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from finetune_engine.train.local.collate import collate, micro_batches
from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.forward import picked_logits
from finetune_engine.train.local.lesson import Lesson
from finetune_engine.train.local.memory import with_less_at_once
from finetune_engine.train.local.objectives.objective import Between


@dataclass(frozen=True)
class Answers:
    """Log-probabilities of some answers, ``(texts,)`` float32 with their graph, and which of their tokens were the
    likeliest (``correct`` of ``scored``, ``(texts,)``)."""

    logprobs: torch.Tensor
    correct: torch.Tensor
    scored: torch.Tensor


def answers(lesson: Lesson, texts: Sequence[Encoded]) -> Answers:
    """The log-probability of each text's scored tokens given what stands before them: a sum, not a mean."""
    batch = collate(texts, flat=lesson.flat, pad_id=lesson.pad_id).to(lesson.device)
    logits = picked_logits(lesson.model, batch, lesson.dtype)
    each = -torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    right = (logits.detach().argmax(-1) == batch.targets).float()
    # The scored tokens stand in the order of the texts, in either layout.
    lengths = torch.tensor([len(text.input_ids) - text.first_scored for text in texts], device=each.device)
    place = torch.repeat_interleave(torch.arange(len(texts), device=each.device), lengths)
    empty = torch.zeros(len(texts), device=each.device)
    return Answers(empty.index_add(0, place, each), empty.index_add(0, place, right), lengths.float())


def reference(lesson: Lesson, texts: Sequence[Encoded], between: Between) -> list[float]:
    """The log-probabilities of all ``texts`` by the model as it stands, without learning and without dropout.

    Called before the first step they are the reference: the base model, or the trained model one goes on from.
    """
    lengths = [len(text.input_ids) for text in texts]

    def asked(budget: int) -> list[float]:
        found = [0.0] * len(texts)
        with judging(lesson.model):
            for group in micro_batches(lengths, budget, flat=lesson.flat):
                between()
                logprobs = answers(lesson, [texts[index] for index in group]).logprobs.tolist()
                for index, value in zip(group, logprobs, strict=True):
                    found[index] = value
        return found

    budget = lesson.spec.tokens_per_eval_batch
    if not lesson.team.is_alone:
        return asked(budget)
    return with_less_at_once(None, asked, budget, longest=max(lengths, default=0), used=sum(lengths))


@contextmanager
def judging(model: Any) -> Iterator[None]:
    """Inside, nothing is learnt and nothing dropped; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
