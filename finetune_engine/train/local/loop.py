"""The training loop, to be read from top to bottom, the same for every method.

One optimiser step: take the step's rows, let the lesson's objective add up gradients over micro-batches, divided by
the weight of all the step's rows, clip, update. Between steps the run may be held, paused or stopped; every so often it is
evaluated and saved. It knows nothing of files but its checkpoint folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from finetune_engine.errors import EngineError
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.adapters import restore_trainable
from finetune_engine.train.local.callbacks.callback import Moment
from finetune_engine.train.local.checkpoints import (
    LoopState,
    adopt_best,
    best_of,
    checkpoint_name,
    clear_after,
    load_checkpoint,
    load_weights,
    prune,
    save_checkpoint,
    trained_parameters,
)
from finetune_engine.train.local.collate import step_rows
from finetune_engine.train.local.history import StepMetrics
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.memory import memory_in_use, with_less_at_once
from finetune_engine.train.local.parallel import number, spread_gradients, spread_judge
from finetune_engine.train.local.scaling import LossScale
from finetune_engine.train.local.schedule import rate_at

BROKEN_LIMIT = 3
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """How the loop ended. ``best_step`` is the step whose weights the model now holds."""

    state: LoopState
    best_step: int
    train_loss: float
    valid_loss: float | None
    valid_accuracy: float | None
    stopped_early: bool
    reason: str | None


@dataclass(frozen=True)
class StepResult:
    """One step's sums and the gradient norm before clipping. ``is_overscaled``: the step was left out because the loss
    scale was too large, which is no fault of the model."""

    sums: Sums
    grad_norm: float
    is_overscaled: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers one can learn from."""
        return math.isfinite(self.sums.mean_loss) and math.isfinite(self.grad_norm)

    @property
    def is_broken(self) -> bool:
        """Whether the model gives numbers that nothing can be learnt from."""
        return not self.is_finite and not self.is_overscaled


def train(run: Run, lesson: Lesson, *, resume_from: Path | None = None) -> Outcome:
    """Run the loop to its end; the model then holds the best (or newest) weights.

    Raises Stopped on cancel and (after saving) on pause; EngineError ``diverged``, ``disk_full``, ``oom_gpu``,
    ``oom_host``.
    """
    optimizer = _optimizer(lesson)
    state = _begin(run, lesson, optimizer, resume_from)
    lesson.crew.started(lesson.spec.as_dict(), state.history)
    try:
        reason = _steps(run, lesson, optimizer, state)
    finally:
        lesson.crew.ended()
    return _finish(run, lesson, state, reason)


def _begin(run: Run, lesson: Lesson, optimizer: torch.optim.Optimizer, resume_from: Path | None) -> LoopState:
    """Where the run stands: at its first step, or where the checkpoint left it."""
    state = LoopState(scale=LossScale.for_dtype(lesson.dtype))
    torch.manual_seed(lesson.spec.asked.seed + lesson.team.rank)
    if lesson.team.is_first:
        clear_after(lesson.checkpoints, resume_from)
    if resume_from is not None:
        state = load_checkpoint(resume_from, lesson.model, optimizer, lesson.facts, team=lesson.team)
        if lesson.team.is_first:
            adopt_best(resume_from, lesson.checkpoints, state)
        state = lesson.team.agreed(state)
        run.emit("log", level="info", message=f"Going on after step {state.step}.")
    return state


def _steps(run: Run, lesson: Lesson, optimizer: torch.optim.Optimizer, state: LoopState) -> str | None:
    """All steps that are left; returns why some were not taken (None: all were)."""
    spec = lesson.spec
    pace = Pace(run, state, spec.total_steps)
    while state.step < spec.total_steps and state.reason is None:
        action = run.boundary()
        if action == "pause":
            _save(run, lesson, optimizer, state)
            raise Stopped("pause")
        if action == "stop_and_keep" and state.step > 0:
            return "stopped"
        rate = rate_at(
            state.step,
            peak=spec.learning_rate,
            total=spec.total_steps,
            warmup=spec.warmup_steps,
            kind=spec.asked.lr_scheduler_type,
        )
        result = _step(run, lesson, optimizer, state, rate)
        state.step += 1
        state.trained_tokens += int(result.sums.tokens)
        state.broken = state.broken + 1 if result.is_broken else 0
        due = state.step % spec.eval_steps == 0 or state.step == spec.total_steps
        valid = _evaluate(run, lesson) if due and lesson.valid and not result.is_broken else None
        improved = valid is not None and _note_evaluation(state, lesson, valid)
        moment = _record(run, lesson, state, result, valid, rate, pace)
        if state.broken >= BROKEN_LIMIT:
            raise _diverged(lesson, state)
        # Before saving: a run that is resumed here must know that it was over.
        state.reason = lesson.team.agreed(lesson.crew.after_step(moment))
        wanted = (improved and spec.asked.load_best_model_at_end) or state.step % spec.save_steps == 0
        if wanted and not result.is_broken:
            _save(run, lesson, optimizer, state)
    return state.reason


