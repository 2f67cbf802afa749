"""What a model could do before it was trained: questions and a little running text, written for this product.

Three sets of questions and one of passages, as JSON lines beside this file. None of it is taken from a benchmark, so that
no model can have learnt the answers by heart from there. To add a probe, add a file and a line to ``PROBES``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
PROMPT = "{question} Answer in a few words."


@dataclass(frozen=True)
class Question:
    """A question with its choices; ``answer`` is the place of the right one. Pairs of sentences have no ``question``."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Probe:
    """One set of questions, all with equally many choices.

    ``way`` is ``answers`` (each choice is scored as the answer to the question) or ``sentences`` (each choice is scored as
    running text, and the model should find the right one likelier).
    """

    name: str
    title: str
    way: Literal["answers", "sentences"]
    questions: tuple[Question, ...]

    @property
    def chance(self) -> float:
        """The share that guessing gets right."""
        return 1 / len(self.questions[0].choices)


PROBES: tuple[tuple[str, str, Literal["answers", "sentences"]], ...] = (
    ("knowledge", "General knowledge", "answers"),
    ("reasoning", "Reasoning", "answers"),
    ("language", "Grammar", "sentences"),
)

EXAMPLES: tuple[tuple[str, str], ...] = (
    ("knowledge", "What is the capital of France?"),
    ("knowledge", "What do bees make that people eat?"),
    ("knowledge", "How many days are there in a week?"),
    ("reasoning", "Tom has three apples and gets two more. How many apples does he have?"),
    ("reasoning", "Today is Tuesday. Which day is the day after tomorrow?"),
    ("language", "Tell me in two sentences about a dog in the park."),
)
"""Asked openly, so that people can read what became of the answers."""


@cache
def probes() -> tuple[Probe, ...]:
    """All probes, in the order in which they are reported."""
    return tuple(
        Probe(
            name,
            title,
            way,
            tuple(
                Question(raw["id"], raw["question"], tuple(raw["choices"]), raw["answer"])
                for raw in _lines(f"{name}.jsonl")
            ),
        )
        for name, title, way in PROBES
    )


@cache
def passages() -> tuple[str, ...]:
    """The general text: short passages on varied topics, some of them simple enough for very small models."""
    return tuple(raw["text"] for raw in _lines("general_text.jsonl"))


def _lines(name: str) -> Iterator[dict[str, Any]]:
    with (HERE / name).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
