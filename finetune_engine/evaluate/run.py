"""An evaluation from beginning to end: read the cases, let every suite look at every model, conclude, write."""

from __future__ import annotations

from pathlib import Path

import torch

from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.cases import read_cases
from finetune_engine.evaluate.conclusions.conclude import conclude
from finetune_engine.evaluate.grade import grader
from finetune_engine.evaluate.observing import observe_all
from finetune_engine.evaluate.report import EvaluationReport
from finetune_engine.evaluate.samples import write_samples
from finetune_engine.evaluate.scoring import Uncertainty, groups_of
from finetune_engine.evaluate.spec import EvaluateSpec
from finetune_engine.evaluate.suites.suite import Bench
from finetune_engine.ports import Run
from finetune_engine.train.local.device import use_threads

STORE_NAME = "answers.sqlite"


def evaluate(spec: EvaluateSpec, out: Path, run: Run) -> EvaluationReport:
    """Evaluate all models of ``spec`` and write ``report.json`` and ``samples.parquet`` into ``out``.

    What was answered before, in this run or in an earlier one with the same answer store, is not asked again. Raises UserError
    for a bad snapshot or model, ports.Stopped when told to stop.
    """
    started = run.clock.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    use_threads()
    torch.manual_seed(spec.seed)
    run.emit("phase", phase="validating")
    bench = _bench(spec, run)
    with AnswerStore(spec.answer_store or out / STORE_NAME) as store:
        seen, suites = observe_all(bench, store)
        run.emit("phase", phase="comparing")
        concluded = conclude(bench, seen, suites, store)
        report = concluded.report
        report.run["questions_asked"], report.run["questions_remembered"] = store.new, store.found
    report.run["seconds"] = round(run.clock.monotonic() - started, 3)
    run.emit("phase", phase="saving")
    write_samples(out / "samples.parquet", bench, seen, concluded.scored)
    report.write(out / "report.json")
    run.emit(
        "result",
        report="report.json",
        samples="samples.parquet",
        n=report.n,
        headline=report.headline,
        verdict={"kind": report.verdict.kind, "sentence": report.verdict.sentence},
        scores={model.key: score.value for model in report.models if (score := model.score(report.headline))},
        asked=store.new,
        remembered=store.found,
    )
    return report


def _bench(spec: EvaluateSpec, run: Run) -> Bench:
    cases = read_cases(spec)
    headline, grade = grader(spec, cases)
    return Bench(spec, cases, Uncertainty(spec.seed, groups_of(cases)), run, spec.max_new_tokens or 0, grade, headline)
