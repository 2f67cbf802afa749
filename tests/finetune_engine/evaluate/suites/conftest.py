"""A scripted model and a bench, so that a suite can be tested without weights and without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError
from finetune_engine.evaluate.asking.asker import Answer, Messages, ReferenceCost
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.grade import grader
from finetune_engine.evaluate.scoring import Uncertainty, groups_of
from finetune_engine.evaluate.spec import EvaluateSpec, ModelSpec
from finetune_engine.evaluate.suites.suite import Bench, Suite, SuiteResult
from finetune_engine.events import ListSink
from finetune_engine.ports import Run

Says = Callable[[Messages], str]
Costs = Callable[[Messages, str], float]


class FakeAsker:
    """Answers by a function of the messages. ``nll(messages, text)`` gives nats (messages are () for running text); without
    it, the model cannot score. Same question, same answer, asked once: ``asked`` counts what really reached the model,
    ``questions`` keeps it in order."""

    def __init__(
        self, says: Says, *, key: str = "tuned", nll: Costs | None = None, spec: ModelSpec | None = None
    ) -> None:
        self._says, self._nll = says, nll
        self._spec = spec or ModelSpec(key, key.title(), BaseModelRef("fake", path="/nowhere"))
        self._known: dict[str, Answer] = {}
        self.questions: list[Messages] = []
        self.scored = 0

    @property
    def asked(self) -> int:
        """Questions that were not known before."""
        return len(self.questions)

    @property
    def spec(self) -> ModelSpec:
        """Which model this plays."""
        return self._spec

    @property
    def digest(self) -> str:
        """One for each key."""
        return hashlib.sha256(self._spec.key.encode()).hexdigest()

    @property
    def can_score(self) -> bool:
        """Whether a likelihood function was given."""
        return self._nll is not None

    @property
    def vocabulary(self) -> int | None:
        """A round number, far from what scripted costs come near to."""
        return 1_000_000

    def answer(self, questions: Sequence[Messages], *, max_new_tokens: int) -> list[Answer]:
        """The scripted answers; tokens are words here."""
        found = []
        for messages in questions:
            mark = json.dumps([list(messages), max_new_tokens], sort_keys=True)
            if mark not in self._known:
                self.questions.append(messages)
                words = self._says(messages).split(" ")
                finish = "stop" if len(words) <= max_new_tokens else "length"
                prompt = sum(len(str(turn.get("content") or "").split()) for turn in messages)
                kept = words[:max_new_tokens]
                self._known[mark] = Answer(" ".join(kept), finish, prompt, len(kept), -0.1)
            found.append(self._known[mark])
        return found

    def cost_of(self, questions: Sequence[Messages], texts: Sequence[str]) -> list[ReferenceCost]:
        """The scripted cost of each text."""
        return [self._cost(messages, text) for messages, text in zip(questions, texts, strict=True)]

    def choice_loglikelihoods(
        self, questions: Sequence[Messages], choices: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Minus the scripted cost of each choice."""
        return [
            [-self._cost(messages, choice).nll for choice in row]
            for messages, row in zip(questions, choices, strict=True)
        ]

    def text_cost(self, texts: Sequence[str]) -> list[ReferenceCost]:
        """The scripted cost of running text."""
        return [self._cost((), text) for text in texts]

    def _cost(self, messages: Messages, text: str) -> ReferenceCost:
        if self._nll is None:
            raise EngineError("internal", "This model gives no likelihoods.")
        self.scored += 1
        return ReferenceCost(self._nll(messages, text), len(text.split()) + 1)


def case(row: int, prompt: str, reference: str, label: str | None = None, **metadata: Any) -> TestCase:
    """A case of one question."""
    return TestCase(row, [{"role": "user", "content": prompt}], prompt, reference, label, None, metadata)


def question(messages: Messages) -> str:
    """The last thing that the person said."""
    return str(messages[-1]["content"])


def make_bench(
    cases: Sequence[TestCase],
    *,
    models: Sequence[str | ModelSpec] = ("base", "tuned"),
    task_type: str = "completion",
    max_new_tokens: int = 64,
    train: Sequence[tuple[str, str]] = (),
    **fields: Any,
) -> Bench:
    """A bench over ``cases``. Models given by name are local ones; all but ``base`` count as trained. ``fields`` go into the
    spec (``fairness=FairnessSettings(...)``, ``suites=(...)``, ``subject=``, ``against=``, ...)."""
    ref = BaseModelRef("fake", path="/nowhere")
    specs = tuple(
        ModelSpec(model, model.title(), ref, None if model == "base" else Path("/nowhere"))
        if isinstance(model, str)
        else model
        for model in models
    )
    keys = [model.key for model in specs]
    usual: dict[str, Any] = {
        "subject": "tuned" if "tuned" in keys else keys[0],
        "against": "base" if "base" in keys and keys != ["base"] else None,
        "suites": ("quality",),
        "seed": 7,
    }
    spec = EvaluateSpec(
        models=specs,
        snapshot=Path("/nowhere/snapshot.parquet"),
        snapshot_sha256=None,
        split="test",
        task_type=task_type,
        limit=None,
        max_new_tokens=max_new_tokens,
        group_by=None,
        **(usual | fields),
    )
    held = Cases(list(cases), list(train))
    headline, grade = grader(spec, held)
    how = Uncertainty(spec.seed, groups_of(held))
    return Bench(spec, held, how, Run(ListSink()), max_new_tokens, grade, headline)


def run_suite(bench: Bench, suite: Suite, askers: Mapping[str, Any]) -> SuiteResult:
    """What an evaluation does with a suite: the cases are answered and graded first, then it observes each model, then it
    concludes. ``askers`` by model key, in the order of the spec."""
    observed = {}
    for model in bench.spec.models:
        asker = askers[model.key]
        questions = [one.messages for one in bench.cases.test]
        bench.answers[model.key] = asker.answer(questions, max_new_tokens=bench.max_new_tokens)
        texts = [answer.text for answer in bench.answers[model.key]]
        bench.values[model.key] = np.asarray(bench.grade(texts, bench.cases.test), dtype=np.float64)
        assert suite.questions(bench) >= 0
        observed[model.key] = suite.observe(bench, asker)
    return suite.conclude(bench, observed)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """``make_bench`` as a fixture."""
    return make_bench
