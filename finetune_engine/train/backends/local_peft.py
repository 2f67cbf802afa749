"""Train on this machine: load, encode, learn, keep. Each stage says what it does through events."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.ports import Run
from finetune_engine.train.local.adapters import make_trainable, trainable_share
from finetune_engine.train.local.artefact import save_artefact
from finetune_engine.train.local.callbacks.callback import Crew
from finetune_engine.train.local.callbacks.chosen import callbacks_for
from finetune_engine.train.local.callbacks.samples import Samples
from finetune_engine.train.local.checkpoints import resolve_resume
from finetune_engine.train.local.commit import sweep_aside
from finetune_engine.train.local.device import use_threads
from finetune_engine.train.local.examples import Examples, SnapshotFacts, check_snapshot, encode_split
from finetune_engine.train.local.forward import flat_layout
from finetune_engine.train.local.fused import fused_lora
from finetune_engine.train.local.kernels import use_gpu_kernels
from finetune_engine.train.local.lesson import Lesson
from finetune_engine.train.local.load import LoadedModel, load_base
from finetune_engine.train.local.loop import Outcome, train
from finetune_engine.train.local.objectives.choice import objective_of
from finetune_engine.train.local.objectives.objective import Limits, Objective
from finetune_engine.train.local.parallel import spread, spread_out
from finetune_engine.train.local.parent import Parent, read_parent
from finetune_engine.train.local.record import run_facts, run_record
from finetune_engine.train.local.settle import base_facts, settle
from finetune_engine.train.local.team import ALONE, Team, shared
from finetune_engine.train.preflight import Facts, heed
from finetune_engine.train.spec import EffectiveSpec, RunSpec, SnapshotRef, TrainingSpec

SAMPLES = 3
LAYOUT_ROWS = 64


@dataclass(frozen=True)
class Sources:
    """What a run starts from, found to be there: base model, earlier model, checkpoint and data."""

    ref: BaseModelRef
    parent: Parent | None
    resume: Path | None
    snapshot: SnapshotFacts
    validation: SnapshotFacts | None


def run_training(run: Run, spec: RunSpec, out: Path, *, team: Team = ALONE) -> None:
    """Carry out ``spec`` in the folder ``out``; ends with the ``result`` event and a committed artefact.

    Every process of a ``team`` does the same; the first of them writes.
    Raises UserError, EngineError or Stopped as its stages do.
    """
    run = shared(run, team)
    run.emit("phase", phase="validating")
    found = _sources(spec, team)
    if team.is_first:
        sweep_aside(out)
    run.boundary()

    run.emit("phase", phase="loading model")
    threads = use_threads(spec.threads, processes=team.local_size)
    asked = found.parent.settings(spec.training) if found.parent else spec.training
    loaded = load_base(found.ref, precision=asked.precision, on_gpu=team.is_alone, four_bit=asked.peft == "qlora")
    if team.is_alone and use_gpu_kernels(loaded.model, loaded.device):
        run.emit("log", level="info", message="Norms, rotations and gates run in Liger's GPU kernels.")
    if found.parent:
        loaded = found.parent.spoken(loaded)
        run.emit("log", level="info", message=found.parent.sentence)
    run.boundary()

    run.emit("phase", phase="preparing data")
    objective = objective_of(asked)
    settled, learn, check = _read_data(run, spec, asked, found, loaded, objective)
    model = make_trainable(loaded, settled)
    if found.parent:
        found.parent.teach(model)
    share = trainable_share(model)
    run.emit("log", level="info", message=share.sentence, trainable=share.trainable, total=share.total)
    if team.is_first:
        heed(run, asked, _known(loaded, learn, check, trained=share.trainable, out=out))
    samples = Samples(run, loaded, model, check.texts, max_length=settled.max_length)
    texts = [text for row in learn.rows[:LAYOUT_ROWS] for text in objective.sequences(row)]
    if loaded.device.type != "cpu":
        spread(model, team)  # it was loaded outside the GPUs, which hold only their parts
    with (
        fused_lora(model) as fused,
        spread_out(run, model, team),
        flat_layout(model, texts, wanted=settled.packing, dtype=loaded.dtype) as flat,
    ):
        record = run_record(spec, settled, loaded, found.snapshot, threads=threads, flat=flat, fused_layers=fused)
        record |= _other_sources(found)
        if team.is_first:
            _write_record(out, record)
        run.emit("log", level="info", message=_plan_sentence(settled, learn, check), training=settled.as_dict())
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
            crew=callbacks_for(run, settled, out, samples if team.is_alone else None, is_first=team.is_first),
        )
        lesson = _prepared(run, lesson)
        run.emit("phase", phase="training")
        outcome = train(run, lesson, resume_from=found.resume)
    Crew(run, [samples]).kept(outcome.best_step)

    run.emit("phase", phase="saving")
    result = _result(outcome, share.trainable, share.total)
    manifest = save_artefact(out / "artefact", model, loaded, outcome, record | {"result": result}, team=team)
    run.emit("result", artefact="artefact", manifest_sha256=manifest, **result)


def _sources(spec: RunSpec, team: Team) -> Sources:
    """Everything that can be found wrong before a model is loaded. Raises UserError and EngineError."""
    if not team.is_alone:
        _refuse_together(spec.training)
    ref = BaseModelRef.from_dict(spec.base_model)
    parent = read_parent(Path(spec.continue_from)) if spec.continue_from else None
    return Sources(
        ref=parent.base(ref) if parent else ref,
        parent=parent,
        resume=resolve_resume(Path(spec.resume_from)) if spec.resume_from else None,
        snapshot=check_snapshot(spec.snapshot),
        validation=check_snapshot(spec.validation) if spec.validation else None,
    )


def _refuse_together(asked: TrainingSpec) -> None:
    """What several processes cannot do as one would: cut weights of four bits apart, and look at all verdicts of a step
    before learning from the first."""
    for name, value, other in (("peft", "qlora", "lora"), ("method", "kto", "dpo")):
        if getattr(asked, name) == value:
            sentence = f"{value!r} trains in one process. Set processes to 1, or choose {other!r}."
            raise UserError("bad_config", sentence, field=name, reason="bad_config")


def _known(loaded: LoadedModel, learn: Examples, check: Examples, *, trained: int, out: Path) -> Facts:
    """What is known right before the first step (lengths and characters have been told row by row)."""
    # A resumed run writes where its own earlier checkpoints stand.
    replaced = sum(path.stat().st_size for path in (out / "checkpoints").rglob("*") if path.is_file())
    return Facts(
        base=base_facts(loaded),
        rows=len(learn.rows),
        validation_rows=len(check.rows),
        trained=trained,
        disk_free=shutil.disk_usage(out).free + replaced,
    )


def _other_sources(found: Sources) -> dict[str, Any]:
    """What the run record says of data and models beside the usual ones."""
    other: dict[str, Any] = {}
    if found.validation is not None:
        other["validation"] = {"sha256": found.validation.sha256, "counts": found.validation.counts}
    if found.parent is not None:
        other["continued_from"] = found.parent.sha256
    return other


def _read_data(
    run: Run,
    spec: RunSpec,
    asked: TrainingSpec,
    found: Sources,
    loaded: LoadedModel,
    objective: Objective[Any],
) -> tuple[EffectiveSpec, Examples, Examples]:
    """The rows to learn from, the rows to judge by, and the settings that they settle."""
    rough = settle(asked, loaded, max(1, found.snapshot.counts.get("train", 0)), longest=None)
    counts = found.snapshot.counts
    learn = _encode(run, loaded, objective, rough, Part("train", spec.snapshot, "train", counts.get("train", 0)))
    own = Part("validation", spec.snapshot, "validation", counts.get("validation", 0))
    if spec.validation is not None and found.validation is not None:
        own = Part("validation", spec.validation, None, sum(found.validation.counts.values()))
    check = _encode(run, loaded, objective, rough, own)
    settled = settle(asked, loaded, len(learn.rows), longest=max(learn.longest, check.longest))
    if asked.gradient_checkpointing == "auto" and settled.gradient_checkpointing:
        message = "The GPU's memory is small for this model: some results are computed twice instead of kept."
        run.emit("log", level="info", message=message)
    return settled, learn, check


def _prepared(run: Run, lesson: Lesson) -> Lesson:
    """The lesson with what its method must know before the first step."""
    if lesson.spec.asked.method != "sft":
        message = "Asking the model as it is now about every answer, to compare with later."
        run.emit("log", level="info", message=message)
    train_rows, valid_rows = (
        lesson.objective.prepare(lesson, rows, run.boundary) for rows in (lesson.train, lesson.valid)
    )
    return replace(lesson, train=train_rows, valid=valid_rows)


@dataclass(frozen=True)
class Part:
    """Rows of a snapshot and what they are for. ``split`` None takes all rows; ``total`` is how many there are."""

    name: str
    snapshot: SnapshotRef
    split: str | None
    total: int


def _encode(run: Run, loaded: LoadedModel, objective: Objective[Any], settled: EffectiveSpec, part: Part) -> Examples:
    """Encode one part and warn of what was lost. Raises UserError when nothing is left to train on."""
    split, total = part.name, part.total

    def between(done: int) -> None:
        run.boundary()
        run.emit("progress", done=done, total=total, unit="rows")

    limits = Limits(settled.max_length, learn_prompt=not settled.asked.completion_only_loss)
    examples = encode_split(
        lambda row: objective.encode(loaded, row, limits),
        objective.sequences,
        part.snapshot,
        part.split,
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
