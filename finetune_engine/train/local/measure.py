"""A short test run: the steps, the check and the answers of a training that ask most of a machine, and usual ones.

The longest texts come first: what does not fit shows there. Of a full memory the largest amount of tokens that did
fit is found by halving, as the training itself would do.
"""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.generate import BATCH_ROWS, generate_batch
from finetune_engine.ports import Run
from finetune_engine.train.local.adapters import make_trainable
from finetune_engine.train.local.checkpoints import trained_parameters
from finetune_engine.train.local.device import use_threads
from finetune_engine.train.local.encode import AnswerTooLong, Encoded
from finetune_engine.train.local.examples import SnapshotRow, check_snapshot, read_rows
from finetune_engine.train.local.forward import flat_layout, usual_attention
from finetune_engine.train.local.fused import fused_lora
from finetune_engine.train.local.kernels import use_gpu_kernels
from finetune_engine.train.local.lesson import Lesson
from finetune_engine.train.local.load import LoadedModel, SharedModule, load_base
from finetune_engine.train.local.memory import full_memory, memory_in_use
from finetune_engine.train.local.objectives.choice import objective_of
from finetune_engine.train.local.objectives.objective import Limits
from finetune_engine.train.local.parent import read_parent
from finetune_engine.train.local.record import device_name
from finetune_engine.train.local.settle import settle
from finetune_engine.train.spec import EffectiveSpec, RunSpec

