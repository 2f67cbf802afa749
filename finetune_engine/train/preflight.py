"""What can be known to go wrong before a training starts. Standard library only: the form asks it too.

An ``error`` would surely end the run, a ``warning`` may spoil its result. What is not known is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from finetune_engine.catalogue.ranges import Range
from finetune_engine.errors import EngineError
from finetune_engine.ports import Run
from finetune_engine.train.spec import BaseFacts, TrainingSpec

Level = Literal["error", "warning", "ok"]
# Kept on disk at the same time: the two newest checkpoints, the best, the one being written, and one copy for storage.
CHECKPOINTS = 5
MOMENTS = 2  # numbers that AdamW keeps for each trained one
NUMBER_BYTES, SHORT_NUMBER_BYTES = 4, 2  # whole weights may be kept in 16 bits
SMALL_FILES = 32_000_000  # tokenizer, template, metrics, logs
FAR = 10.0
FEW_VALIDATION_ROWS = 20


@dataclass(frozen=True)
class Facts:
    """What is known of data, model and machine; None means unknown.

    ``rows`` are trained on, ``validation_rows`` checked against, ``longest_tokens`` the longest row.
    ``trained`` are the numbers that training changes. ``memory`` is what the training needs, in bytes, ``disk_free`` the
    room for its files, those of an earlier attempt included.
    """

    base: BaseFacts = field(default_factory=BaseFacts)
    base_status: str | None = None
    min_examples: int | None = None
    rows: int | None = None
    validation_rows: int | None = None
    longest_tokens: int | None = None
    trained: int | None = None
    memory: Range[int] | None = None
    memory_free: int | None = None
    disk_free: int | None = None


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``fix`` is the way out ("" where none is needed)."""

    code: str
    level: Level
    sentence: str
    fix: str = ""


def preflight(spec: TrainingSpec, facts: Facts) -> list[Check]:
    """Every check that can be made, errors first."""
    order = {"error": 0, "warning": 1, "ok": 2}
    return sorted((check for look in LOOKS for check in look(spec, facts)), key=lambda check: order[check.level])


def heed(run: Run, spec: TrainingSpec, facts: Facts) -> None:
    """Tell what may go wrong as ``warn`` events. Raises EngineError ``disk_full`` when there is clearly no room."""
    for check in preflight(spec, facts):
        if check.code == "disk_full":
            raise EngineError("disk_full", f"{check.sentence} {check.fix}", {"free": facts.disk_free})
        if check.level != "ok":
            run.emit("warn", code=check.code, message=f"{check.sentence} {check.fix}")


def disk_need(
    trained: int, *, checkpoints: int = CHECKPOINTS, models: int = 2, number_bytes: int = NUMBER_BYTES
) -> int:
    """Bytes that checkpoints and copies of the finished model take, for so many trained numbers; by itself the most."""
    each = trained * number_bytes
    return checkpoints * each * (1 + MOMENTS) + models * each + SMALL_FILES


