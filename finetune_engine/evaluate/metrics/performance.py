"""How fast a model answers: one caller at a time, and many at once."""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from finetune_engine.generate import generate_batch, stream
from finetune_engine.ports import Clock
from finetune_engine.train.local.load import LoadedModel

BATCH_SIZES = (1, 10, 50, 100)
SINGLE_CALLS = 20
LONGEST_ANSWER = 64
BUDGET_SECONDS = 60.0
"""Larger batches are left out, and named, once a model has been measured for this long."""


@dataclass(frozen=True)
class Throughput:
    """One batch size. ``throughput`` is answers per second, ``avg_latency`` seconds until the batch is done."""

    batch_size: int
    throughput: float
    tokens_per_second: float
    avg_latency: float


def measure_performance(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    clock: Clock,
    between: Callable[[], object],
) -> dict[str, Any]:
    """Latencies in seconds, throughput by batch size, time to first token, tokens per second, peak memory.

    Greedy answers to the test prompts (repeated where a batch needs more), at most LONGEST_ANSWER tokens.
    ``between`` is called between measurements, so that a run can be stopped there.
    """
    limit = min(max_new_tokens, LONGEST_ANSWER)
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
        if clock.monotonic() - started > BUDGET_SECONDS / 2 and number >= 4:
            break
    tests, left_out = [], []
    for size in BATCH_SIZES:
        between()
        if clock.monotonic() - started > BUDGET_SECONDS:
            left_out.append(size)
            continue
        tests.append(_throughput(loaded, prompts, size, limit, clock))
    return {
        "avg_latency": statistics.fmean(latencies),
        "p50_latency": _quantile(latencies, 0.50),
        "p95_latency": _quantile(latencies, 0.95),
        "p99_latency": _quantile(latencies, 0.99),
        "time_to_first_token": statistics.fmean(firsts),
        "tokens_per_second": tokens / sum(latencies) if sum(latencies) > 0 else None,
        "calls": len(latencies),
        "max_new_tokens": limit,
        "throughput_tests": [asdict(test) for test in tests],
        "batch_sizes_left_out": left_out,
        "peak_memory_bytes": _peak_memory(loaded.device),
    }


def _throughput(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], size: int, limit: int, clock: Clock
) -> Throughput:
    batch = [prompts[number % len(prompts)] for number in range(size)]
    began = clock.monotonic()
    answers = generate_batch(loaded, batch, max_new_tokens=limit)
    seconds = max(1e-9, clock.monotonic() - began)
    tokens = sum(len(answer.token_ids) for answer in answers)
    return Throughput(size, size / seconds, tokens / seconds, seconds)


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _peak_memory(device: torch.device) -> int:
    """Peak bytes of this process since it began (of the GPU, where one is used)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
