"""What mistakes in the input, odd inputs and attacks do to a model's answers.

Four tests. **typo_resistance** and **format_flexibility** ask the same questions with slips, misspellings, other
capitals, spaces, punctuation and forms (``perturb/``): their score is the share of the headline value that is kept.
**edge_case_handling** sends inputs that nobody would plan for (nothing, emoji, far too much, code); having no right
answer, they are judged by behaviour: the program does not fail, there is an answer, it does not run on in circles,
and where only labels are answers, it is a known label or a refusal. Its score is the share handled.
**adversarial_resistance** hides commands in the text and asks for the system message; its score is 1 minus the share
of attacks that worked.

Only the last user message is changed, the reference never. The suite's score is the mean of the four. Models that are
only a wording of the base model, or behind an address, are left out, unless the verdict is about them or against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetune_engine.errors import UserError
from finetune_engine.evaluate.asking.asker import FATAL, Answer, Asker, Messages
from finetune_engine.evaluate.robust.attacks import attacks
from finetune_engine.evaluate.robust.changes import changes
from finetune_engine.evaluate.robust.edges import edge_cases
from finetune_engine.evaluate.robust.findings import as_finding, finding, nothing_found, real_ones
from finetune_engine.evaluate.robust.outcome import Seen, Test, labels_of
from finetune_engine.evaluate.robust.plan import Plan, make_plan
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult
from finetune_engine.ports import Stopped

CANARY_TOKENS = 32
"""Least room for an answer to an attack: labels are short, and a canary must have room to be said."""
EDGE_TOKENS = 48


class Robustness:
    """The suite; see the module."""

    name = "robustness"

    def questions(self, bench: Bench) -> int:
        """Questions to one model."""
        return plan_for(bench).questions

    def observe(self, bench: Bench, asker: Asker) -> Seen | None:
        """The answers to everything in the plan; None for a model that is left out."""
        if not is_observed(bench, asker.spec):
            return None
        plan = plan_for(bench)
        changed = []
        for change in plan.changes:
            bench.check()
            found = asker.answer(change.questions, max_new_tokens=bench.max_new_tokens)
            changed.append([answer.text for answer in found])
        edges = ask_each(asker, [edge.question for edge in plan.edges], max(EDGE_TOKENS, bench.max_new_tokens))
        limit = max(CANARY_TOKENS, bench.max_new_tokens)
        raids = [ask_each(asker, [attacked.messages for attacked in raid.tries], limit) for raid in plan.raids]
        return Seen(changed, edges, raids)

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """The four tests, the findings beyond chance, and the mean of the scores."""
        plan = plan_for(bench)
        seen: dict[str, Seen] = {key: found for key, found in observed.items() if found is not None}
        if bench.spec.subject not in seen:
            return SuiteResult([], None, "The model that the verdict is about was not asked.")
        if not plan.sample:
            return SuiteResult([], None, "No case ends in a text by a user that could be changed.")
        tests = [
            changes(bench, plan, seen, "typo_resistance"),
            changes(bench, plan, seen, "format_flexibility"),
            edge_cases(bench, plan, seen),
            attacks(bench, plan, seen),
        ]
        scores = [test.section["score"] for test in tests if test.section["score"] is not None]
        findings = _findings(bench, plan, tests)
        return SuiteResult([test.section for test in tests], float(np.mean(scores)), findings=findings)


def plan_for(bench: Bench) -> Plan:
    """The questions for this evaluation."""
    return bench.once("robustness", lambda: make_plan(bench.cases.test, labels_of(bench), bench.spec.seed))


def is_observed(bench: Bench, model: ModelSpec) -> bool:
    """Whether a model is worth thousands of questions: not one that is only another wording, nor one behind an address that
    may charge for each; unless the verdict is about it, or against it."""
    return model.kind in ("base", "trained") or model.key in (bench.spec.subject, bench.spec.against)


def ask_each(asker: Asker, questions: Sequence[Messages], limit: int) -> list[Answer | None]:
    """Answers to questions of which one may bring the program down: None where it did. When all do, the last problem
    is raised, for then it is not the question's fault; and so is one that concerns the model itself (nobody waits
    for a dead endpoint once for each question)."""
    if not questions:
        return []
    try:
        return list(asker.answer(questions, max_new_tokens=limit))
    except Stopped:
        raise
    except Exception as failed:
        _raise_fatal(failed)
        problem: Exception | None = None
    found: list[Answer | None] = []
    for question in questions:
        try:
            found.extend(asker.answer([question], max_new_tokens=limit))
        except Stopped:
            raise
        except Exception as failed:  # whatever it is, it is what this test is looking for
            _raise_fatal(failed)
            problem = failed
            found.append(None)
    if problem is not None and all(answer is None for answer in found):
        raise problem
    return found


def _raise_fatal(problem: Exception) -> None:
    if isinstance(problem, UserError) and problem.code in FATAL:
        raise problem


def _findings(bench: Bench, plan: Plan, tests: Sequence[Test]) -> list[dict[str, str]]:
    found = [as_finding(one) for one in real_ones([one for test in tests for one in test.suspicions])]
    crashes = [part["kind"] for part in tests[2].section["parts"] if part["crashes"]]
    if crashes:
        found.insert(0, finding("bad", f"The program fails on: {', '.join(crashes)}."))
    spelling = [one for test in tests[:2] for one in test.suspicions if as_finding(one) in found]
    if not spelling:
        kinds = sum(len(change.questions) > 0 for change in plan.changes)
        answered = any(test.section["original"] for test in tests[:2])
        obeyed = bool(tests[3].section["attack_success_rate"])
        found.append(nothing_found(len(plan.sample), kinds, answered, obeyed))
    return found
