"""Full memory: smaller batches while they help, then a reason with advice."""

from __future__ import annotations

import pytest
import torch

from finetune_engine.errors import EngineError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.local.memory import memory_in_use, with_less_at_once

HOST_WORDS = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"


def fits(limit: int, problem: Exception, tried: list[int]) -> object:
    """An attempt that works with at most ``limit`` tokens at once."""

    def attempt(budget: int) -> int:
        tried.append(budget)
        if budget > limit:
            raise problem
        return budget

    return attempt


@pytest.mark.parametrize(
    ("problem", "code"),
    [(torch.OutOfMemoryError("full"), "oom_gpu"), (RuntimeError(HOST_WORDS), "oom_host"), (MemoryError(), "oom_host")],
    ids=["gpu", "host, torch", "host, python"],
)
def test_batches_are_halved_until_they_fit_with_a_word_each_time(
    run: Run, sink: ListSink, problem: Exception, code: str
) -> None:
    tried: list[int] = []
    attempt = fits(100, problem, tried)
    assert with_less_at_once(run, attempt, 1000, longest=50, used=600) == 75  # type: ignore[arg-type]
    assert tried == [1000, 300, 150, 75]
    assert [event.data["code"] for event in sink.events] == [code] * 3


def test_when_one_row_does_not_fit_the_reason_names_the_memory_and_the_way_out(run: Run) -> None:
    attempt = fits(10, MemoryError(), [])
    with pytest.raises(EngineError, match="qlora") as caught:
        with_less_at_once(run, attempt, 1000, longest=50, used=600)  # type: ignore[arg-type]
    assert caught.value.reason == "oom_host"


def test_another_mistake_is_not_taken_for_full_memory(run: Run) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        with_less_at_once(run, fits(1, RuntimeError("shapes differ"), []), 10, longest=1, used=10)  # type: ignore[arg-type]


def test_memory_in_use_counts_what_is_held() -> None:
    before = memory_in_use(torch.device("cpu"))
    held = torch.ones(50_000_000)
    assert memory_in_use(torch.device("cpu")) - before > 100_000_000
    assert held.sum() > 0
