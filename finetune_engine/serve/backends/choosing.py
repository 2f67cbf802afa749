"""The backend in front of all others: each model is answered by the one that its serving id stands for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.backends.base_worker import MAX_ADAPTERS, MAX_ROWS
from finetune_engine.serve.backends.in_process import InProcessBackend
from finetune_engine.serve.backends.models import ModelFiles, RemoteModel, Resolve, Served
from finetune_engine.serve.backends.openai_http import OpenAIHttpBackend
from finetune_engine.serve.backends.vllm import VllmBackend
from finetune_engine.serve.backends.vllm_server import VllmSettings
from finetune_engine.serve.embed import HIDDEN, MINILM, MinilmEmbedder, available_embedders
from finetune_engine.serve.exchange import Backend, CompletionRequest, Embedded, Tell

__all__ = ["ChoosingBackend", "VllmSettings"]

KNOWN_SECONDS = 0.5
"""How long what a serving id stands for is taken as known. A retired model is answered for so long at most."""
RESOLVERS = 8


class ChoosingBackend(Backend):
    """Answers with models of this process, of vLLM and of servers elsewhere. Safe to call from many threads.

    ``resolve`` may block (it looks into a database) and is called in a thread of its own. ``vllm`` None: there is none.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        max_models: int = 2,
        max_adapters: int = MAX_ADAPTERS,
        max_rows: int = MAX_ROWS,
        vllm: VllmSettings | None = None,
    ) -> None:
        self._resolve = resolve
        self._known: dict[str, tuple[float, Served]] = {}
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._here = InProcessBackend(self._files, max_models=max_models, max_adapters=max_adapters, max_rows=max_rows)
        self._http = OpenAIHttpBackend()
        self._vllm = VllmBackend(vllm or VllmSettings(), self._http)
        self._minilm = MinilmEmbedder()

    def submit(self, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """Answer; ``tell`` hears of everything, from another thread, errors included. Never blocks."""
        served = self._remembered(request.model)
        if served is not None:
            self._answer(served, request, cancelled, tell)
        else:
            self._threads.submit(self._look_up, request, cancelled, tell)

    def load(self, model_id: str) -> str | None:
        """Make a model ready to answer; the SHA-256 of its chat template, None where it lies elsewhere. Blocks.

        Raises UserError 404 for an unknown one and EngineError when it cannot be loaded.
        """
        served = self._resolve(model_id)
        if isinstance(served, RemoteModel):
            return None
        return self._vllm.load(served) if served.backend == "vllm" else self._here.load_files(served)

    def embed(self, model_id: str, texts: Sequence[str]) -> Embedded:
        """Vectors of length 1, by ``embed:minilm`` or ``hidden:`` and a serving id. Blocks.

        Raises UserError (404 for an unknown embedder, 400 for a model whose hidden states cannot be seen) and EngineError.
        """
        if model_id == MINILM:
            return self._minilm.embed(texts)
        if not model_id.startswith(HIDDEN):
            raise UserError(
                "model_not_found",
                f"The embedder '{model_id}' does not exist. There are: {MINILM}, and {HIDDEN} before the id of a model.",
                "model",
                reason="model_unavailable",
                status=404,
            )
        served = self._resolve(model_id.removeprefix(HIDDEN))
        if isinstance(served, RemoteModel):
            sentence = "The hidden states of a model behind an address cannot be seen. Choose another embedder."
            raise UserError("unsupported_model", sentence, "model", reason="bad_config", status=400)
        # vLLM shows none either, but the files are here.
        return self._here.embed_files(replace(served, backend="in_process"), texts)

    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything (those elsewhere always would: they are not told)."""
        return sorted({*self._here.loaded_models(), *self._vllm.loaded_models()})

    def backends(self) -> dict[str, bool]:
        """Which backends could answer here."""
        return {"in_process": True, "vllm": self._vllm.is_available, "openai_http": True}

    def facts(self) -> dict[str, Any]:
        """What ``/health`` tells besides."""
        names = [name for name, is_available in self.backends().items() if is_available]
        return self._here.facts() | {"backends": names, "embedders": available_embedders()}

    def close(self) -> None:
        """End everything that was started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._here.close()
        self._vllm.close()
        self._http.close()
        self._minilm.close()

    def _look_up(self, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        try:
            served = self._resolve(request.model)
        except Exception as problem:  # the front door of this thread: the caller is told
            tell(problem)
            return
        self._known[request.model] = (time.monotonic() + KNOWN_SECONDS, served)
        if cancelled.is_set():
            tell(None)
        else:
            self._answer(served, request, cancelled, tell)

    def _remembered(self, model_id: str) -> Served | None:
        until, served = self._known.get(model_id, (0.0, None))
        return served if time.monotonic() < until else None

    def _answer(self, served: Served, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        try:
            if isinstance(served, RemoteModel):
                self._http.submit(served, request, cancelled, tell)
            elif served.backend == "vllm":
                self._vllm.submit(served, request, cancelled, tell)
            else:
                self._here.answer(served, request, cancelled, tell)
        except Exception as problem:  # a backend that is being closed: the caller is told
            tell(problem)

    def _files(self, model_id: str) -> ModelFiles:
        served = self._resolve(model_id)
        if isinstance(served, RemoteModel):
            raise EngineError("internal", f"{model_id} lies elsewhere")
        return served
