"""Suite ``performance``: how fast a model answers, one caller at a time and many at once."""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finetune_engine.evaluate.asking.asker import Asker, Messages
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult
from finetune_engine.ports import Clock

BATCH_SIZES = (1, 10, 50, 100)
SINGLE_CALLS = 20
FEWEST_CALLS = 5
LONGEST_ANSWER = 64
BUDGET_SECONDS = 60.0
"""Larger batches are left out, and named, once a model has been measured for this long."""
OVER_THE_WIRE = "The model is at an endpoint: only single calls are timed there, the way through the network included."
AS_FAST = 0.95
"""Below this share of the other model's speed, a model counts as slower."""


@dataclass(frozen=True)
class Throughput:
    """One batch size. ``throughput`` is answers per second, ``avg_latency`` seconds until the batch is done."""

    batch_size: int
    throughput: float
    tokens_per_second: float
    avg_latency: float


class Performance:
    """Latency, throughput by batch size, time to the first token, tokens per second, peak memory."""

    name = "performance"

    def questions(self, bench: Bench) -> int:
        """Single calls and the rows of all batches."""
        return SINGLE_CALLS + sum(BATCH_SIZES)

    def observe(self, bench: Bench, asker: Asker) -> dict[str, Any]:
        """Time greedy answers to the cases' questions, past the answer store. Answers are at most LONGEST_ANSWER tokens."""
        from finetune_engine.evaluate.asking.endpoint import EndpointAsker
        from finetune_engine.evaluate.asking.local import LocalAsker

        questions = [case.messages for case in bench.cases.test[: max(BATCH_SIZES)]]
        limit = min(bench.max_new_tokens, LONGEST_ANSWER)
        if isinstance(asker, EndpointAsker):
            seen = _over_the_wire(asker, questions, limit, bench)
        elif isinstance(asker, LocalAsker):
            prompts = asker.prompts(questions, max_new_tokens=limit)
            seen = measure_performance(
                asker.loaded, prompts, max_new_tokens=limit, clock=bench.run.clock, between=bench.check
            )
        else:
            seen = _unknown("Nobody knows how to time this kind of model.")
        if seen["avg_latency"] is not None:
            bench.seconds_per_answer[asker.spec.key] = seen["avg_latency"]
        return seen

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """The subject's figures on top, everybody's beside them. The score is the subject's speed as a share of that of the
        model it is compared with: 1.0 for as fast or faster."""
        spec = bench.spec
        section = {**observed[spec.subject], "by_model": dict(observed)}
        mine = observed[spec.subject]["avg_latency"]
        other = observed[spec.against]["avg_latency"] if spec.against is not None else None
        if not mine:
            return SuiteResult(section, None, observed[spec.subject]["reason"])
        if not other:
            return SuiteResult(section, None, "There is no other model whose speed it could be compared with.")
        share = other / mine
        return SuiteResult(section, min(1.0, share), None, [_finding(bench, mine, other)])


def measure_performance(
    loaded: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    clock: Clock,
    between: Callable[[], object],
) -> dict[str, Any]:
    """Latencies in seconds, throughput by batch size, time to first token, tokens per second, peak memory (bytes).

    ``loaded`` is a ``train.local.load.LoadedModel``. Prompts are repeated where a batch needs more. ``between`` is called
    between measurements, so that a run can be stopped there.
    """
    started = clock.monotonic()
    latencies, firsts, tokens = _single_calls(loaded, prompts, max_new_tokens, clock, between)
    tests, left_out = [], []
    for size in BATCH_SIZES:
        between()
        if clock.monotonic() - started > BUDGET_SECONDS:
            left_out.append(size)
            continue
        tests.append(_throughput(loaded, prompts, size, max_new_tokens, clock))
    return {
        **_latencies(latencies),
        "time_to_first_token": statistics.fmean(firsts),
        "tokens_per_second": tokens / sum(latencies) if sum(latencies) > 0 else None,
        "max_new_tokens": max_new_tokens,
        "throughput_tests": [asdict(test) for test in tests],
        "batch_sizes_left_out": left_out,
        "peak_memory_bytes": _peak_memory(loaded.device),
        "reason": None,
    }