def _disk(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if facts.trained is None or facts.disk_free is None:
        return
    number_bytes = SHORT_NUMBER_BYTES if spec.peft == "full" else NUMBER_BYTES
    least = disk_need(facts.trained, checkpoints=1, models=1, number_bytes=number_bytes)
    most, free = disk_need(facts.trained), facts.disk_free
    fix = "Make room on the disk, or train a smaller part (r) of the model."
    if least > free:
        sentence = f"Checkpoints and the model need at least {size(least)}, but the disk has {size(free)} left."
        yield Check("disk_full", "error", sentence, fix)
    elif most > free:
        sentence = f"Checkpoints and the model need up to {size(most)}, and the disk has {size(free)} left."
        yield Check("disk_tight", "warning", sentence, fix)
    else:
        yield Check("disk", "ok", f"The disk has room: {size(most)} of {size(free)}.")


def _memory(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if facts.memory is None or facts.memory_free is None:
        return
    need, free = facts.memory, facts.memory_free
    fix = "Choose a smaller model, a shorter maximum length, smaller batches, or 'qlora' on a GPU."
    if need.low > free:
        sentence = f"Training needs at least {size(need.low)} of memory, but there is {size(free)}."
        yield Check("memory", "error", sentence, fix)
    elif need.expected > free:
        sentence = f"Training needs about {size(need.expected)} of memory, and there is {size(free)}."
        yield Check("memory", "warning", sentence, fix)
    else:
        yield Check("memory", "ok", f"Memory suffices: about {size(need.expected)} of {size(free)}.")


def _examples(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if facts.rows is None:
        return
    if facts.rows == 0:
        yield Check("no_examples", "error", "There is no example to train on.", "Add examples, or accept some of them.")
        return
    if facts.min_examples is not None and facts.rows < facts.min_examples:
        sentence = f"{facts.rows} examples are few for this model; it asks for {facts.min_examples}."
        yield Check("few_examples", "warning", sentence, "Add examples, or let a prompt with a few of them do.")
    per_step = spec.per_device_train_batch_size * spec.gradient_accumulation_steps
    if per_step > facts.rows:
        sentence = f"One step takes {per_step} examples, but there are only {facts.rows}: each pass is a single step."
        yield Check("batch_larger_than_data", "warning", sentence, "Make the batch or the accumulation smaller.")


def _validation(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if facts.validation_rows is None:
        return
    if facts.validation_rows == 0:
        sentence = "No rows are held back for checking: nobody will see when the model starts to learn by heart."
        yield Check("no_validation", "warning", sentence, "Give the data a validation part.")
    elif facts.validation_rows < FEW_VALIDATION_ROWS:
        sentence = f"Only {facts.validation_rows} rows are held back for checking, so its figures will jump about."
        yield Check("few_validation_rows", "warning", sentence, "Give the data a larger validation part.")
    else:
        yield Check("validation", "ok", f"{facts.validation_rows} rows are held back for checking.")


def _lengths(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    context, longest = facts.base.context_length, facts.longest_tokens
    if isinstance(spec.max_length, int) and context is not None and spec.max_length > context:
        sentence = f"The maximum length of {spec.max_length} tokens is beyond the {context} that this model reads."
        yield Check("length_over_context", "warning", sentence, f"Set the maximum length to {context} or less.")
    if longest is not None and context is not None and longest > context:
        sentence = f"The longest example has {longest} tokens; this model reads {context}."
        yield Check(
            "rows_over_context", "warning", sentence, "Shorten long examples, or choose a model that reads more."
        )


def _learning_rate(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if isinstance(spec.learning_rate, str):
        return
    usual = replace(spec, learning_rate="auto").effective(facts.rows or 1, facts.base).learning_rate
    if spec.learning_rate > usual * FAR:
        sentence = (
            f"The learning rate {spec.learning_rate:g} is far above the usual {usual:g}: the training may diverge."
        )
        yield Check("learning_rate_high", "warning", sentence, "Leave it on automatic.")
    elif spec.learning_rate < usual / FAR:
        sentence = f"The learning rate {spec.learning_rate:g} is far below the usual {usual:g}: little will be learnt."
        yield Check("learning_rate_low", "warning", sentence, "Leave it on automatic.")


def _base_model(spec: TrainingSpec, facts: Facts) -> Iterator[Check]:
    if facts.base_status == "deprecated":
        sentence = "This base model is outdated: it works for now, but its provider will withdraw it."
        yield Check("base_deprecated", "warning", sentence, "Choose another for new work.")
    elif facts.base_status == "closed":
        yield Check("base_closed", "error", "This base model takes no new trainings.", "Choose another.")


LOOKS: tuple[Callable[[TrainingSpec, Facts], Iterator[Check]], ...] = (
    _disk,
    _memory,
    _examples,
    _validation,
    _lengths,
    _learning_rate,
    _base_model,
)


def size(count: int) -> str:
    """Bytes in the unit that people read: ``1.5 GB``."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
