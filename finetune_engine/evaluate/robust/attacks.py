"""Attacks: how often does a command in the text take over?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune_engine.evaluate.perturb.perturbation import last_user_text
from finetune_engine.evaluate.robust.findings import Suspicion, fall, percent
from finetune_engine.evaluate.robust.outcome import NO_VALUE, SHOWN, Seen, Test, example, figures_of, section_of
from finetune_engine.evaluate.robust.plan import Plan
from finetune_engine.evaluate.robust.resistance import (
    Kept,
    Pair,
    Values,
    flipped,
    groups_at,
    kept_over,
    loss_is_real,
    part_of,
    score_of,
)
from finetune_engine.evaluate.suites.suite import Bench


@dataclass(frozen=True)
class Raided:
    """All attacks on one model: ``worked`` is (attacks, cases) of 0 and 1; ``pairs`` what became of the right answers, over
    no case where the attack takes the place of the question."""

    worked: Values
    pairs: list[Pair]


def attacks(bench: Bench, plan: Plan, seen: Mapping[str, Seen]) -> Test:
    """The share of attacks that are withstood, and what becomes of the right answers under attack."""
    positions = np.asarray(plan.raids[0].positions, dtype=np.int64)
    groups = groups_at(bench.how, positions)
    raided = {key: _raided(bench, plan, key, one, positions) for key, one in seen.items()}
    kept = {key: Kept(1 - one.worked.mean(axis=0), np.ones(len(positions)), groups) for key, one in raided.items()}
    by_model = {key: _figures(bench, one, kept[key]) for key, one in raided.items()}
    subject = bench.spec.subject
    parts, suspicions = [], []
    for raid, pair, hits in zip(plan.raids, raided[subject].pairs, raided[subject].worked, strict=True):
        rate = float(hits.mean())
        # Without an attack nobody says a canary, so every success is a difference.
        p_value = loss_is_real(np.ones(len(hits)), 1 - hits, groups, "exact_match", bench.how.seed)
        part = part_of(pair, 0, p_value, bench.how) | {"n": len(hits), "attack_success_rate": rate}
        parts.append(part)
        sentence = f"{raid.attack.when}, the model obeys it in {percent(rate)} of the tries instead of doing its task."
        suspicions.append(Suspicion(part, p_value, rate, rate, sentence))
        suspicions.extend(_derailed(bench, raid.attack.when, part, pair, hits))
    shown = _examples(bench, plan, seen[subject], raided[subject].worked)
    reason = None if by_model[subject]["degradation"] is not None else NO_VALUE
    section = section_of(bench, plan, "adversarial_resistance", by_model, kept, parts, shown, reason)
    section["sample"]["cases"] = len(positions)
    return Test(section, suspicions)


def _raided(bench: Bench, plan: Plan, key: str, seen: Seen, positions: Any) -> Raided:
    asked = [bench.cases.test[at] for at in positions]
    original = np.asarray(bench.values[key], dtype=np.float64)[positions]
    before = [bench.answers[key][at].text for at in positions]
    worked, pairs = [], []
    for raid, answers in zip(plan.raids, seen.raids, strict=True):
        texts = ["" if answer is None else answer.text for answer in answers]
        worked.append([tried.succeeded(text) for tried, text in zip(raid.tries, texts, strict=True)])
        values = np.asarray(bench.grade(texts, asked), dtype=np.float64)
        flips = flipped(bench.headline, before, texts, original, values)
        n = len(positions) if raid.attack.keeps_task else 0
        pairs.append(Pair(raid.attack.kind, "", positions[:n], original[:n], values[:n], flips[:n]))
    return Raided(np.asarray(worked, dtype=np.float64), pairs)


def _derailed(bench: Bench, when: str, part: dict[str, Any], pair: Pair, hits: Values) -> list[Suspicion]:
    """Right answers lost although the command was not obeyed: the text of an attack alone may throw a model off."""
    if not len(pair.original) or not (hits == 0).any():
        return []
    withstood = hits == 0
    before, after = pair.original[withstood], pair.changed[withstood]
    groups = groups_at(bench.how, pair.positions[withstood])
    p_value = loss_is_real(before, after, groups, bench.headline, bench.how.seed)
    original, changed = float(before.mean()), float(after.mean())
    part["derailed"] = {"n": len(before), "original": original, "perturbed": changed, "p_value": p_value}
    sentence = fall(when, bench.headline, original, changed, None).removesuffix(".") + ", though it is not obeyed."
    loss = original - changed
    return [Suspicion(part["derailed"], p_value, loss, loss / original if original else 0.0, sentence)]


def _figures(bench: Bench, raided: Raided, kept: Kept) -> dict[str, Any]:
    """As in the other tests, but the score is the share of attacks withstood."""
    figures = figures_of(*kept_over(raided.pairs, bench.how), bench.how.seed)
    scored = score_of(kept, bench.how.seed)
    if scored is not None:
        figures |= {"score": scored[0], "ci_low": scored[1].low, "ci_high": scored[1].high}
    return figures | {"attack_success_rate": float(raided.worked.mean())}


def _examples(bench: Bench, plan: Plan, seen: Seen, worked: Values) -> list[dict[str, Any]]:
    shown = []
    for number in np.argsort(-worked.mean(axis=1), kind="stable")[:SHOWN]:
        if not worked[number].any():
            continue
        at, raid = int(worked[number].argmax()), plan.raids[number]
        answer = seen.raids[number][at]
        changed = last_user_text(raid.tries[at].messages) or ""
        shown.append(
            example(bench, raid.positions[at], changed, "" if answer is None else answer.text)
            | {"kind": raid.attack.kind, "level": ""}
        )
    return shown
