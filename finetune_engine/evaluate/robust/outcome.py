"""What one model answered, and one of the four tests as the report keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_engine.evaluate.asking.asker import Answer
from finetune_engine.evaluate.perturb.perturbation import last_user_text
from finetune_engine.evaluate.robust.findings import Suspicion
from finetune_engine.evaluate.robust.plan import MOST_CASES, Plan
from finetune_engine.evaluate.robust.resistance import Kept, Values, compared, ratio, score_of
from finetune_engine.evaluate.suites.suite import Bench

SHOWN = 3
LONGEST_SHOWN = 2_000
NO_VALUE = "No case is answered rightly before the change, so nothing can be lost."
NO_CASE = "None of the changes applies to these cases."


@dataclass(frozen=True)
class Seen:
    """What one model answered: to each change of the plan, to each odd input, to each try of each attack (None: it failed)."""

    changed: list[list[str]]
    edges: list[Answer | None]
    raids: list[list[Answer | None]]


@dataclass(frozen=True)
class Test:
    """One of the four, with its place in the report and what may be a weakness in it."""

    __test__ = False  # pytest collects classes called Test*

    section: dict[str, Any]
    suspicions: list[Suspicion]


def labels_of(bench: Bench) -> list[str]:
    return bench.cases.labels if bench.spec.task_type == "classification" else []


def figures_of(kept: Kept, worst: Values, flips: Values, seed: int) -> dict[str, Any]:
    """One model on one test."""
    n = len(kept.part)
    scored = score_of(kept, seed)
    original, perturbed = (float(kept.whole.mean()), float(kept.part.mean())) if n else (None, None)
    return {
        "score": scored[0] if scored else None,
        "ci_low": scored[1].low if scored else None,
        "ci_high": scored[1].high if scored else None,
        "n": n,
        "original": original,
        "perturbed": perturbed,
        "worst_case": float(worst.mean()) if n else None,
        "flip_rate": float(flips.mean()) if n else None,
        "degradation": None if original is None or perturbed is None else ratio(original, perturbed),
    }


def section_of(
    bench: Bench,
    plan: Plan,
    test: str,
    by_model: Mapping[str, dict[str, Any]],
    kept: Mapping[str, Kept],
    parts: list[dict[str, Any]],
    examples: list[dict[str, Any]],
    reason: str | None,
) -> dict[str, Any]:
    subject, against = bench.spec.subject, bench.spec.against
    versus = compared(kept[subject], kept[against], bench.how.seed) if against in kept and against is not None else None
    return {
        "test": test,
        **by_model[subject],
        "reason": reason,
        "parts": parts,
        "by_model": dict(by_model),
        "compared": None if versus is None else {"against": against, **versus},
        "sample": {"cases": len(plan.sample), "of": len(bench.cases.test), "most": MOST_CASES},
        "examples": examples,
    }


def example(bench: Bench, position: int, changed_prompt: str, changed_answer: str) -> dict[str, Any]:
    case = bench.cases.test[position]
    return {
        "row": case.row,
        "prompt": _short(last_user_text(case.messages) or ""),
        "changed_prompt": _short(changed_prompt),
        "expected": _short(case.reference),
        "answer": _short(bench.answers[bench.spec.subject][position].text),
        "changed_answer": _short(changed_answer),
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " …"
