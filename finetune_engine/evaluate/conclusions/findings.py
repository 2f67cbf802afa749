"""What the report says beside the scores: suites, overall score, acceptance, must-not-forget cases, slices, clusters, power."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_engine.evaluate.conclusions.acceptance import acceptance_of, failed_rules, regressions_of
from finetune_engine.evaluate.conclusions.calibration import calibration_of
from finetune_engine.evaluate.conclusions.clusters import RIGHT_FROM, clusters_of
from finetune_engine.evaluate.conclusions.outlook import power_of, prompting_of
from finetune_engine.evaluate.conclusions.overall import overall_score
from finetune_engine.evaluate.conclusions.slices import slice_findings, slices_of
from finetune_engine.evaluate.observing import Observed
from finetune_engine.evaluate.report import Verdict
from finetune_engine.evaluate.scoring import Scored
from finetune_engine.evaluate.statistics.power import SIGNIFICANCE
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult

REVIEWED = 50
"""Rows proposed for people to look at, drawn without regard to the answers."""
Finding = dict[str, str]


@dataclass(frozen=True)
class Demands:
    """What stands beside the scores and has a word in the verdict."""

    acceptance: list[dict[str, Any]]
    regressions: dict[str, Any] | None
    prompting: dict[str, Any] | None
    slices: list[dict[str, Any]]
    results: dict[str, SuiteResult]
    findings: list[Finding]


def demands_of(bench: Bench, seen: Observed, results: Mapping[str, SuiteResult]) -> Demands:
    """Check the rules, the must-not-forget cases, prompting and the slices. Raises ports.Stopped."""
    acceptance, regressions = acceptance_of(bench, seen), regressions_of(bench, seen)
    prompting = prompting_of(bench)
    bench.check()
    slices = slices_of(bench)
    findings = [
        *_demand_findings(acceptance, regressions),
        *_prompting_findings(prompting),
        *({"suite": suite, **found} for suite, result in results.items() for found in result.findings),
        *({"suite": "slices", **found} for found in slice_findings(slices)),
    ]
    return Demands(acceptance, regressions, prompting, slices, dict(results), findings)


def parts_of(
    bench: Bench, seen: Observed, scored: Mapping[str, Scored], told: Demands, verdict: Verdict
) -> dict[str, Any]:
    """The fields of the report that are not scores and comparisons. Raises ports.Stopped."""
    quality = SuiteResult(_quality(bench, seen, scored, verdict), float(bench.values[bench.spec.subject].mean()))
    everything = {"quality": quality, **told.results}
    ran = {suite: result for suite, result in everything.items() if result.section is not None}
    missing = seen.left_out | {
        suite: result.reason or "It found nothing to say." for suite, result in everything.items() if suite not in ran
    }
    bench.check()
    return {
        "suites_run": list(ran),
        "suites_left_out": [{"suite": suite, "reason": reason} for suite, reason in missing.items()],
        "findings": told.findings,
        **{suite: result.section for suite, result in ran.items()},
        "overall_score": overall_score(everything, bench.spec.weights or None, failed_rules(told.acceptance)),
        "acceptance": told.acceptance,
        "regressions": told.regressions,
        "slices": told.slices,
        "clusters": clusters_of(bench) if bench.spec.tuned is not None else [],
        "power": power_of(bench),
        "prompting": told.prompting,
    }


def _quality(bench: Bench, seen: Observed, scored: Mapping[str, Scored], verdict: Verdict) -> dict[str, Any]:
    """``{automated_metrics: {metric: value}, human_eval_needed, sample_for_review: [row], calibration, calibration_reason}`` of
    the subject. Where answers are free text, no metric says whether they are right: people have to look."""
    key = bench.spec.subject
    rows = [case.row for case in bench.cases.test]
    sample = random.Random(f"{bench.spec.seed} review").sample(rows, min(REVIEWED, len(rows)))
    sure = [None if mean is None else math.exp(min(mean, 0.0)) for mean in seen.answers[key].logprobs]
    right = [bool(value >= RIGHT_FROM) for value in bench.values[key]]
    calibration, reason = calibration_of(sure, right)
    return {
        "automated_metrics": {score.metric: score.value for score in scored[key].report.scores},
        "human_eval_needed": bench.spec.task_type != "classification" or verdict.kind == "more_cases",
        "sample_for_review": sorted(sample),
        "calibration": calibration,
        "calibration_reason": reason,
    }


def _demand_findings(acceptance: list[dict[str, Any]], regressions: dict[str, Any] | None) -> list[Finding]:
    found = []
    for rule in acceptance:
        if rule["passed"] < rule["n"]:
            text = f"The rule “{rule['name']}” is broken by {rule['n'] - rule['passed']:,} of {rule['n']:,} answers."
            found.append({"suite": "acceptance", "tone": "bad", "text": text})
    if acceptance and not found:
        text = "All answers keep to " + ("the rule." if len(acceptance) == 1 else f"all {len(acceptance)} rules.")
        found.append({"suite": "acceptance", "tone": "ok", "text": text})
    if regressions and regressions["failed"]:
        text = f"{len(regressions['failed']):,} of {regressions['n']:,} cases that must not be forgotten went wrong."
        found.append({"suite": "regressions", "tone": "bad", "text": text})
    elif regressions:
        text = f"All {regressions['n']:,} cases that must not be forgotten are still right."
        found.append({"suite": "regressions", "tone": "ok", "text": text})
    return found


def _prompting_findings(prompting: dict[str, Any] | None) -> list[Finding]:
    if prompting is None:
        return []
    is_earned = prompting["difference"] > 0 and prompting["p_value"] < SIGNIFICANCE
    return [{"suite": "prompting", "tone": "ok" if is_earned else "warn", "text": prompting["sentence"]}]
