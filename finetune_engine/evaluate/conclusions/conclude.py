"""From what was seen to the report: scores, comparisons, the verdict, and what each suite makes of it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from finetune_engine.errors import UserError
from finetune_engine.evaluate.asking.local import BATCH_ROWS
from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.conclusions.baselines import fit_baselines
from finetune_engine.evaluate.conclusions.findings import Demands, demands_of, parts_of
from finetune_engine.evaluate.conclusions.outlook import best_prompted
from finetune_engine.evaluate.conclusions.verdict import Rival, Standing, judge, obstacles_of
from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.observing import Observed, leave_out
from finetune_engine.evaluate.people.judge import NAME as JUDGE
from finetune_engine.evaluate.people.judge import judge_answers
from finetune_engine.evaluate.report import BaselineReport, Case, Comparison, EvaluationReport, Verdict
from finetune_engine.evaluate.scoring import (
    Scored,
    Values,
    compare,
    compare_all,
    compare_measured,
    correct,
    score_baseline,
    score_model,
)
from finetune_engine.evaluate.suites.suite import Bench, Suite, SuiteResult

SHOWN = 3
PACKAGES = ("torch", "transformers", "peft", "scikit-learn", "scipy", "numpy")


@dataclass(frozen=True)
class Concluded:
    """The report, and the scores behind it by model key."""

    report: EvaluationReport
    scored: dict[str, Scored]


def conclude(bench: Bench, seen: Observed, suites: Sequence[Suite], store: AnswerStore) -> Concluded:
    """Put the report together; a judge is asked through ``store``. Raises ports.Stopped."""
    scored = _score_all(bench, seen)
    baselines, baseline_values = _baselines(bench)
    results = _suite_results(bench, seen, suites)
    if bench.spec.judge is not None:
        bench.run.emit("phase", phase="asking the judge")
        if (judged := judge_answers(bench, store)) is not None:
            results[JUDGE] = judged
    told = demands_of(bench, seen, results)
    report = _report(bench, seen, scored, told, (baselines, baseline_values))
    report = replace(report, **parts_of(bench, seen, scored, told, report.verdict))
    return Concluded(report, scored)


def _score_all(bench: Bench, seen: Observed) -> dict[str, Scored]:
    spec, scored = bench.spec, {}
    wanted = None if spec.metrics is None else tuple(dict.fromkeys([bench.headline, *spec.metrics]))
    for model in spec.models:
        bench.check()
        found = score_model(
            model.key, model.name, seen.answers[model.key], bench.cases, spec.task_type, bench.how, wanted
        )
        speed = seen.suites.get("performance", {}).get(model.key)
        scored[model.key] = replace(found, report=replace(found.report, performance=speed, kind=model.kind))
    return scored


def _baselines(bench: Bench) -> tuple[list[BaselineReport], dict[str, Values]]:
    if bench.spec.task_type != "classification":
        return [], {}
    reports, values = [], {}
    prompts = [case.prompt for case in bench.cases.test]
    for baseline in fit_baselines(bench.cases.train, prompts, between=bench.check):
        report, right = score_baseline(baseline, bench.cases, bench.how)
        reports.append(report)
        values[baseline.key] = right
    return reports, values


def _suite_results(bench: Bench, seen: Observed, suites: Sequence[Suite]) -> dict[str, SuiteResult]:
    results = {}
    for suite in suites:
        bench.check()
        try:
            results[suite.name] = suite.conclude(bench, seen.suites.get(suite.name, {}))
        except UserError as error:
            leave_out(bench, seen, suite.name, error.sentence)
    return results


def _report(
    bench: Bench,
    seen: Observed,
    scored: Mapping[str, Scored],
    told: Demands,
    cheap: tuple[list[BaselineReport], Mapping[str, Values]],
) -> EvaluationReport:
    spec, headline = bench.spec, bench.headline
    baselines, baseline_values = cheap
    base = scored[spec.base.key] if spec.base else None
    tuned = scored[spec.tuned.key] if spec.tuned else None
    comparisons = compare_all(base, tuned, bench.how, headline=headline) if base and tuned else []
    before = next((found for found in comparisons if found.metric == headline), None)
    rivals = _rivals(bench, tuned, baselines, baseline_values)
    verdict = _verdict(bench, scored, before, rivals, told)
    shown = _shown_cases(bench, seen)
    everything = correct([*comparisons, *(rival.comparison for rival in rivals.values())], headline=headline)
    return EvaluationReport(
        task_type=spec.task_type,
        split=spec.split,
        n=len(bench.cases.test),
        models=[found.report for found in scored.values()],
        baselines=baselines,
        headline=headline,
        comparison=next((one for one in everything if one.metric == headline and one.against == "base"), None),
        comparisons=everything,
        verdict=verdict,
        improved=_most(shown, lambda case: (case.tuned_score or 0.0) - (case.base_score or 0.0)) if before else [],
        worsened=_most(shown, lambda case: (case.base_score or 0.0) - (case.tuned_score or 0.0)) if before else [],
        worst=sorted(shown, key=_badness)[:SHOWN] if tuned else [],
        run=_run_record(bench, seen),
        subject=spec.subject,
        against=spec.against,
    )


def _rivals(
    bench: Bench, tuned: Scored | None, baselines: Sequence[BaselineReport], values: Mapping[str, Values]
) -> dict[str, Rival]:
    if tuned is None:
        return {}
    own = bench.values[tuned.report.key]
    return {
        report.key: Rival(
            report.name,
            float(values[report.key].mean()),
            compare("accuracy", values[report.key], own, bench.how, against=report.key),
        )
        for report in baselines
        if bench.headline == "accuracy" and len(values[report.key])
    }


def _verdict(
    bench: Bench, scored: Mapping[str, Scored], before: Comparison | None, rivals: Mapping[str, Rival], told: Demands
) -> Verdict:
    headline, tuned = bench.headline, bench.spec.tuned
    score = scored[tuned.key].report.score(headline) if tuned else None
    if tuned is None or score is None or score.value is None:
        return Verdict("do_not_ship", "Do not ship: no tuned model was evaluated, only what it would start from.")
    low, high = score.ci_low or 0.0, score.ci_high if score.ci_high is not None else 1.0
    values = scored[tuned.key].values[headline]
    right = int(values.sum()) if METRICS[headline].is_proportion else None
    return judge(
        Standing(headline, score.value, low, high, score.n, right),
        before,
        max(rivals.values(), key=lambda rival: rival.value, default=None),
        prompted=_prompted(bench, scored, tuned.key),
        obstacles=obstacles_of(told.acceptance, told.regressions, told.findings),
    )


def _prompted(bench: Bench, scored: Mapping[str, Scored], subject: str) -> Rival | None:
    best = best_prompted(bench)
    if best is None or any(bench.headline not in scored[key].measured for key in (best.key, subject)):
        return None  # TER is left out where the answers are too long for it
    theirs, mine = scored[best.key].measured[bench.headline], scored[subject].measured[bench.headline]
    return Rival(best.name, theirs.value, compare_measured(bench.headline, theirs, mine, bench.how, against=best.key))


def _shown_cases(bench: Bench, seen: Observed) -> list[Case]:
    spec = bench.spec
    base, tuned = (spec.base and spec.base.key), (spec.tuned and spec.tuned.key)
    before, after = (seen.answers[base] if base else None), (seen.answers[tuned] if tuned else None)
    shown = []
    for at, case in enumerate(bench.cases.test):
        nll = None
        if after is not None and after.nll is not None and after.tokens is not None:
            nll = after.nll[at] / max(1, after.tokens[at])
        shown.append(
            Case(
                row=case.row,
                prompt=case.prompt,
                reference=case.reference,
                base_answer=before.answers[at] if before else None,
                tuned_answer=after.answers[at] if after else None,
                base_score=float(bench.values[base][at]) if base else None,
                tuned_score=float(bench.values[tuned][at]) if tuned else None,
                tuned_nll=nll,
            )
        )
    return shown


def _badness(case: Case) -> tuple[float, float, int]:
    """Worst first: the reference that surprised most; where likelihoods are not known, the lowest score."""
    return (-(case.tuned_nll or 0.0), case.tuned_score or 0.0, case.row)


def _most(shown: Sequence[Case], gain: Any) -> list[Case]:
    """The cases of largest gain; of equals, those the tuned model is surest about come first."""
    gained = [case for case in shown if gain(case) > 0]
    return sorted(gained, key=lambda case: (-gain(case), case.tuned_nll or 0.0, case.row))[:SHOWN]


def _run_record(bench: Bench, seen: Observed) -> dict[str, Any]:
    spec, key = bench.spec, bench.spec.subject
    asked = seen.answers[key]
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "template_sha256": seen.template_sha256.get(key),
        "template_sha256_by_model": seen.template_sha256,
        "digest_by_model": seen.digests,
        "dtype": seen.dtype.get(key),
        "device": seen.device.get(key),
        "threads": torch.get_num_threads(),
        "batch_size": BATCH_ROWS,
        "decoding": "greedy",
        "max_new_tokens": asked.answer_limit,
        "shortened_prompts": asked.shortened,
        "cut_answers": {key: found.finish_reasons.count("length") for key, found in seen.answers.items()},
        "seed": spec.seed,
        "limit": spec.limit,
        "snapshot_sha256": spec.snapshot_sha256,
    }