def _single_calls(
    loaded: Any, prompts: Sequence[Sequence[int]], limit: int, clock: Clock, between: Callable[[], object]
) -> tuple[list[float], list[float], int]:
    """Seconds of each call and until its first token, and how many tokens came in all."""
    from finetune_engine.generate import stream

    started = clock.monotonic()
    list(stream(loaded, prompts[0], max_new_tokens=2))  # the first call pays for warming up
    latencies, firsts, tokens = [], [], 0
    for number in range(SINGLE_CALLS):
        between()
        began = clock.monotonic()
        for position, token in enumerate(stream(loaded, prompts[number % len(prompts)], max_new_tokens=limit)):
            if position == 0:
                firsts.append(clock.monotonic() - began)
            tokens += token.id is not None
        latencies.append(clock.monotonic() - began)
        if clock.monotonic() - started > BUDGET_SECONDS / 2 and number + 1 >= FEWEST_CALLS:
            break
    return latencies, firsts, tokens


def _over_the_wire(asker: Any, questions: Sequence[Messages], limit: int, bench: Bench) -> dict[str, Any]:
    latencies, tokens, clock = [], 0, bench.run.clock
    is_counted = True
    started = clock.monotonic()
    for number in range(SINGLE_CALLS):
        bench.check()
        answer, seconds = asker.timed(questions[number % len(questions)], max_new_tokens=limit)
        latencies.append(seconds)
        is_counted = is_counted and answer.completion_tokens is not None
        tokens += answer.completion_tokens or 0
        if clock.monotonic() - started > BUDGET_SECONDS and number + 1 >= FEWEST_CALLS:
            break
    return {
        **_unknown(OVER_THE_WIRE),
        **_latencies(latencies),
        "tokens_per_second": tokens / sum(latencies) if is_counted and sum(latencies) > 0 else None,
        "max_new_tokens": limit,
    }


def _unknown(reason: str) -> dict[str, Any]:
    names = ("avg_latency", "p50_latency", "p95_latency", "p99_latency", "calls", "time_to_first_token")
    more = ("tokens_per_second", "max_new_tokens", "peak_memory_bytes")
    return dict.fromkeys((*names, *more)) | {
        "throughput_tests": [],
        "batch_sizes_left_out": list(BATCH_SIZES),
        "reason": reason,
    }


def _latencies(seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "avg_latency": statistics.fmean(seconds),
        "p50_latency": _quantile(seconds, 0.50),
        "p95_latency": _quantile(seconds, 0.95),
        "p99_latency": _quantile(seconds, 0.99),
        "calls": len(seconds),
    }


def _throughput(loaded: Any, prompts: Sequence[Sequence[int]], size: int, limit: int, clock: Clock) -> Throughput:
    from finetune_engine.generate import generate_batch

    batch = [prompts[number % len(prompts)] for number in range(size)]
    began = clock.monotonic()
    answers = generate_batch(loaded, batch, max_new_tokens=limit, batch_rows=size)
    seconds = max(1e-9, clock.monotonic() - began)
    tokens = sum(len(answer.token_ids) for answer in answers)
    return Throughput(size, size / seconds, tokens / seconds, seconds)


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _peak_memory(device: Any) -> int:
    """Peak bytes of this process since it began (of the GPU, where one is used)."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _finding(bench: Bench, mine: float, other: float) -> dict[str, str]:
    against = bench.spec.model(bench.spec.against or "").name
    text = f"One answer takes {_seconds(mine)}"
    if mine * AS_FAST > other:
        return {
            "tone": "warn",
            "text": f"{text}, {mine / other:.1f} times as long as with {against} ({_seconds(other)}).",
        }
    if mine < other * AS_FAST:
        return {"tone": "ok", "text": f"{text}, less than with {against} ({_seconds(other)})."}
    return {"tone": "ok", "text": f"{text}, as with {against}."}


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
