"""When memory is full, how much is in use, and how much a training will need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

from finetune_engine.catalogue.memory import MemoryPlan, memory_need
from finetune_engine.catalogue.shape import shape_of_folder
from finetune_engine.errors import EngineError, FailureReason
from finetune_engine.ports import Run
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.setting_checks import WITH_EMBEDDINGS
from finetune_engine.train.spec import EffectiveSpec

T = TypeVar("T")
WHERE = {"oom_gpu": "The GPU's memory", "oom_host": "The computer's memory"}
ADVICE = "Use a smaller model, a shorter maximum length or 'qlora' as the kind of training."


def memory_in_use(device: torch.device) -> int:
    """Bytes: the most that was allocated on a GPU so far, else what this process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def full_memory(problem: BaseException) -> FailureReason | None:
    """Which memory was full, when that is what ``problem`` says."""
    if isinstance(problem, torch.OutOfMemoryError):
        return "oom_gpu"
    words = str(problem).lower()
    if isinstance(problem, MemoryError) or "can't allocate memory" in words or "not enough memory" in words:
        return "oom_host"
    return None


def with_less_at_once(run: Run | None, attempt: Callable[[int], T], budget: int, *, longest: int, used: int) -> T:
    """``attempt(tokens at once)``, halved each time that memory is full: more, smaller batches give the same.

    ``longest`` row and ``used`` tokens of all rows bound how far halving helps. Raises EngineError ``oom_gpu`` or
    ``oom_host`` when not even one row fits.
    """
    while True:
        try:
            return attempt(budget)
        except (RuntimeError, MemoryError) as problem:
            reason = full_memory(problem)
            if reason is None:
                raise
            full = problem.with_traceback(None)  # its frames hold the tensors that fill the memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        budget = min(budget, used) // 2
        if budget < longest:
            sentence = f"{WHERE[reason]} is too small for one example. {ADVICE}"
            raise EngineError(reason, sentence, {"longest": longest, "error": str(full)[:500]})
        if run is not None:
            message = f"{WHERE[reason]} was full: going on with smaller batches, which learn the same."
            run.emit("warn", code=reason, message=message)


def is_tight(loaded: LoadedModel, spec: EffectiveSpec) -> bool:
    """Whether the GPU might not hold the training without gradient checkpointing, by the estimate's upper end.

    The model is loaded already; what it holds is not counted again. Never on a processor, where the operating system
    has room to give, and not where the shape of the model is unknown.
    """
    shape = shape_of_folder(loaded.folder)
    if loaded.device.type != "cuda" or shape is None:
        return False
    targets = spec.target_modules
    need = memory_need(
        shape,
        MemoryPlan(
            tokens=spec.tokens_per_micro_batch,
            scored=spec.tokens_per_micro_batch,
            eval_tokens=spec.tokens_per_eval_batch,
            eval_scored=spec.tokens_per_eval_batch,
            peft=spec.asked.peft,
            r=spec.asked.r,
            precision=spec.precision,
            targets=tuple(targets) if isinstance(targets, list) else None,
            with_embeddings=targets == WITH_EMBEDDINGS,
            device="cuda",
        ),
    )
    free, _total = torch.cuda.mem_get_info(loaded.device)
    return need.total.high - need.weights.high - need.overhead.low > free