def _optimizer(lesson: Lesson) -> torch.optim.Optimizer:
    """AdamW; weight decay leaves vectors (norms, biases, DoRA magnitudes) alone."""
    named = trained_parameters(lesson.model)
    matrices = [parameter for _, parameter in named if parameter.ndim > 1]
    vectors = [parameter for _, parameter in named if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": lesson.spec.asked.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lesson.spec.learning_rate, fused=True)


def _step(run: Run, lesson: Lesson, optimizer: torch.optim.Optimizer, state: LoopState, rate: float) -> StepResult:
    """One optimiser step; a step whose loss or gradient is not finite changes nothing."""
    spec, scale = lesson.spec, state.scale
    order = step_rows(len(lesson.train), spec.asked.seed, state.step, spec.examples_per_step)
    rows = [lesson.train[row] for row in order]
    weight = max(1.0, lesson.objective.weight(rows))
    asked = min(spec.tokens_per_micro_batch, state.at_once or spec.tokens_per_micro_batch)

    def backward(loss: torch.Tensor) -> None:
        mean = loss / weight
        (mean * scale.factor if scale.in_use else mean).backward()  # type: ignore[no-untyped-call]

    def gradients(budget: int) -> Sums:
        """Of the mean loss over all of ``rows``, however they are split."""
        optimizer.zero_grad(set_to_none=True)
        learn = lesson.objective.add_gradients if lesson.team.is_alone else spread_gradients
        found = learn(lesson, rows, budget=budget, backward=backward)
        if budget < asked:
            state.at_once = budget  # what did not fit once is not tried again at every step
        return found

    sums = _within_memory(run, lesson, gradients, asked, rows)
    parameters = [parameter for _, parameter in trained_parameters(lesson.model)]
    scale.undo(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, spec.asked.max_grad_norm)
    result = StepResult(sums, number(norm))
    if result.is_finite:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    is_overscaled = scale.learn(is_finite=result.is_finite) and math.isfinite(sums.mean_loss)
    return replace(result, is_overscaled=is_overscaled)


def _within_memory(
    run: Run | None, lesson: Lesson, attempt: Callable[[int], Sums], budget: int, rows: Sequence[Any]
) -> Sums:
    """``attempt`` with ``budget`` tokens at once, or with fewer when memory is full."""
    if not lesson.team.is_alone:
        return attempt(budget)  # the others have no part in a second attempt: they would wait for ever
    lengths = [sum(len(text.input_ids) for text in lesson.objective.sequences(row)) for row in rows]
    return with_less_at_once(run, attempt, budget, longest=max(lengths), used=sum(lengths))


def _evaluate(run: Run | None, lesson: Lesson) -> Sums:
    """Judge the validation rows; with ``run`` a cancellation is heard between batches."""

    def between() -> None:
        if run is not None:
            run.boundary()

    def judged(budget: int) -> Sums:
        judge = lesson.objective.judge if lesson.team.is_alone else spread_judge
        return judge(lesson, lesson.valid, budget=budget, between=between)

    return _within_memory(run, lesson, judged, lesson.spec.tokens_per_eval_batch, lesson.valid)


def _note_evaluation(state: LoopState, lesson: Lesson, valid: Sums) -> bool:
    """Remember the best so far; returns whether this is it."""
    spec = lesson.spec
    value = valid.accuracy if spec.asked.metric_for_best_model == "eval_mean_token_accuracy" else valid.mean_loss
    if best_of(state, value, greater=spec.greater_is_better):
        state.best_value, state.best_step, state.stale = value, state.step, 0
        return True
    state.stale += 1
    return False


def _record(
    run: Run, lesson: Lesson, state: LoopState, result: StepResult, valid: Sums | None, rate: float, pace: Pace
) -> Moment:
    """Keep the step's numbers and tell the world."""
    row = StepMetrics(
        step=state.step,
        train_loss=result.sums.mean_loss,
        train_accuracy=result.sums.accuracy,
        valid_loss=valid.mean_loss if valid else None,
        valid_mean_token_accuracy=valid.accuracy if valid else None,
    )
    state.history.append(row)
    numbers: dict[str, Any] = {
        "step": state.step,
        "epoch": round(state.step / lesson.spec.steps_per_pass, 4),
        "train_loss": row.train_loss,
        "train_accuracy": row.train_accuracy,
        "learning_rate": rate,
        "grad_norm": result.grad_norm,
        "tokens_per_second": pace.tokens_per_second(result.sums.tokens),
        "memory_bytes": memory_in_use(lesson.device),
        **result.sums.rewards(),
    }
    if valid is not None:
        numbers |= {"valid_loss": row.valid_loss, "valid_mean_token_accuracy": row.valid_mean_token_accuracy}
        numbers |= {f"valid_{name}": value for name, value in valid.rewards().items()}
    moment = Moment(state.step, lesson.spec.total_steps, numbers, valid is not None, state.stale, state.best_step)
    moment = replace(moment, numbers=numbers | lesson.crew.numbers(moment))
    run.emit("metric", **moment.numbers)
    pace.progress(state.step)
    return moment


def _save(run: Run, lesson: Lesson, optimizer: torch.optim.Optimizer, state: LoopState) -> None:
    """Commit a checkpoint, say so, drop those no longer needed."""
    sha256 = save_checkpoint(lesson.checkpoints, lesson.model, optimizer, state, lesson.facts, team=lesson.team)
    if not lesson.team.is_first:
        return
    last = state.history[-1] if state.history else None
    seen = next((row for row in reversed(state.history) if row.valid_loss is not None), None)
    run.emit(
        "checkpoint",
        step=state.step,
        path=f"checkpoints/{checkpoint_name(state.step)}",
        manifest_sha256=sha256,
        metrics={
            "train_loss": last.train_loss if last else None,
            "train_accuracy": last.train_accuracy if last else None,
            "valid_loss": seen.valid_loss if seen else None,
            "valid_mean_token_accuracy": seen.valid_mean_token_accuracy if seen else None,
        },
        is_best=state.best_step == state.step,
    )
    prune(lesson.checkpoints, state.best_step)


def _finish(run: Run, lesson: Lesson, state: LoopState, reason: str | None) -> Outcome:
    """Choose the weights to keep: the best evaluated ones when asked for, else the newest."""
    newest = state.history[-1]
    if reason == "stopped" and lesson.valid and newest.valid_loss is None:
        run.emit("phase", phase="evaluating")
        valid = _evaluate(None, lesson)
        state.history[-1] = newest = StepMetrics(
            newest.step, newest.train_loss, newest.train_accuracy, valid.mean_loss, valid.accuracy
        )
        _note_evaluation(state, lesson, valid)
    kept = state.step
    best = state.best_step
    if lesson.spec.asked.load_best_model_at_end and best is not None and best != state.step:
        restore_trainable(lesson.model, load_weights(lesson.checkpoints / checkpoint_name(best)))
        kept = best
    at = next((row for row in reversed(state.history) if row.step == kept), newest)
    return Outcome(
        state=state,
        best_step=kept,
        train_loss=at.train_loss,
        valid_loss=at.valid_loss,
        valid_accuracy=at.valid_mean_token_accuracy,
        stopped_early=reason is not None,
        reason=reason,
    )


def _diverged(lesson: Lesson, state: LoopState) -> EngineError:
    kept = sorted(lesson.checkpoints.glob("step-*"))
    return EngineError(
        "diverged",
        f"The loss was not a number at {BROKEN_LIMIT} steps in a row (up to step {state.step}). "
        "Try a smaller learning rate.",
        {"step": state.step, "last_checkpoint": f"checkpoints/{kept[-1].name}" if kept else None},
    )


class Pace:
    """Speed and time left, from this process's own steps (a resumed run starts measuring anew)."""

    def __init__(self, run: Run, state: LoopState, total: int) -> None:
        self._run, self._total, self._from = run, total, state.step
        self._start = self._last = run.clock.monotonic()
        self._told = -math.inf

    def tokens_per_second(self, tokens: float) -> float:
        """Tokens of the step just done over its time."""
        now = self._run.clock.monotonic()
        spent, self._last = now - self._last, now
        return round(tokens / spent, 1) if spent > 0 else 0.0

    def progress(self, step: int) -> None:
        """Emit ``progress``, at most twice a second, with the time left at the mean speed so far."""
        now = self._run.clock.monotonic()
        if now - self._told < PROGRESS_SECONDS and step < self._total:
            return
        self._told = now
        each = (now - self._start) / max(1, step - self._from)
        left = round(each * (self._total - step), 1)
        self._run.emit("progress", done=step, total=self._total, unit="steps", eta_seconds=left)