LONGEST_ROWS = 64
USUAL_ROWS = 256
WORST_STEPS = 2
USUAL_STEPS = 4
ANSWER_TOKENS = 32
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Probe:
    """What was measured. Seconds and bytes; None where it did not come to that.

    ``seconds_to_first_step`` counts from the start of the process, ``step_seconds`` is a usual step's, and
    ``tokens_per_second`` those of usual steps. ``fits`` says whether training and check work with the batch sizes asked
    for; ``batch_tokens`` is the most at once that worked (0: not even one row), ``problem`` says in words what did not.
    """

    device: str
    precision: str
    threads: int
    load_seconds: float
    longest_tokens: int
    fits: bool
    batch_tokens: int
    problem: str | None
    seconds_to_first_step: float | None = None
    step_seconds: float | None = None
    tokens_per_second: float | None = None
    evaluate_seconds: float | None = None
    answer_tokens_per_second: float | None = None
    peak_bytes_train: int | None = None
    peak_bytes_evaluate: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Every field as a JSON value."""
        return asdict(self)


def measure(run: Run, spec: RunSpec, *, started: float) -> Probe:
    """Carry out the test run; ``started`` is when the process began, on the run's clock.

    Raises UserError and EngineError as a training's first stages do, but not for memory.
    """
    run.emit("phase", phase="validating")
    ref = BaseModelRef.from_dict(spec.base_model)
    parent = read_parent(Path(spec.continue_from)) if spec.continue_from else None
    asked = parent.settings(spec.training) if parent else spec.training
    n = max(1, check_snapshot(spec.snapshot).counts.get("train", 0))
    run.boundary()
    run.emit("phase", phase="loading model")
    threads = use_threads(spec.threads)
    begun = run.clock.monotonic()
    loaded = load_base(parent.base(ref) if parent else ref, precision=asked.precision, four_bit=asked.peft == "qlora")
    use_gpu_kernels(loaded.model, loaded.device)
    if parent:
        loaded = parent.spoken(loaded)
    load_seconds = run.clock.monotonic() - begun
    run.boundary()
    run.emit("phase", phase="preparing data")
    objective = objective_of(asked)
    limits = Limits(settle(asked, loaded, n, longest=None).max_length, learn_prompt=not asked.completion_only_loss)
    rows = _rows(spec, lambda row: objective.encode(loaded, row, limits))
    longest = max(len(text.input_ids) for row in rows for text in objective.sequences(row))
    settled = settle(asked, loaded, n, longest=longest)
    model = make_trainable(loaded, settled)
    if parent:
        parent.teach(model)
    texts = [text for row in rows for text in objective.sequences(row)]
    flat_wanted = flat_layout(model, texts[:LONGEST_ROWS], wanted=settled.packing, dtype=loaded.dtype)
    with flat_wanted as flat, fused_lora(model):
        lesson = Lesson(
            model=model,
            objective=objective,
            train=rows,
            valid=rows,
            spec=settled,
            device=loaded.device,
            dtype=loaded.dtype,
            pad_id=loaded.pad_token_id,
            flat=flat,
            checkpoints=Path(),
            facts={},
        )
        trial = Trial(run, lesson, loaded, started)
        trial.carry_out()
    return trial.probe(load_seconds, threads, settled, longest)


def _rows(spec: RunSpec, encode: Callable[[SnapshotRow], Any]) -> list[Any]:
    """The longest rows that are trained on (by characters, the longest first) and usual ones, encoded.

    Raises UserError when none can be used.
    """
    held = [row for row in read_rows(spec.snapshot) if row.split == "train"]
    held.sort(key=lambda row: -sum(len(str(message.get("content") or "")) for message in row.messages))
    usual = held[LONGEST_ROWS:]
    chosen = held[:LONGEST_ROWS] + random.Random(spec.training.seed).sample(usual, min(USUAL_ROWS, len(usual)))
    rows: list[Any] = []
    for row in chosen:
        try:
            rows.append(encode(row))
        except AnswerTooLong:
            continue
    if not rows:
        raise UserError("no_examples", "There is no example to measure with.", field="snapshot")
    return rows


class Trial:
    """The steps of a test run and what they showed so far."""

    def __init__(self, run: Run, lesson: Lesson, loaded: LoadedModel, started: float) -> None:
        self._run, self._lesson, self._loaded, self._started = run, lesson, loaded, started
        sizes = [sum(len(text.input_ids) for text in lesson.objective.sequences(row)) for row in lesson.train]
        self._order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
        self._sizes = sizes
        self._found: dict[str, Any] = {"fits": True, "problem": None, "batch_tokens": 0}
        self._done = 0

    def carry_out(self) -> None:
        """All parts, as far as memory goes."""
        spec = self._lesson.spec
        parameters = [parameter for _, parameter in trained_parameters(self._lesson.model)]
        optimizer = torch.optim.AdamW(parameters, lr=spec.learning_rate, fused=True)
        self._run.emit("phase", phase="measuring training")
        budget = self._largest(spec.tokens_per_micro_batch, lambda tokens: self._worst(optimizer, tokens))
        budget = self._largest(budget, lambda tokens: self._usual(optimizer, tokens)) if budget else 0
        self._found["batch_tokens"] = budget
        if budget == 0:
            return
        self._found["peak_bytes_train"] = self._peak()
        optimizer.zero_grad(set_to_none=True)
        self._run.emit("phase", phase="measuring evaluation")
        self._largest(spec.tokens_per_eval_batch, self._check)
        self._found["peak_bytes_evaluate"] = self._peak()

    def probe(self, load_seconds: float, threads: int, settled: EffectiveSpec, longest: int) -> Probe:
        """What was found."""
        return Probe(
            device=device_name(self._loaded.device),
            precision=settled.precision,
            threads=threads,
            load_seconds=round(load_seconds, 3),
            longest_tokens=longest,
            **self._found,
        )

    def _largest(self, tokens: int, attempt: Callable[[int], None]) -> int:
        """The most tokens at once, halved from ``tokens``, with which ``attempt`` works; 0 when none does."""
        least = self._sizes[self._order[0]]
        while True:
            try:
                attempt(tokens)
            except (RuntimeError, MemoryError, EngineError) as problem:
                reason = problem.reason if isinstance(problem, EngineError) else full_memory(problem)
                if reason not in ("oom_gpu", "oom_host"):
                    raise
            else:
                return tokens
            self._free()
            where = "The GPU's memory" if reason == "oom_gpu" else "The computer's memory"
            self._found |= {"fits": False, "problem": f"{where} is too small for {tokens} tokens at once."}
            if tokens <= least:
                return 0
            tokens = max(least, tokens // 2)

    def _worst(self, optimizer: torch.optim.Optimizer, tokens: int) -> None:
        """A full micro-batch of the longest rows, with the optimiser's memory filled."""
        for _ in range(WORST_STEPS):
            self._step(optimizer, self._fill(tokens), tokens)
            if "seconds_to_first_step" not in self._found:
                self._found["seconds_to_first_step"] = round(self._run.clock.monotonic() - self._started, 3)

    def _usual(self, optimizer: torch.optim.Optimizer, tokens: int) -> None:
        """Steps of rows as they come, timed; the first warms up."""
        seconds, read = [], []
        dice = random.Random(self._lesson.spec.asked.seed)
        for _ in range(USUAL_STEPS + 1):
            rows = [dice.randrange(len(self._sizes)) for _ in range(self._lesson.spec.examples_per_step)]
            begun = self._run.clock.monotonic()
            read.append(self._step(optimizer, rows, tokens))
            seconds.append(self._run.clock.monotonic() - begun)
        self._found["step_seconds"] = round(statistics.median(seconds[1:]), 4)
        self._found["tokens_per_second"] = round(sum(read[1:]) / max(sum(seconds[1:]), 1e-9), 1)

    def _step(self, optimizer: torch.optim.Optimizer, rows: Sequence[int], tokens: int) -> float:
        """One optimiser step; returns the tokens read."""
        self._run.boundary()
        lesson = self._lesson
        examples = [lesson.train[row] for row in rows]
        weight = max(1.0, lesson.objective.weight(examples))

        def backward(loss: torch.Tensor) -> None:
            (loss / weight).backward()  # type: ignore[no-untyped-call]

        optimizer.zero_grad(set_to_none=True)
        sums = lesson.objective.add_gradients(lesson, examples, budget=tokens, backward=backward)
        optimizer.step()
        if lesson.device.type == "cuda":
            torch.cuda.synchronize()
        self._done += 1
        self._run.emit("progress", done=self._done, total=WORST_STEPS + USUAL_STEPS + 1, unit="steps")
        return sums.tokens

    def _check(self, tokens: int) -> None:
        """One evaluation batch of the longest rows, and answers to the longest prompts."""
        lesson = self._lesson
        begun = self._run.clock.monotonic()
        rows = [lesson.train[row] for row in self._fill(tokens)]
        lesson.objective.judge(lesson, rows, budget=tokens, between=self._run.boundary)
        self._found["evaluate_seconds"] = round(self._run.clock.monotonic() - begun, 4)
        self._run.boundary()
        lesson.model.eval()
        speaking = replace(self._loaded, shared=SharedModule(lesson.model))
        prompts = [self._text(row).input_ids[: self._text(row).prompt_length] for row in self._order[:BATCH_ROWS]]
        begun = self._run.clock.monotonic()
        with usual_attention(lesson.model):
            answers = generate_batch(speaking, prompts, max_new_tokens=ANSWER_TOKENS, should_stop=lambda: False)
        seconds = max(self._run.clock.monotonic() - begun, 1e-9)
        lesson.model.train()
        written = sum(len(answer.token_ids) + 1 for answer in answers)
        self._found["answer_tokens_per_second"] = round(written / seconds, 1)

    def _text(self, row: int) -> Encoded:
        return self._lesson.objective.sequences(self._lesson.train[row])[0]

    def _fill(self, tokens: int) -> list[int]:
        """The longest rows, again and again, as many as fit into ``tokens`` together (at least one)."""
        chosen, used = [self._order[0]], self._sizes[self._order[0]]
        place = 1
        while used + self._sizes[self._order[place % len(self._order)]] <= tokens:
            chosen.append(self._order[place % len(self._order)])
            used += self._sizes[chosen[-1]]
            place += 1
        return chosen

    def _free(self) -> None:
        for parameter in self._lesson.model.parameters():
            parameter.grad = None
        if self._lesson.device.type == "cuda":
            torch.cuda.empty_cache()

    def _peak(self) -> int:
        """The most bytes in use since the last question."""
        device = self._lesson.device
        if device.type == "cuda":
            most = memory_in_use(device)
            torch.cuda.reset_peak_memory_stats(device)
            return most
        return _resident_peak() or memory_in_use(device)


def _resident_peak() -> int | None:
    """The most memory this process held since the last question; None where the system does not tell (only Linux)."""
    try:
        found = PEAK.search(Path("/proc/self/status").read_text(encoding="ascii"))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
