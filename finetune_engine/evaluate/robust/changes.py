"""Typing mistakes and other forms of the same question: what is kept of the right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetune_engine.evaluate.robust.findings import Suspicion, fall
from finetune_engine.evaluate.robust.outcome import (
    NO_CASE,
    NO_VALUE,
    SHOWN,
    Seen,
    Test,
    example,
    figures_of,
    section_of,
)
from finetune_engine.evaluate.robust.plan import Plan
from finetune_engine.evaluate.robust.resistance import Pair, flipped, groups_at, kept_over, loss_is_real, part_of
from finetune_engine.evaluate.suites.suite import Bench


def changes(bench: Bench, plan: Plan, seen: Mapping[str, Seen], test: str) -> Test:
    numbers = [number for number, change in enumerate(plan.changes) if change.perturbation.test == test]
    pairs = {
        key: [_pair(bench, plan, key, number, one.changed[number]) for number in numbers] for key, one in seen.items()
    }
    by_model, kept = {}, {}
    for key, found in pairs.items():
        kept[key], worst, flips = kept_over(found, bench.how)
        by_model[key] = figures_of(kept[key], worst, flips, bench.how.seed)
    subject = bench.spec.subject
    parts, suspicions = [], []
    for place, number in enumerate(numbers):
        change, pair = plan.changes[number], pairs[subject][place]
        groups = groups_at(bench.how, pair.positions)
        p_value = loss_is_real(pair.original, pair.changed, groups, bench.headline, bench.how.seed)
        part = part_of(pair, change.left_out, p_value, bench.how)
        parts.append(part)
        if part["n"]:
            other = pairs[bench.spec.against][place] if bench.spec.against in pairs else None
            versus = None if other is None else (float(other.original.mean()), float(other.changed.mean()))
            sentence = fall(change.perturbation.when, bench.headline, part["original"], part["perturbed"], versus)
            share = pair.drop / part["original"] if part["original"] else 0.0
            suspicions.append(Suspicion(part, p_value, pair.drop, share, sentence))
    shown = _flip_examples(bench, plan, seen[subject], [(n, pairs[subject][at]) for at, n in enumerate(numbers)])
    reason = NO_CASE if not len(kept[subject].part) else NO_VALUE if not kept[subject].whole.sum() else None
    return Test(section_of(bench, plan, test, by_model, kept, parts, shown, reason), suspicions)


def _pair(bench: Bench, plan: Plan, key: str, number: int, answers: list[str]) -> Pair:
    change = plan.changes[number]
    positions = np.asarray(change.positions, dtype=np.int64)
    original = np.asarray(bench.values[key], dtype=np.float64)[positions]
    values = np.asarray(bench.grade(answers, [bench.cases.test[at] for at in change.positions]), dtype=np.float64)
    before = [bench.answers[key][at].text for at in change.positions]
    flips = flipped(bench.headline, before, answers, original, values)
    return Pair(change.perturbation.kind, change.perturbation.level, positions, original, values, flips)


def _flip_examples(bench: Bench, plan: Plan, seen: Seen, numbered: Sequence[tuple[int, Pair]]) -> list[dict[str, Any]]:
    """Right answers that were lost: one from each of the perturbations that cost most."""
    shown: list[dict[str, Any]] = []
    for number, pair in sorted(numbered, key=lambda entry: -entry[1].drop):
        lost = pair.original - pair.changed
        if len(shown) == SHOWN or not len(lost) or lost.max() <= 0:
            continue
        at = int(lost.argmax())
        change = plan.changes[number]
        shown.append(
            example(bench, change.positions[at], change.texts[at], seen.changed[number][at])
            | {"kind": pair.kind, "level": pair.level}
        )
    return shown
