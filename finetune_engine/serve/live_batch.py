"""Answers written together: rows join while others are under way, and leave when they are done.

One step of the model serves every row, whoever asked, so ten callers wait little longer than one. Rows keep
their own length, sampling and end; the key-value caches are padded on the left to a common width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from finetune_engine.generate import Detokeniser, Writing
from finetune_engine.serve.exchange import Alternative, CompletionRequest, Delta, Token
from finetune_engine.train.local.load import LoadedModel


@dataclass
class LiveRow:
    """One choice of one request while it is written.

    ``pending`` tokens wait for their text to be safe to show; ``told_text`` counts the characters of those told.
    """

    request: CompletionRequest
    index: int
    writing: Writing
    pending: list[Token] = field(default_factory=list)
    told_text: int = 0
    counts: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, request: CompletionRequest, index: int, loaded: LoadedModel, prompt: list[int], limit: int) -> LiveRow:
        """A row about to begin. With a seed, choice ``index`` samples the same whatever else is in the batch."""
        generator = None
        if request.seed is not None:
            generator = torch.Generator().manual_seed((request.seed + index) % 2**63)
        detokeniser = Detokeniser(loaded.tokenizer, prompt)
        writing = Writing(index, prompt, detokeniser, request.stop, limit, generator)
        return cls(request, index, writing)

    def take(self, token: int, logprob: float, rivals: tuple[Alternative, ...], eos: Sequence[int]) -> Delta | None:
        """Add a token; the piece that can be told now, or None while text is held back."""
        writing = self.writing
        before = len(writing.text) + len(writing.held)
        kept = len(writing.ids)
        out = writing.add(token, logprob, eos)
        if len(writing.ids) > kept:
            self.counts[token] += 1
            self.pending.append(Token((writing.text + writing.held)[before:], logprob, rivals))
        if not out and writing.finish is None:
            return None
        finish = None if writing.finish == "cancelled" else writing.finish
        return Delta(self.index, out, self._settled(was_end=token in eos), finish)

    def _settled(self, *, was_end: bool) -> tuple[Token, ...]:
        """Tokens whose text is wholly out; after a stop text, those that reach into the answer."""
        cut = len(self.writing.text)
        settled: list[Token] = []
        while self.pending:
            end = self.told_text + len(self.pending[0].text)
            stopped = self.writing.finish == "stop" and not was_end
            if (stopped and self.told_text >= cut) or (self.writing.finish is None and end > cut):
                break
            settled.append(self.pending.pop(0))
            self.told_text = end
        return tuple(settled)


class LiveBatch:
    """Rows of one model in the middle of their answers. Not thread-safe: one thread owns it."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.rows: list[LiveRow] = []
        self._cache: Any = None
        self._mask = torch.zeros((0, 0), dtype=torch.long)
        self._next: torch.Tensor | None = None
        self.can_join = all(type(layer) is DynamicLayer for layer in self._new_cache().layers)
        """Whether rows may join others that are under way (not with sliding windows or recurrent states)."""

    def _new_cache(self) -> Any:
        return DynamicCache(config=self.loaded.model.config)

    def add(self, rows: Sequence[LiveRow]) -> None:
        """Read the prompts of new rows, together. The batch must be empty unless ``can_join``."""
        prompts = [row.writing.prompt for row in rows]
        width = max(map(len, prompts))
        ids = torch.full((len(rows), width), self.loaded.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, prompt in enumerate(prompts):
            ids[number, width - len(prompt) :] = torch.tensor(prompt)
            mask[number, width - len(prompt) :] = 1
        cache = self._new_cache()
        mask = mask.to(self.loaded.device)
        logits = self._forward(ids.to(self.loaded.device), mask, cache)
        if self.rows and self._next is not None:
            cache, mask = _side_by_side(self._cache, self._mask, cache, mask)
            logits = torch.cat([self._next, logits])
        self._cache, self._mask, self._next = cache, mask, logits
        self.rows.extend(rows)

    def step(self) -> list[tuple[LiveRow, Delta]]:
        """One more token for every row; the pieces that can be told. Finished rows leave the batch."""
        if not self.rows or self._next is None:
            return []
        logprobs = torch.log_softmax(self._next.float(), dim=-1).cpu()
        chosen = [choose(logprobs[number], row) for number, row in enumerate(self.rows)]
        told = []
        for number, (row, token) in enumerate(zip(self.rows, chosen, strict=True)):
            rivals = self._rivals(logprobs[number], row.request.top_logprobs or 0)
            delta = row.take(token, float(logprobs[number, token]), rivals, self.loaded.eos_token_ids)
            if delta is not None:
                told.append((row, delta))
        tokens = torch.tensor(chosen, dtype=torch.long)
        self._keep([number for number, row in enumerate(self.rows) if row.writing.finish is None], tokens)
        return told

    def drop(self, leaving: Sequence[LiveRow]) -> None:
        """Take out rows whose caller has gone. To be called between steps."""
        gone = {id(row) for row in leaving}
        staying = [number for number, row in enumerate(self.rows) if id(row) not in gone]
        if len(staying) == len(self.rows):
            return
        if staying and self._next is not None:
            keep = torch.tensor(staying, device=self._mask.device)
            self._cache.batch_select_indices(keep)
            self._mask, self._next = self._mask[keep], self._next[keep]
        self.rows = [self.rows[number] for number in staying]
        if not self.rows:
            self.clear()

    def clear(self) -> None:
        """Forget every row and free their memory."""
        self.rows, self._cache, self._next = [], None, None

    def _keep(self, staying: list[int], tokens: torch.Tensor) -> None:
        """Carry on with the rows that are not done: feed them the token just chosen."""
        if not staying:
            self.clear()
            return
        if len(staying) < len(self.rows):
            keep = torch.tensor(staying, device=self._mask.device)
            self._cache.batch_select_indices(keep)
            self._mask, tokens = self._mask[keep], tokens[staying]
            self.rows = [self.rows[number] for number in staying]
            self._trim()
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(staying), 1))], dim=1)
        self._next = self._forward(tokens[:, None].to(self.loaded.device), self._mask, self._cache)

    def _trim(self) -> None:
        """Drop padding that no row needs any more (the longest prompt has left)."""
        spare = int(self._mask.argmax(dim=1).min())
        if spare and self.can_join:
            self._mask = self._mask[:, spare:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, spare:], layer.values[:, :, spare:]

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits of the next token, ``(rows, vocabulary)``. ``mask`` covers what is cached and ``ids``."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self.loaded.activate()(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _rivals(self, logprobs: torch.Tensor, count: int) -> tuple[Alternative, ...]:
        if count < 1:
            return ()
        values, ids = logprobs.topk(min(count, logprobs.shape[-1]))
        decode = self.loaded.tokenizer.decode
        return tuple(
            Alternative(str(decode([token])), value) for token, value in zip(ids.tolist(), values.tolist(), strict=True)
        )


