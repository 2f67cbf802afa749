"""Odd inputs: does the model still behave?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetune_engine.evaluate.asking.asker import Answer
from finetune_engine.evaluate.metrics.labels import LabelReader
from finetune_engine.evaluate.perturb.edge_cases import is_handled
from finetune_engine.evaluate.robust.findings import Suspicion, percent
from finetune_engine.evaluate.robust.outcome import SHOWN, Seen, Test, example, labels_of, section_of
from finetune_engine.evaluate.robust.plan import Plan
from finetune_engine.evaluate.robust.resistance import Kept, Values, ratio
from finetune_engine.evaluate.statistics.intervals import wilson
from finetune_engine.evaluate.suites.suite import Bench

NOT_HANDLED_EITHER = "No ordinary answer passes these checks either."


def edge_cases(bench: Bench, plan: Plan, seen: Mapping[str, Seen]) -> Test:
    """The share of odd inputs that are handled (Wilson's interval), beside that of ordinary ones (``original``)."""
    labels = labels_of(bench)
    reader = LabelReader(labels) if labels else None
    kinds = [edge.edge.kind for edge in plan.edges]
    usual = {key: _handled([bench.answers[key][at] for at in plan.sample], reader) for key in seen}
    handled = {key: _handled(one.edges, reader) for key, one in seen.items()}
    by_model = {key: _figures(kinds, usual[key], values) for key, values in handled.items()}
    kept = {key: Kept(values, np.ones_like(values), None) for key, values in handled.items()}
    subject = bench.spec.subject
    parts = [_part(kind, kinds, handled[subject], seen[subject].edges) for kind in dict.fromkeys(kinds)]
    reason = None if by_model[subject]["degradation"] is not None else NOT_HANDLED_EITHER
    shown = _examples(bench, plan, seen[subject], handled[subject])
    section = section_of(bench, plan, "edge_case_handling", by_model, kept, parts, shown, reason)
    return Test(section, [_suspicion(plan, section, usual[subject], handled[subject])])


def _handled(answers: Sequence[Answer | None], reader: LabelReader | None) -> Values:
    return np.asarray([is_handled(answer, reader) for answer in answers], dtype=np.float64)


def _figures(kinds: list[str], usual: Values, handled: Values) -> dict[str, Any]:
    spread = wilson(int(handled.sum()), len(handled))
    before, after = float(usual.mean()), float(handled.mean())
    by_kind = [float(handled[[name == kind for name in kinds]].mean()) for kind in dict.fromkeys(kinds)]
    return {
        "score": after,
        "ci_low": spread.low,
        "ci_high": spread.high,
        "n": len(handled),
        "original": before,
        "perturbed": after,
        "worst_case": min(by_kind),
        "flip_rate": None,
        "degradation": ratio(before, after),
    }


def _part(kind: str, kinds: list[str], handled: Values, answers: Sequence[Answer | None]) -> dict[str, Any]:
    mine = [at for at, name in enumerate(kinds) if name == kind]
    return {
        "kind": kind,
        "level": "",
        "n": len(mine),
        "left_out": 0,
        "original": None,
        "perturbed": float(handled[mine].mean()),
        "flip_rate": None,
        "degradation": None,
        "crashes": sum(answers[at] is None for at in mine),
    }


def _suspicion(plan: Plan, section: dict[str, Any], usual: Values, handled: Values) -> Suspicion:
    """Odd inputs fare worse than ordinary ones by more than chance (Fisher's exact test, one-sided)."""
    from scipy.stats import fisher_exact

    table = [[usual.sum(), len(usual) - usual.sum()], [handled.sum(), len(handled) - handled.sum()]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    section["p_value"] = p_value
    phrases = {edge.edge.kind: edge.edge.when for edge in plan.edges}
    weak = sorted((part for part in section["parts"] if part["perturbed"] < 1), key=lambda part: part["perturbed"])
    listed = ", ".join(phrases[part["kind"]] for part in weak[:4])
    loss = float(usual.mean() - handled.mean())
    sentence = (
        f"{int(len(handled) - handled.sum())} of {len(handled)} odd inputs get no sensible answer ({listed}); "
        f"of ordinary inputs, {percent(float(usual.mean()))} get one."
    )
    return Suspicion(section, p_value, loss, loss, sentence)


def _examples(bench: Bench, plan: Plan, seen: Seen, handled: Values) -> list[dict[str, Any]]:
    shown = []
    for at in np.flatnonzero(handled == 0)[:SHOWN]:
        edge, answer = plan.edges[at], seen.edges[at]
        said = "(the program failed)" if answer is None else answer.text
        shown.append(
            example(bench, edge.position, edge.text, said) | {"expected": "", "kind": edge.edge.kind, "level": ""}
        )
    return shown
