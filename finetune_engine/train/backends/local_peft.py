"""Train on this machine: load, encode, learn, keep. Each stage says what it does through events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.generate import generate_batch
from finetune_engine.ports import Run
from finetune_engine.train.local.adapters import make_trainable, trainable_share
from finetune_engine.train.local.artefact import save_artefact
from finetune_engine.train.local.checkpoints import resolve_resume
from finetune_engine.train.local.commit import sweep_aside
from finetune_engine.train.local.device import use_threads
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.examples import Examples, SnapshotFacts, check_snapshot, encode_split
from finetune_engine.train.local.forward import flat_layout
from finetune_engine.train.local.fused import fused_lora
from finetune_engine.train.local.lesson import Lesson
from finetune_engine.train.local.load import LoadedModel, SharedModule, load_base
from finetune_engine.train.local.loop import Outcome, train
from finetune_engine.train.local.objectives.choice import objective_of
from finetune_engine.train.local.objectives.objective import Limits, Objective
from finetune_engine.train.local.parallel import spread, spread_out
from finetune_engine.train.local.record import run_facts, run_record
from finetune_engine.train.local.team import ALONE, Team, shared
from finetune_engine.train.spec import BaseFacts, EffectiveSpec, RunSpec

SAMPLES = 3
SAMPLE_TOKENS = 64
LAYOUT_ROWS = 64


def run_training(run: Run, spec: RunSpec, out: Path, *, team: Team = ALONE) -> None:
    """Carry out ``spec`` in the folder ``out``; ends with the ``result`` event and a committed artefact.

    Every process of a ``team`` does the same; the first of them writes.
    Raises UserError, EngineError or Stopped as its stages do.
    """
    run = shared(run, team)
    run.emit("phase", phase="validating")
    ref = BaseModelRef.from_dict(spec.base_model)
    resume = resolve_resume(Path(spec.resume_from)) if spec.resume_from else None
    snapshot = check_snapshot(spec.snapshot)
    if team.is_first:
        sweep_aside(out)
    run.boundary()

    run.emit("phase", phase="loading model")
    threads = use_threads(spec.threads, processes=team.local_size)
    loaded = load_base(ref, precision=spec.training.precision, on_gpu=team.is_alone)
    facts = _base_facts(loaded)
    run.boundary()

    run.emit("phase", phase="preparing data")
    objective = objective_of(spec.training)
    settled = _settle(spec, loaded, facts, max(1, snapshot.counts.get("train", 0)), longest=None)
    learn = _encode(run, spec, loaded, objective, settled, snapshot, "train")
    check = _encode(run, spec, loaded, objective, settled, snapshot, "validation")
    settled = _settle(spec, loaded, facts, len(learn.rows), longest=max(learn.longest, check.longest))

    model = make_trainable(loaded, settled)
    share = trainable_share(model)
    run.emit("log", level="info", message=share.sentence, trainable=share.trainable, total=share.total)
    texts = [text for row in learn.rows[:LAYOUT_ROWS] for text in objective.sequences(row)]
    if loaded.device.type != "cpu":
        spread(model, team)  # it was loaded outside the GPUs, which hold only their parts
    with (
        fused_lora(model) as fused,
        spread_out(model, team),
        flat_layout(model, texts, wanted=settled.packing, dtype=loaded.dtype) as flat,
    ):
        record = run_record(spec, settled, loaded, snapshot, threads=threads, flat=flat, fused_layers=fused)
        if team.is_first:
            _write_record(out, record)
        run.emit("log", level="info", message=_plan_sentence(settled, learn, check), training=settled.as_dict())
        run.emit("phase", phase="training")
        lesson = Lesson(
            model=model,
            objective=objective,
            train=learn.rows,
            valid=check.rows,
            spec=settled,
            device=loaded.device,
            dtype=loaded.dtype,
            pad_id=loaded.pad_token_id,
            flat=flat,
            checkpoints=out / "checkpoints",
            facts=run_facts(record),
            team=team,
        )
        outcome = train(run, _prepared(run, lesson), resume_from=resume)
    _show_samples(run, loaded, model, check)

    run.emit("phase", phase="saving")
    result = _result(outcome, share.trainable, share.total)
    manifest = save_artefact(out / "artefact", model, loaded, outcome, record | {"result": result}, team=team)
    run.emit("result", artefact="artefact", manifest_sha256=manifest, **result)


def _prepared(run: Run, lesson: Lesson) -> Lesson:
    """The lesson with what its method must know before the first step."""
    train_rows, valid_rows = (
        lesson.objective.prepare(lesson, rows, run.boundary) for rows in (lesson.train, lesson.valid)
    )
    return replace(lesson, train=train_rows, valid=valid_rows)


def _base_facts(loaded: LoadedModel) -> BaseFacts:
    report = inspect_model_folder(loaded.folder, digest=False)
    return BaseFacts(report.parameters, loaded.context_length, loaded.ref.learning_rate)


def _settle(spec: RunSpec, loaded: LoadedModel, facts: BaseFacts, n: int, *, longest: int | None) -> EffectiveSpec:
    bf16 = loaded.device.type == "cuda" and torch.cuda.is_bf16_supported()
    return spec.training.effective(n, facts, longest=longest, device=loaded.device.type, bf16=bf16)


def _encode(
    run: Run,
    spec: RunSpec,
    loaded: LoadedModel,
    objective: Objective[Any],
    settled: EffectiveSpec,
    snapshot: SnapshotFacts,
    split: str,
) -> Examples:
    """Encode one split and warn of what was lost. Raises UserError when nothing is left to train on."""
    total = snapshot.counts.get(split, 0)

    def between(done: int) -> None:
        run.boundary()
        run.emit("progress", done=done, total=total, unit="rows")

    limits = Limits(settled.max_length, learn_prompt=not spec.training.completion_only_loss)
    examples = encode_split(
        lambda row: objective.encode(loaded, row, limits),
        objective.sequences,
        spec.snapshot,
        split,
        unknown_id=loaded.tokenizer.unk_token_id,
        between=between,
        keep_texts=SAMPLES if split == "validation" else 0,
    )
    if split == "train" and not examples.rows:
        raise UserError(
            "no_examples",
            f"None of the {total} training examples can be used: their answers are longer than "
            f"{settled.max_length} tokens. Raise the maximum length or shorten the answers."
            if total
            else "The frozen dataset has no training example.",
            field="snapshot",
        )
    for count, sentence in (
        (examples.too_long, "were left out because their answer is longer than the maximum length"),
        (examples.shortened, "were shortened to the maximum length (their input, not their answer)"),
    ):
        if count:
            run.emit("warn", message=f"{count} of {total} {split} examples {sentence}.", split=split, count=count)
    if examples.unknown_tokens:
        run.emit(
            "warn",
            message=f"{examples.unknown_tokens} characters in the {split} examples are unknown to this model.",
            split=split,
            count=examples.unknown_tokens,
        )
    return examples


def _plan_sentence(settled: EffectiveSpec, learn: Examples, check: Examples) -> str:
    return (
        f"{len(learn.rows)} examples, {settled.total_steps} steps of {settled.examples_per_step}, "
        f"learning rate {settled.learning_rate:g}, evaluated on {len(check.rows)} every {settled.eval_steps} steps."
    )


def _write_record(out: Path, record: dict[str, Any]) -> None:
    """Freeze the record before the first step, so that a failed run can be explained too."""
    (out / "run.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def _show_samples(run: Run, loaded: LoadedModel, model: Any, check: Examples) -> None:
    """Let the trained model answer the first validation rows."""
    if not check.texts:
        return
    model.eval()
    speaking = replace(loaded, shared=SharedModule(model))
    prompts = [encode_prompt(loaded, messages[:-1]) for messages in check.texts]
    answers = generate_batch(speaking, prompts, max_new_tokens=SAMPLE_TOKENS, should_stop=lambda: False)
    for messages, answer in zip(check.texts, answers, strict=True):
        asked = messages[-2]["content"] if len(messages) > 1 else ""
        run.emit("sample", prompt=asked, answer=answer.text, reference=messages[-1]["content"])


def _result(outcome: Outcome, trainable: int, total: int) -> dict[str, Any]:
    return {
        "best_step": outcome.best_step,
        "train_loss": outcome.train_loss,
        "valid_loss": outcome.valid_loss,
        "valid_mean_token_accuracy": outcome.valid_accuracy,
        "trained_tokens": outcome.state.trained_tokens,
        "trainable_parameters": trainable,
        "total_parameters": total,
        "steps": outcome.state.step,
        "stopped_early": outcome.stopped_early,
        "reason": outcome.reason,
    }