def choose(logprobs: torch.Tensor, row: LiveRow) -> int:
    """The next token of one row, from the model's log-probabilities ``(vocabulary,)`` at temperature 1."""
    request = row.request
    scores = logprobs
    if request.logit_bias or (row.counts and (request.presence_penalty or request.frequency_penalty)):
        scores = logprobs.clone()
        for token, bias in request.logit_bias.items():
            if token < len(scores):
                scores[token] += bias
        for token, count in row.counts.items():
            scores[token] -= request.presence_penalty + count * request.frequency_penalty
    if request.temperature <= 0:
        return int(scores.argmax())
    probabilities = torch.softmax(scores / request.temperature, dim=-1)
    if request.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        # A token stays while those before it hold less than top_p: the likeliest always stays.
        ordered[(ordered.cumsum(-1) - ordered) >= request.top_p] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered)
    return int(torch.multinomial(probabilities, 1, generator=row.writing.generator))


def _side_by_side(
    first: Any, first_mask: torch.Tensor, second: Any, second_mask: torch.Tensor
) -> tuple[Any, torch.Tensor]:
    """Two batches' caches as one, the narrower padded on the left (where the mask hides it)."""
    width = max(first_mask.shape[1], second_mask.shape[1])
    layers = []
    for (keys, values, *_), (other_keys, other_values, *_) in zip(first, second, strict=True):
        layers.append(
            (
                torch.cat([_widen(keys, width, 2), _widen(other_keys, width, 2)]),
                torch.cat([_widen(values, width, 2), _widen(other_values, width, 2)]),
            )
        )
    return DynamicCache(layers), torch.cat([_widen(first_mask, width, 1), _widen(second_mask, width, 1)])


def _widen(block: torch.Tensor, width: int, axis: int) -> torch.Tensor:
    missing = width - block.shape[axis]
    if missing == 0:
        return block
    shape = list(block.shape)
    shape[axis] = missing
    return torch.cat([block.new_zeros(shape), block], dim=axis)
