"""Which questions a robustness check asks: the same for every model and every run.

So that the cost is bounded, each perturbation is put on at most ``MOST_CASES`` cases (a seeded draw, the same for all
of them), and each attack on the first ``MOST_ATTACKED`` of a second draw.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.perturb.adversarial import ATTACKS, Attack, Attacked
from finetune_engine.evaluate.perturb.edge_cases import EDGE_INPUTS, EdgeInput
from finetune_engine.evaluate.perturb.perturbation import Perturbation, last_user_text, perturbed, with_last_user_text
from finetune_engine.evaluate.perturb.registry import all_perturbations

MOST_CASES = 200
MOST_ATTACKED = 50

Asked = list[dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """One perturbation on the cases at ``positions``; ``texts`` are the changed user messages. ``left_out`` cases of the
    draw have nothing that it could change."""

    perturbation: Perturbation
    positions: list[int]
    texts: list[str]
    questions: list[Asked]
    left_out: int


@dataclass(frozen=True)
class Edge:
    """One odd input; ``position`` is the case whose system message and earlier turns stand before it."""

    edge: EdgeInput
    position: int
    text: str
    question: Asked


@dataclass(frozen=True)
class Raid:
    """One attack on the cases at ``positions``."""

    attack: Attack
    positions: list[int]
    tries: list[Attacked]


@dataclass(frozen=True)
class Plan:
    """All that one model is asked. ``sample`` are the positions drawn; ``usable`` how many cases end in a text by a user."""

    sample: list[int]
    usable: int
    changes: list[Change]
    edges: list[Edge]
    raids: list[Raid]

    @property
    def questions(self) -> int:
        """How many questions that is."""
        changed = sum(len(change.questions) for change in self.changes)
        return changed + len(self.edges) + sum(len(raid.tries) for raid in self.raids)


def make_plan(cases: Sequence[TestCase], labels: Sequence[str], seed: int) -> Plan:
    """The questions for these cases. ``labels`` are the answers to choose from (empty: free text)."""
    usable = [position for position, case in enumerate(cases) if last_user_text(case.messages) is not None]
    sample = sorted(random.Random(f"robustness:{seed}").sample(usable, min(MOST_CASES, len(usable))))
    changes = [_change(perturbation, cases, sample, labels) for perturbation in all_perturbations()]
    attacked = sorted(random.Random(f"attacks:{seed}").sample(sample, min(MOST_ATTACKED, len(sample))))
    raids = [
        Raid(attack, attacked, [attack.on(cases[place].messages, cases[place].row) for place in attacked])
        for attack in ATTACKS
    ]
    return Plan(sample, len(usable), changes, _edges(cases, sample), raids if attacked else [])


def _change(perturbation: Perturbation, cases: Sequence[TestCase], sample: list[int], labels: Sequence[str]) -> Change:
    positions: list[int] = []
    texts: list[str] = []
    for position in sample:
        case = cases[position]
        changed = perturbed(perturbation, last_user_text(case.messages) or "", case.row, labels)
        if changed is not None:
            positions.append(position)
            texts.append(changed)
    questions = [
        with_last_user_text(cases[position].messages, text) for position, text in zip(positions, texts, strict=True)
    ]
    return Change(perturbation, positions, texts, questions, len(sample) - len(positions))


def _edges(cases: Sequence[TestCase], sample: list[int]) -> list[Edge]:
    found = []
    for number, edge in enumerate(EDGE_INPUTS if sample else ()):
        position = sample[number % len(sample)]
        text = edge.make(last_user_text(cases[position].messages) or "")
        found.append(Edge(edge, position, text, with_last_user_text(cases[position].messages, text)))
    return found
