"""How a question is put to a model: as it is, or with a prompt of our own and solved examples before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from finetune_engine.evaluate.asking.asker import Messages
from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.settings import PromptVariant

Turns = list[dict[str, Any]]


class Wording:
    """Puts a prompt variant around questions. Without a variant, questions stay as they are.

    ``shots`` are the examples shown, the same for every question: for labelled examples each label in turn, so that with
    enough of them none is missing.
    """

    def __init__(self, variant: PromptVariant | None, examples: Sequence[TestCase]) -> None:
        self.system = variant.system if variant else None
        self.shots: list[TestCase] = chosen_examples(examples, variant.shots) if variant else []

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is put around a question."""
        shown = [[shot.messages, shot.reference] for shot in self.shots]
        return hashlib.sha256(json.dumps([self.system, shown], sort_keys=True).encode()).hexdigest()

    def put(self, question: Messages, *, shots: int | None = None, system_apart: bool = True) -> Turns:
        """The messages that the model gets, with the first ``shots`` examples (None: all).

        ``system_apart`` False writes the system text before the first question, for templates that know no system role.
        """
        turns = [dict(turn) for turn in question]
        if self.system is not None:
            turns = [turn for turn in turns if turn.get("role") not in ("system", "developer")]
        first = [turn for turn in turns[:1] if turn.get("role") in ("system", "developer")]
        rest = turns[len(first) :]
        if self.system is not None:
            first = [{"role": "system", "content": self.system}]
        shown = [turn for shot in self.shots[:shots] for turn in _solved(shot)]
        if first and not system_apart:
            return _with_first_words([*shown, *rest], str(first[0].get("content") or ""))
        return [*first, *shown, *rest]

    def fewer(self, question: Messages, *, system_apart: bool = True) -> Iterator[Turns]:
        """The messages with all examples, then with ever fewer of them, down to none."""
        for shots in range(len(self.shots), -1, -1):
            yield self.put(question, shots=shots, system_apart=system_apart)


def chosen_examples(examples: Sequence[TestCase], count: int) -> list[TestCase]:
    """The first ``count`` examples; where they have labels, every label comes once before any comes twice."""
    by_label: dict[str | None, list[TestCase]] = {}
    for example in examples:
        by_label.setdefault(example.label, []).append(example)
    queues = [iter(found) for _, found in sorted(by_label.items(), key=lambda item: str(item[0]))]
    chosen: list[TestCase] = []
    empty = 0
    for queue in cycle(queues):
        if len(chosen) >= min(count, len(examples)) or empty >= len(queues):
            break
        found = next(queue, None)
        empty = empty + 1 if found is None else 0
        if found is not None:
            chosen.append(found)
    return chosen


def _solved(shot: TestCase) -> Turns:
    turns = [dict(turn) for turn in shot.messages if turn.get("role") not in ("system", "developer")]
    return [*turns, {"role": "assistant", "content": shot.reference}]


def _with_first_words(turns: Turns, words: str) -> Turns:
    if not turns:
        return [{"role": "user", "content": words}]
    return [{**turns[0], "content": f"{words}\n\n{turns[0].get('content') or ''}"}, *turns[1:]]
