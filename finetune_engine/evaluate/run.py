"""An evaluation from beginning to end: load, ask, score, compare, judge, write."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from finetune_engine.evaluate import answers as asking
from finetune_engine.evaluate.answers import ModelAnswers
from finetune_engine.evaluate.baselines import fit_baselines
from finetune_engine.evaluate.cases import Cases, read_cases
from finetune_engine.evaluate.metrics.performance import measure_performance
from finetune_engine.evaluate.report import BaselineReport, Case, Comparison, EvaluationReport, Verdict
from finetune_engine.evaluate.scoring import (
    Scored,
    Uncertainty,
    Values,
    compare,
    compare_all,
    groups_of,
    headline_of,
    score_baseline,
    score_model,
)
from finetune_engine.evaluate.spec import EvaluateSpec, ModelSpec
from finetune_engine.evaluate.verdict import Rival, Standing, judge
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.device import use_threads
from finetune_engine.train.local.load import LoadedModel, attach_adapter, detach_adapter, load_base

SHOWN = 3
PROGRESS_SECONDS = 0.5


@dataclass
class Progress:
    """Units done over all models, told at most twice a second. Also the place where a run may be stopped."""

    run: Run
    total: int
    done: int = 0
    _told_at: float = float("-inf")

    def advance(self, done: int) -> None:
        """Units done so far in all. Raises Stopped when the run was told to end."""
        self.check()
        self.done = done
        now = self.run.clock.monotonic()
        if now - self._told_at >= PROGRESS_SECONDS or done >= self.total:
            self._told_at = now
            self.run.emit("progress", done=done, total=self.total, unit="cases")

    def check(self) -> None:
        """Raise Stopped when the run was told to end, in whatever way: half an evaluation is none."""
        if (action := self.run.boundary()) != "go":
            raise Stopped(action)


@dataclass
class Findings:
    """What has been learnt so far, by model key."""

    answers: dict[str, ModelAnswers] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    template_sha256: dict[str, str] = field(default_factory=dict)
    performance: dict[str, dict[str, Any]] = field(default_factory=dict)
    dtype: str = ""
    device: str = ""


def evaluate(spec: EvaluateSpec, out: Path, run: Run) -> EvaluationReport:
    """Evaluate all models of ``spec`` and write ``report.json`` and ``samples.parquet`` into ``out``.

    Raises UserError for a bad snapshot or model, ports.Stopped when told to stop.
    """
    started = run.clock.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    use_threads()
    torch.manual_seed(spec.seed)
    run.emit("phase", phase="validating")
    cases = read_cases(spec)
    how = Uncertainty(spec.seed, groups_of(cases))
    findings = _ask_models(spec, cases, how, run)
    run.emit("phase", phase="comparing")
    baselines, baseline_values = _baselines(spec, cases, how, run)
    report = _report(spec, cases, how, findings, baselines, baseline_values)
    report.run["seconds"] = round(run.clock.monotonic() - started, 3)
    run.emit("phase", phase="saving")
    _write_samples(out / "samples.parquet", cases, findings)
    report.write(out / "report.json")
    run.emit(
        "result",
        report="report.json",
        samples="samples.parquet",
        n=report.n,
        headline=report.headline,
        verdict={"kind": report.verdict.kind, "sentence": report.verdict.sentence},
        scores={model.key: _score_value(model.scores, report.headline) for model in report.models},
    )
    return report


def _ask_models(spec: EvaluateSpec, cases: Cases, how: Uncertainty, run: Run) -> Findings:
    findings = Findings()
    with_labels = asking.asks_labels(cases, spec.task_type)
    each = asking.steps_for(cases, with_labels=with_labels)
    progress = Progress(run, each * len(spec.models))
    if spec.task_type == "classification" and not with_labels and len(cases.train_labels) >= 2:
        run.emit("warn", code="too_many_labels", message="Label likelihoods are left out: too many cases and labels.")
    base: LoadedModel | None = None
    for number, model in enumerate(spec.models):
        run.emit("phase", phase="loading model", model=model.key)
        if base is None or base.ref != model.base:
            base = load_base(model.base)
        loaded = _put_on(base, model)
        run.emit("phase", phase="evaluating", model=model.key)
        asked = asking.collect(
            run,
            loaded,
            cases,
            max_new_tokens=spec.max_new_tokens,
            with_labels=with_labels,
            advance=lambda done, before=number * each: progress.advance(before + done),  # type: ignore[misc]
        )
        if "performance" in spec.suites:
            run.emit("phase", phase="measuring speed", model=model.key)
            findings.performance[model.key] = measure_performance(
                loaded, asked.prompts, max_new_tokens=asked.answer_limit, clock=run.clock, between=progress.check
            )
        findings.answers[model.key] = asked
        findings.scored[model.key] = score_model(model.key, model.name, asked, cases, spec.task_type, how)
        findings.template_sha256[model.key] = loaded.template_sha256
        findings.dtype, findings.device = str(loaded.dtype).removeprefix("torch."), str(loaded.device)
        if loaded is not base:
            detach_adapter(loaded)
    return findings


def _put_on(base: LoadedModel, model: ModelSpec) -> LoadedModel:
    return base if model.adapter is None else attach_adapter(base, model.adapter, name=model.key)


def _baselines(
    spec: EvaluateSpec, cases: Cases, how: Uncertainty, run: Run
) -> tuple[list[BaselineReport], dict[str, Values]]:
    if spec.task_type != "classification":
        return [], {}
    reports, values = [], {}
    for baseline in fit_baselines(cases.train, [case.prompt for case in cases.test], between=run.boundary):
        report, correct = score_baseline(baseline, cases, how)
        reports.append(report)
        values[baseline.key] = correct
    return reports, values


def _report(
    spec: EvaluateSpec,
    cases: Cases,
    how: Uncertainty,
    findings: Findings,
    baselines: list[BaselineReport],
    baseline_values: dict[str, Values],
) -> EvaluationReport:
    headline = headline_of(spec.task_type)
    base = findings.scored[spec.base.key] if spec.base else None
    tuned = findings.scored[spec.tuned.key] if spec.tuned else None
    comparisons = compare_all(base, tuned, how) if base and tuned else []
    before = next((found for found in comparisons if found.metric == headline), None)
    rivals = {
        report.key: Rival(
            report.name,
            float(values.mean()),
            compare(headline, values, tuned.values[headline], how, against=report.key),
        )
        for report in baselines
        if tuned is not None and len(values := baseline_values[report.key])
    }
    best = max(rivals.values(), key=lambda rival: rival.value, default=None)
    shown = _shown_cases(cases, findings, spec, headline)
    return EvaluationReport(
        task_type=spec.task_type,
        split=spec.split,
        n=len(cases.test),
        models=[
            replace(scored.report, performance=findings.performance.get(key)) for key, scored in findings.scored.items()
        ],
        baselines=baselines,
        headline=headline,
        comparison=before,
        comparisons=[*comparisons, *(rival.comparison for rival in rivals.values())],
        verdict=_verdict(tuned, headline, before, best),
        improved=_most(shown, lambda case: (case.tuned_score or 0.0) - (case.base_score or 0.0)) if before else [],
        worsened=_most(shown, lambda case: (case.base_score or 0.0) - (case.tuned_score or 0.0)) if before else [],
        worst=sorted(shown, key=lambda case: (-(case.tuned_nll or 0.0), case.row))[:SHOWN] if tuned else [],
        run=_run_record(spec, findings),
    )


def _verdict(tuned: Scored | None, headline: str, before: Comparison | None, best: Rival | None) -> Verdict:
    score = tuned.report.score(headline) if tuned else None
    if tuned is None or score is None or score.value is None:
        return Verdict("do_not_ship", "Do not ship: no tuned model was evaluated, only what it would start from.")
    low, high = score.ci_low or 0.0, score.ci_high if score.ci_high is not None else 1.0
    correct = int(tuned.values[headline].sum()) if headline == "accuracy" else None
    return judge(Standing(headline, score.value, low, high, score.n, correct), before, best)


def _shown_cases(cases: Cases, findings: Findings, spec: EvaluateSpec, headline: str) -> list[Case]:
    base, tuned = (spec.base and spec.base.key), (spec.tuned and spec.tuned.key)
    shown = []
    for position, case in enumerate(cases.test):
        said = findings.answers[tuned] if tuned else None
        shown.append(
            Case(
                row=case.row,
                prompt=case.prompt,
                reference=case.reference,
                base_answer=findings.answers[base].answers[position] if base else None,
                tuned_answer=said.answers[position] if said else None,
                base_score=float(findings.scored[base].values[headline][position]) if base else None,
                tuned_score=float(findings.scored[tuned].values[headline][position]) if tuned else None,
                tuned_nll=said.nll[position] / max(1, said.tokens[position]) if said else None,
            )
        )
    return shown


def _most(shown: Sequence[Case], gain: Any) -> list[Case]:
    """The cases of largest gain; of equals, those the tuned model is surest about come first."""
    gained = [case for case in shown if gain(case) > 0]
    return sorted(gained, key=lambda case: (-gain(case), case.tuned_nll or 0.0, case.row))[:SHOWN]


def _run_record(spec: EvaluateSpec, findings: Findings) -> dict[str, Any]:
    packages = ("torch", "transformers", "peft", "scikit-learn", "scipy", "numpy")
    main = spec.tuned or spec.models[-1]
    asked = findings.answers[main.key]
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "template_sha256": findings.template_sha256[main.key],
        "template_sha256_by_model": findings.template_sha256,
        "dtype": findings.dtype,
        "device": findings.device,
        "threads": torch.get_num_threads(),
        "batch_size": asking.BATCH_ROWS,
        "decoding": "greedy",
        "max_new_tokens": asked.answer_limit,
        "shortened_prompts": asked.shortened,
        "cut_answers": {key: found.finish_reasons.count("length") for key, found in findings.answers.items()},
        "seed": spec.seed,
        "limit": spec.limit,
        "snapshot_sha256": spec.snapshot_sha256,
    }


def _write_samples(path: Path, cases: Cases, findings: Findings) -> None:
    columns: dict[str, Any] = {
        "row": pa.array([case.row for case in cases.test], pa.int64()),
        "prompt": pa.array([case.prompt for case in cases.test], pa.string()),
        "reference": pa.array([case.reference for case in cases.test], pa.string()),
        "label": pa.array([case.label for case in cases.test], pa.string()),
    }
    for key, said in findings.answers.items():
        values = findings.scored[key].values
        correct = values.get("accuracy", values["quasi_exact_match"]) > 0.5
        columns[f"{key}_answer"] = pa.array(said.answers, pa.string())
        columns[f"{key}_correct"] = pa.array(correct.tolist(), pa.bool_())
        columns[f"{key}_nll"] = pa.array(said.nll, pa.float64())
        columns[f"{key}_tokens"] = pa.array(said.tokens, pa.int32())
        columns[f"{key}_label_prediction"] = _texts(said.likeliest, len(said.nll))
        if "f1" in values:
            columns[f"{key}_f1"] = pa.array(values["f1"].tolist(), pa.float64())
    draft = path.with_suffix(".part")
    pq.write_table(pa.table(columns), draft)
    draft.replace(path)


def _texts(values: list[str] | None, n: int) -> Any:
    return pa.nulls(n, pa.string()) if values is None else pa.array(values, pa.string())


def _score_value(scores: Sequence[Any], metric: str) -> float | None:
    return next((score.value for score in scores if score.metric == metric), None)
