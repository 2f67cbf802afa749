"""Suite ``quality``: the answers to the cases themselves. It always runs, and before all others."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.evaluate.asking.answers import ModelAnswers, answer_limit, asks_labels
from finetune_engine.evaluate.asking.asker import Asker, Messages
from finetune_engine.evaluate.cases import Cases
from finetune_engine.evaluate.suites.suite import Bench

BYTES_PER_TOKEN = 2
"""Fewer than usual tokenizers need, in any script (a Chinese character has three): where tokens cannot be counted, an answer
rather gets too much room."""


class Quality:
    """What a model says to every case, what the references cost it, and which label it finds likeliest."""

    name = "quality"

    def questions(self, bench: Bench) -> int:
        """An answer and a reference for each case, and its labels once."""
        return len(bench.cases.test) * (3 if asks_labels(bench.cases, bench.spec.task_type) else 2)

    def observe(self, bench: Bench, asker: Asker) -> ModelAnswers:
        """Ask one model everything. Sets ``bench.max_new_tokens``, ``answers`` and ``values``. Raises ports.Stopped."""
        cases = bench.cases.test
        questions = [case.messages for case in cases]
        references = [case.reference for case in cases]
        bench.max_new_tokens = bench.spec.max_new_tokens or room_for(asker, questions, references)
        said = asker.answer(questions, max_new_tokens=bench.max_new_tokens)
        shortened = getattr(asker, "shortened", 0)
        costs = asker.cost_of(questions, references) if asker.can_score else None
        labels = _label_loglikelihoods(asker, bench.cases, bench.spec.task_type)
        texts = [answer.text for answer in said]
        bench.answers[asker.spec.key] = said
        bench.values[asker.spec.key] = bench.grade(texts, cases)
        return ModelAnswers(
            answers=texts,
            finish_reasons=[answer.finish_reason for answer in said],
            nll=None if costs is None else [cost.nll for cost in costs],
            tokens=None if costs is None else [cost.tokens for cost in costs],
            likeliest=None if labels is None else _likeliest(bench.cases.train_labels, labels),
            answer_limit=bench.max_new_tokens,
            shortened=shortened,
            label_loglikelihoods=labels,
            logprobs=[answer.logprob for answer in said],
        )


def room_for(asker: Asker, questions: Sequence[Messages], references: Sequence[str]) -> int:
    """How many tokens an answer to any of these questions may have; there is at least one."""
    from finetune_engine.evaluate.asking.local import LocalAsker

    if isinstance(asker, LocalAsker):
        return answer_limit(max(asker.answer_tokens(questions, references)))
    return answer_limit(max(len(text.encode("utf-8", "replace")) for text in references) // BYTES_PER_TOKEN + 1)


def _label_loglikelihoods(asker: Asker, cases: Cases, task_type: str) -> list[list[float]] | None:
    if not asker.can_score or not asks_labels(cases, task_type):
        return None
    labels = cases.train_labels
    return asker.choice_loglikelihoods([case.messages for case in cases.test], [labels] * len(cases.test))


def _likeliest(labels: Sequence[str], values: Sequence[Sequence[float]]) -> list[str]:
    return [labels[max(range(len(labels)), key=row.__getitem__)] for row in values]
