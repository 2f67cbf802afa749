"""What the answers have to keep to: the expert's rules, and the cases that must not be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.evaluate.asking.asker import Messages
from finetune_engine.evaluate.metrics.exact_match import quasi_exact_match
from finetune_engine.evaluate.observing import Observed
from finetune_engine.evaluate.rules import Rule, check
from finetune_engine.evaluate.statistics.intervals import wilson
from finetune_engine.evaluate.suites.suite import Bench

MOST_FAILURES = 20
"""Failed answers that are kept for each rule; the rate counts them all."""


def acceptance_of(bench: Bench, seen: Observed) -> list[dict[str, Any]]:
    """Every rule on every answer: ``{id, name, kind, n, passed, rate, ci_low, ci_high, by_model: {key: rate}, failures: [{row,
    answer, why}]}``. All but ``by_model`` are about the subject. Raises ports.Stopped."""
    return [_checked(rule, bench, seen) for rule in bench.spec.rules]


def _checked(rule: Rule, bench: Bench, seen: Observed) -> dict[str, Any]:
    bench.check()
    cases, subject = bench.cases.test, bench.spec.subject
    why = {
        key: [check(rule, case.prompt, answer) for case, answer in zip(cases, said.answers, strict=True)]
        for key, said in seen.answers.items()
    }
    own, n = why[subject], len(cases)
    passed = own.count(None)
    interval = wilson(passed, n)
    answers = seen.answers[subject].answers
    failures = [
        {"row": case.row, "answer": answer, "why": reason}
        for case, answer, reason in zip(cases, answers, own, strict=True)
        if reason is not None
    ]
    return {
        "id": rule.id,
        "name": rule.name,
        "kind": rule.kind,
        "n": n,
        "passed": passed,
        "rate": passed / n,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "by_model": {key: found.count(None) / n for key, found in why.items()},
        "failures": failures[:MOST_FAILURES],
    }


def failed_rules(acceptance: Sequence[dict[str, Any]]) -> list[str]:
    """The names of the rules that some answer of the subject broke."""
    return [str(rule["name"]) for rule in acceptance if rule["passed"] < rule["n"]]


def regressions_of(bench: Bench, seen: Observed) -> dict[str, Any] | None:
    """The must-not-forget cases, asked of every model: ``{n, passed, failed: [{id, prompt, expected, answer, why}], by_model:
    {key: passed}, asked: [id]}``, about the subject; None when there are none. An answer passes when it is the expected one
    but for case, punctuation and spaces."""
    cases = bench.spec.regressions
    if not cases:
        return None
    right = {
        key: [quasi_exact_match(answer.text, case.expected) for case, answer in zip(cases, said, strict=True)]
        for key, said in seen.regressions.items()
    }
    own = right[bench.spec.subject]
    answers = seen.regressions[bench.spec.subject]
    failed = [
        {
            "id": case.id,
            "prompt": last_question(case.messages),
            "expected": case.expected,
            "answer": answer.text,
            "why": case.note or ("The answer is empty." if not answer.text.strip() else "The answer is another one."),
        }
        for case, answer, is_right in zip(cases, answers, own, strict=True)
        if not is_right
    ]
    by_model = {key: sum(found) for key, found in right.items()}
    asked = [case.id for case in cases]
    return {"n": len(cases), "passed": sum(own), "failed": failed, "by_model": by_model, "asked": asked}


def last_question(messages: Messages) -> str:
    """What the person said last."""
    said = [str(turn.get("content") or "") for turn in messages if turn.get("role") == "user"]
    return said[-1] if said else ""
