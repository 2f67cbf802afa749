"""Answers from models in this process: one base in memory, its adapters on top, callers batched together.

Each base model has one thread of its own (see ``base_worker``), so nothing on the torch module ever overlaps. A caller only
puts a ticket in that thread's line and is told what comes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError
from finetune_engine.serve.backends.base_worker import MAX_ADAPTERS, MAX_ROWS, BaseWorker
from finetune_engine.serve.backends.models import ModelFiles
from finetune_engine.serve.backends.tickets import Errand, Ticket
from finetune_engine.serve.embed import hidden_means
from finetune_engine.serve.exchange import Backend, CompletionRequest, Embedded, Tell
from finetune_engine.train.local.device import choose_device
from finetune_engine.train.local.load import LoadedModel

__all__ = ["InProcessBackend", "ModelFiles"]

T = TypeVar("T")

EMBEDDED_AT_ONCE = 64
"""Texts whose hidden states are read in one go: whoever is being answered waits as long."""


class InProcessBackend(Backend):
    """Answers with models from this machine's disk. Safe to call from many threads.

    ``resolve`` finds the files of a model id and raises UserError (status 404) for one it does not know.
    At most ``max_models`` bases stay in memory; the least recently used is retired for a new one.
    """

    def __init__(
        self,
        resolve: Callable[[str], ModelFiles],
        *,
        max_models: int = 2,
        max_adapters: int = MAX_ADAPTERS,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._resolve = resolve
        self._max_models, self._max_adapters, self._max_rows = max_models, max_adapters, max_rows
        self._workers: OrderedDict[BaseModelRef, BaseWorker] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """Put a request in line; ``tell`` hears of everything, from another thread. Raises what ``resolve`` raises."""
        self.answer(self._resolve(request.model), request, cancelled, tell)

    def answer(self, files: ModelFiles, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """The same for files that are known."""
        self._hand_over(Ticket(request, files, cancelled, tell))

    def load(self, model_id: str) -> str:
        """Bring a model into memory; the SHA-256 of its chat template. Blocks. Raises UserError 404 and EngineError."""
        return self.load_files(self._resolve(model_id))

    def load_files(self, files: ModelFiles) -> str:
        """The same for files that are known."""
        return self._errand(files, lambda loaded: loaded.template_sha256)

    def embed_files(self, files: ModelFiles, texts: Sequence[str]) -> Embedded:
        """The mean of the model's last hidden states over each text, of length 1. Blocks. Raises EngineError."""
        groups = [texts[start : start + EMBEDDED_AT_ONCE] for start in range(0, len(texts), EMBEDDED_AT_ONCE)]
        made = [self._errand(files, partial(hidden_means, texts=group)) for group in groups]
        return Embedded([vector for one in made for vector in one.vectors], sum(one.prompt_tokens for one in made))

    def facts(self) -> dict[str, Any]:
        """What ``/health`` tells besides: the device, and the memory held."""
        return {"device": str(choose_device()), "backends": ["in_process"], "memory_bytes": memory_bytes()}

    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything."""
        with self._lock:
            workers = list(self._workers.values())
        return sorted({model_id for worker in workers for model_id in worker.ready})

    def close(self) -> None:
        """Let all workers finish what is in line and free their memory."""
        with self._lock:
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.retire()

    def _errand(self, files: ModelFiles, act: Callable[[LoadedModel], T]) -> T:
        errand = Errand(files, act)
        self._hand_over(errand)
        return errand.done.result()

    def _hand_over(self, work: Ticket | Errand[Any]) -> None:
        with self._lock:
            ref = work.files.base
            worker = self._workers.get(ref)
            if worker is None or not worker.submit(work):
                worker = self._new_worker(ref)
                if not worker.submit(work):
                    raise EngineError("internal", "a new worker takes no work")
            self._workers.move_to_end(ref)

    def _new_worker(self, ref: BaseModelRef) -> BaseWorker:
        leaving = self._workers.pop(ref, None)  # one whose thread has failed
        if leaving is None and len(self._workers) >= self._max_models:
            _, leaving = self._workers.popitem(last=False)
            leaving.retire()
        # The new base is loaded only once the old one's memory is free.
        after = leaving.finished if leaving is not None else None
        worker = BaseWorker(ref, after=after, max_adapters=self._max_adapters, max_rows=self._max_rows)
        self._workers[ref] = worker
        worker.start()
        return worker


def memory_bytes() -> int:
    """Memory held by the models: the GPU's as torch counts it, else all of this process (0 where nobody can tell)."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
