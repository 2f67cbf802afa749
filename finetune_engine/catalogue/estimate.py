"""What a training will take, told before it starts: tokens, steps, time, money and memory, each as a range.

Pure: what is known of the data, the model and the machine comes in; sentences say what was assumed. A figure that nobody
can know is None, never a guess that looks like a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_engine.catalogue.cost import Cost, HasPrice, MachineRate, machine_cost, provider_cost
from finetune_engine.catalogue.memory import MemoryNeed, MemoryPlan, memory_need, trained_parameters
from finetune_engine.catalogue.ranges import Range, around, whole
from finetune_engine.catalogue.shape import ModelShape, guessed_shape
from finetune_engine.train.setting_checks import ALL_LINEAR, WITH_EMBEDDINGS
from finetune_engine.train.spec import TEXTS_PER_ROW, BaseFacts, EffectiveSpec, TrainingSpec

# Tokens for a word where no tokenizer counted: a word and its blank are 5 to 6 characters, a token about 4 of them in
# English; other languages, numbers and small vocabularies need up to two and a half times that.
TOKENS_PER_WORD = (1.1, 1.35, 3.0)
FRAME_TOKENS = (4, 14, 40)  # of the chat template, for each example: role marks, an instruction, the end
OTHER_TOKENIZER = 0.15  # another model's tokenizer counted: usually within this share
# Floating-point work for a token, forward and back: 6 for each parameter when all are trained (Kaplan et al. 2020,
# section 2.1), 4 when only an adapter is, because the weights' own gradients are left out.
WORK_FULL, WORK_ADAPTER, WORK_FORWARD = 6.0, 4.0, 2.0
CHECKPOINTING_WORK = 2.0  # the forward pass a second time
# What machines reach in training, as long as nothing has been measured: usual effective rates (floating-point operations
# a second), for one processor core in 32 bits and for one graphics card in 16.
CORE_RATE = (5e9, 20e9, 60e9)
CARD_RATE = (8e12, 60e12, 400e12)
STARTUP_SECONDS = (8.0, 20.0, 90.0)  # start the process, load the model and the data
USUAL_STOP = 0.5  # early stopping may end a training after about half of its passes
SPEED_MARGIN = {"probe": (0.15, 0.25), "run": (0.25, 0.35)}  # a measured speed differs by so much next time


@dataclass(frozen=True)
class ModelFacts:
    """What an estimate needs of a base model. ``is_remote``: a provider trains it. None means unknown."""

    key: str
    name: str
    is_remote: bool = False
    parameters: int | None = None
    shape: ModelShape | None = None
    context_length: int | None = None
    learning_rate: float | None = None
    priced: HasPrice | None = None

    def base_facts(self) -> BaseFacts:
        """What the settings depend on."""
        return BaseFacts(self.parameters, self.context_length, self.learning_rate)

    def usable_shape(self) -> ModelShape | None:
        """The known shape, or a usual one for so many parameters; None when neither is known."""
        if self.shape is not None:
            return self.shape
        return guessed_shape(self.parameters) if self.parameters else None


@dataclass(frozen=True)
class DataFacts:
    """Rows to learn from and to check with, and how long they are. Lengths are in ``unit`` (tokens or words), of one row:
    question and answer together (``mean``, ``longest``), and the answer's share (0..1). ``counted_by`` is the key of the base
    model whose tokenizer counted."""

    rows: int
    validation_rows: int
    mean: float
    longest: float
    answer_share: float = 0.5
    unit: str = "words"
    counted_by: str | None = None

    def tokens(self, length: float, model_key: str) -> Range[float]:
        """``length`` in tokens of this model, with the chat template's own."""
        low, middle, high = (1.0, 1.0, 1.0)
        if self.unit == "words":
            low, middle, high = TOKENS_PER_WORD
        elif self.counted_by != model_key:
            low, high = 1 - OTHER_TOKENIZER, 1 + OTHER_TOKENIZER
        shares, frames = (low, middle, high), FRAME_TOKENS
        return Range(*(length * share + frame for share, frame in zip(shares, frames, strict=True)))


@dataclass(frozen=True)
class MachineFacts:
    """Where it will run: ``device`` ``cpu`` or ``cuda``; bytes and cores are None when unknown."""

    name: str = ""
    device: str = "cpu"
    memory_bytes: int | None = None
    free_bytes: int | None = None
    cores: int | None = None


@dataclass(frozen=True)
class Measurement:
    """What this machine did with this base model before. ``source`` is ``probe`` or ``run``; ``peak_bytes`` counts only
    when the settings were those of the plan."""

    source: str
    tokens_per_second: float
    seconds_to_first_step: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Estimate:
    """The ranges, and what they rest on. None: unknown. ``fit`` is fits, tight, too_large or unknown."""

    tokens: Range[int]
    trained_tokens: Range[int]
    steps: Range[int]
    seconds: Range[float] | None
    money: Cost | None
    memory: MemoryNeed | None
    memory_bytes: Range[int] | None
    fit: str
    trainable_parameters: int | None
    total_parameters: int | None
    assumptions: tuple[str, ...]
    measured_by: str = ""

    @property
    def trainable_share(self) -> float | None:
        """The part of the model that is trained, 0..1."""
        if not self.trainable_parameters or not self.total_parameters:
            return None
        return min(1.0, self.trainable_parameters / self.total_parameters)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; ranges are ``{low, expected, high}``."""
        return {
            "tokens": self.tokens.as_dict(),
            "trained_tokens": self.trained_tokens.as_dict(),
            "steps": self.steps.as_dict(),
            "seconds": self.seconds.as_dict() if self.seconds else None,
            "money": self.money.as_dict() if self.money else None,
            "memory_bytes": self.memory_bytes.as_dict() if self.memory_bytes else None,
            "memory": self.memory.as_dict() if self.memory else None,
            "fit": self.fit,
            "fits": {"fits": True, "tight": None, "too_large": False}.get(self.fit),
            "trainable_parameters": self.trainable_parameters,
            "trainable_share": self.trainable_share,
            "measured_by": self.measured_by,
            "assumptions": list(self.assumptions),
        }


def estimate(
    model: ModelFacts,
    data: DataFacts,
    spec: TrainingSpec,
    machine: MachineFacts,
    *,
    measured: Measurement | None = None,
    rate: MachineRate | None = None,
) -> Estimate:
    """Everything that can be said before the start. Raises UserError ``no_examples`` for data without a row."""
    mean, longest = data.tokens(data.mean, model.key), data.tokens(data.longest, model.key)
    settled = spec.effective(
        data.rows, model.base_facts(), longest=round(longest.expected), device=machine.device, bf16=True
    )
    row = mean.map(lambda length: min(length, float(settled.max_length)))
    tokens = whole(row.map(lambda length: length * data.rows))
    passes = float(spec.num_train_epochs)
    least = USUAL_STOP if _may_stop_early(spec, data, passes) and not model.is_remote else 1.0
    read = passes if model.is_remote else passes * TEXTS_PER_ROW[spec.method]
    trained = Range(round(tokens.low * read * least), round(tokens.expected * read), round(tokens.high * read))
    steps = Range(max(1, round(settled.total_steps * least)), settled.total_steps, settled.total_steps)
    said = [_about_tokens(data, model)]
    if model.is_remote:
        money = provider_cost(model.priced, tokens, passes) if model.priced is not None else None
        said += _about_provider(model, money)
        return Estimate(tokens, trained, steps, None, money, None, None, "unknown", None, None, tuple(said))
    shape = model.usable_shape()
    seconds = _seconds(shape, data, row, trained, settled, machine, measured)
    need = _need(shape, data, row, settled, machine) if shape is not None else None
    total = _total(need, measured)
    said += _about_machine(machine, measured, seconds, shape, least)
    return Estimate(
        tokens=tokens,
        trained_tokens=trained,
        steps=steps,
        seconds=seconds,
        money=machine_cost(rate, seconds),
        memory=need,
        memory_bytes=total,
        fit=fit_of(total, machine),
        trainable_parameters=trained_parameters(shape, _plan(settled, machine, 1, 1, 1, 1)) if shape else None,
        total_parameters=model.parameters or (shape.parameters if shape else None),
        assumptions=tuple(said),
        measured_by=measured.source if measured else "",
    )


def fit_of(memory: Range[int] | None, machine: MachineFacts) -> str:
    """Whether it fits this machine: even the most does (fits), it may (tight), or the least does not (too_large)."""
    room = machine.memory_bytes
    if memory is None or room is None:
        return "unknown"
    if memory.low > room:
        return "too_large"
    return "fits" if memory.high <= (machine.free_bytes or room) else "tight"


def _may_stop_early(spec: TrainingSpec, data: DataFacts, passes: float) -> bool:
    return bool(spec.early_stopping_patience and data.validation_rows and passes > 1)


def _plan(settled: EffectiveSpec, machine: MachineFacts, *sizes: int) -> MemoryPlan:
    tokens, scored, eval_tokens, eval_scored = sizes
    targets = settled.target_modules
    named = None if targets in (ALL_LINEAR, WITH_EMBEDDINGS) or isinstance(targets, str) else tuple(targets)
    return MemoryPlan(
        tokens=tokens,
        scored=scored,
        eval_tokens=eval_tokens,
        eval_scored=eval_scored,
        peft=settled.asked.peft,
        r=settled.asked.r,
        precision=settled.precision,
        gradient_checkpointing=settled.gradient_checkpointing,
        targets=named,
        with_embeddings=targets == WITH_EMBEDDINGS,
        device=machine.device,
    )


def _need(
    shape: ModelShape, data: DataFacts, row: Range[float], settled: EffectiveSpec, machine: MachineFacts
) -> MemoryNeed:
    """The usual need from rows of mean length; the most from micro-batches that are full."""
    share = data.answer_share if settled.asked.completion_only_loss else 1.0
    budgets = (settled.tokens_per_micro_batch, settled.tokens_per_eval_batch)
    one = row.expected * TEXTS_PER_ROW[settled.asked.method]
    usual = [min(budgets[0], settled.examples_per_step * one), min(budgets[1], data.validation_rows * one)]

    def need(sizes: Sequence[float], scored: float) -> MemoryNeed:
        learnt, checked = (max(1, round(size)) for size in sizes)
        plan = _plan(settled, machine, learnt, max(1, round(learnt * scored)), checked, max(1, round(checked * scored)))
        return memory_need(shape, plan)

    likely, most = need(usual, share), need(budgets, min(1.0, 1.5 * share))
    parts = {
        name: Range(value.low, value.expected, max(value.expected, getattr(most, name).high))
        for name, value in vars(likely).items()
    }
    return MemoryNeed(**parts)


def _total(need: MemoryNeed | None, measured: Measurement | None) -> Range[int] | None:
    if measured is not None and measured.peak_bytes:
        return whole(around(float(measured.peak_bytes), below=0.05, above=0.2))
    return need.total if need is not None else None


def _seconds(
    shape: ModelShape | None,
    data: DataFacts,
    row: Range[float],
    trained: Range[int],
    settled: EffectiveSpec,
    machine: MachineFacts,
    measured: Measurement | None,
) -> Range[float] | None:
    """Start, learning and checking. None when neither a measurement nor the size of the model is known."""
    speed = _speed(shape, settled, machine, measured)
    if speed is None:
        return None
    checks = settled.total_steps / settled.eval_steps * TEXTS_PER_ROW[settled.asked.method]
    checked = row.map(lambda length: length * data.validation_rows * checks * WORK_FORWARD / WORK_ADAPTER)
    start = Range(*STARTUP_SECONDS)
    if measured is not None and measured.seconds_to_first_step:
        start = around(measured.seconds_to_first_step, below=0.3, above=1.0)
    early = trained.low / max(1.0, trained.expected)
    return Range(
        start.low + (trained.low + checked.low * early) / speed.high,
        start.expected + (trained.expected + checked.expected) / speed.expected,
        start.high + (trained.high + checked.high) / speed.low,
    )


def _speed(
    shape: ModelShape | None, settled: EffectiveSpec, machine: MachineFacts, measured: Measurement | None
) -> Range[float] | None:
    """Tokens a second."""
    if measured is not None and measured.tokens_per_second > 0:
        below, above = SPEED_MARGIN[measured.source]
        return around(measured.tokens_per_second, below=below, above=above)
    if shape is None:
        return None
    work = WORK_FULL if settled.asked.peft == "full" else WORK_ADAPTER
    work += CHECKPOINTING_WORK if settled.gradient_checkpointing else 0.0
    rates = CARD_RATE if machine.device == "cuda" else tuple(one * (machine.cores or 2) for one in CORE_RATE)
    return Range(*(value / (work * shape.parameters) for value in rates))


def _about_tokens(data: DataFacts, model: ModelFacts) -> str:
    if data.unit == "words":
        return "Tokens are reckoned from words: about 1.35 to a word in English, up to 3 in other languages."
    if data.counted_by == model.key:
        return "Tokens were counted with this model's own tokenizer; the frame around each example is reckoned."
    return "Tokens were counted with another model's tokenizer, which differs by some 15 %."


def _about_provider(model: ModelFacts, money: Cost | None) -> list[str]:
    said = ["How long the provider's queue takes is not known."]
    price = model.priced.price if model.priced is not None else None
    if money is not None and price is not None:
        read = getattr(price, "date", "")
        said.append(
            f"The price is {price.training_per_million} {price.currency} for a million tokens in each pass"
            + (f", as read on {read}; the provider's bill is what counts." if read else ".")
        )
    else:
        said.append("The price of training this model is not known here; look it up at the provider.")
    return said


def _about_machine(
    machine: MachineFacts,
    measured: Measurement | None,
    seconds: Range[float] | None,
    shape: ModelShape | None,
    least: float,
) -> list[str]:
    said = []
    if measured is not None:
        how = "a short test run" if measured.source == "probe" else "earlier trainings of this model"
        said.append(f"The speed was measured on this machine by {how}.")
    elif seconds is not None:
        where = "a usual graphics card" if machine.device == "cuda" else f"{machine.cores or 2} usual processor cores"
        said.append(f"The speed was not measured yet: time is reckoned for {where} and may be far off.")
    else:
        said.append(
            "The size of this model is not known, so time and memory are not either. A short test run measures them."
        )
    if shape is not None and shape.is_guess:
        said.append("Memory is reckoned for a usual model of this size: its own shape is not known here.")
    if least < 1:
        said.append("It may stop by itself after about half of the passes, when it no longer improves.")
    return said
