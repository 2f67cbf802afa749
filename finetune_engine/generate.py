"""Let a model write: batches for evaluation, token by token for serving; and score given answers.

Batches are sorted by length and padded on the left, so that a batch gives the same tokens as one prompt at a
time. Log-probabilities are those of the model itself (temperature 1), whatever temperature was sampled at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from finetune_engine.errors import EngineError
from finetune_engine.growing_cache import cache_with_room
from finetune_engine.next_token import drawn, next_logits
from finetune_engine.train.local.load import LoadedModel

FinishReason = Literal["stop", "length", "cancelled"]
BATCH_ROWS = 16
BATCH_TOKENS = 8192
"""Tokens held at once while answers are written, prompts and the longest possible answers together."""
SCORE_TOKENS = 4096
UNFINISHED = "\ufffd"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the likeliest; a seed makes sampling repeatable."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Generated:
    """One answer. ``token_ids`` and ``logprobs`` are equally long and leave out the end token.

    ``finish_reason`` is ``stop`` (end token or stop string), ``length`` or ``cancelled``.
    """

    token_ids: list[int]
    text: str
    logprobs: list[float]
    finish_reason: FinishReason


@dataclass(frozen=True)
class Token:
    """One generated token. ``text`` is what it adds to the answer ("" while a character is incomplete).

    The last one of a stream carries ``finish_reason``; it has id None when no token is left to tell
    (held-back text only).
    """

    id: int | None
    text: str
    logprob: float
    finish_reason: FinishReason | None = None


def never() -> bool:
    """A stop question that is always answered no."""
    return False


class Detokeniser:
    """Text of an answer as its tokens arrive.

    Some tokenizers write a word's space with the word and drop it at the start of a text, and a character
    may need several tokens: so text is the difference between two decodings that share a little context.
    Control tokens have no text, but for those in ``shown``.
    """

    def __init__(self, tokenizer: Any, prompt_ids: Sequence[int], *, shown: frozenset[int] = frozenset()) -> None:
        self._tokenizer = tokenizer
        self._hidden = frozenset(tokenizer.all_special_ids) - shown if shown else None
        self._ids: list[int] = list(prompt_ids[-4:])
        self._start = 0
        self._read = len(self._ids)

    def push(self, token: int) -> str:
        """The text that ``token`` adds; "" while a character is incomplete."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or now.endswith(UNFINISHED):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return now[len(before) :]

    def flush(self) -> str:
        """What is left when the answer ends in the middle of a character."""
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        self._read = len(self._ids)
        return now[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        if self._hidden is not None:
            ids = [token for token in ids if token not in self._hidden]
            return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@dataclass
class Writing:
    """The state of one answer while it is written."""

    row: int
    prompt: list[int]
    detokeniser: Detokeniser
    stop: tuple[str, ...]
    limit: int
    generator: torch.Generator | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    held: str = ""
    finish: FinishReason | None = None

    def add(self, token: int, logprob: float, eos: Sequence[int]) -> str:
        """Take one token; returns the text that is now safe to show. Sets ``finish`` when the answer ends."""
        if token in eos:
            self.finish = "stop"
            return self._release(self.detokeniser.flush(), whole=True)
        self.ids.append(token)
        self.logprobs.append(logprob)
        new = self.detokeniser.push(token)
        if len(self.ids) >= self.limit:
            self.finish = "length"
            new += self.detokeniser.flush()
        return self._release(new, whole=self.finish is not None)

    def finish_text(self) -> str:
        """The text still held back, once something besides a token has set ``finish``."""
        return self._release(self.detokeniser.flush(), whole=True)

    def _release(self, new: str, *, whole: bool) -> str:
        """Hold back text that may be the beginning of a stop string."""
        self.held += new
        found = min((at for word in self.stop if (at := self.held.find(word)) >= 0), default=-1)
        if found >= 0:
            out, self.held, self.finish = self.held[:found], "", "stop"
        else:
            keep = 0 if whole else max((_overlap(self.held, word) for word in self.stop), default=0)
            cut = len(self.held) - keep
            out, self.held = self.held[:cut], self.held[cut:]
        self.text += out
        return out

    def result(self) -> Generated:
        """The finished answer."""
        return Generated(self.ids, self.text, self.logprobs, self.finish or "cancelled")


def generate_batch(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop: Sequence[str] = (),
    batch_rows: int = BATCH_ROWS,
    batch_tokens: int = BATCH_TOKENS,
    should_stop: Callable[[], bool] = never,
    on_done: Callable[[int], None] | None = None,
    on_batch: Callable[[dict[int, Generated]], None] | None = None,
) -> list[Generated]:
    """Answers to ``prompts`` (token ids), in their order.

    ``max_new_tokens`` is one number or one for each prompt; it is cut where the context ends. With a seed the
    sample of a prompt does not depend on its neighbours. ``should_stop`` is asked at each token and leaves
    answers ``cancelled``; ``on_done`` gets the number of finished prompts after each batch, ``on_batch`` its answers by the
    prompt's position.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    sampling = Sampling(temperature, top_p, seed)
    results: dict[int, Generated] = {}
    sizes = [min(len(prompt) + limit, loaded.context_length) for prompt, limit in zip(prompts, limits, strict=True)]
    for rows in length_batches(sizes, rows=batch_rows, tokens=batch_tokens):
        writings = [_begin(loaded, row, prompts[row], limits[row], tuple(stop), sampling) for row in rows]
        for _ in _write(loaded, writings, sampling, should_stop):
            pass
        written = {writing.row: writing.result() for writing in writings}
        results.update(written)
        if on_batch is not None:
            on_batch(written)
        if on_done is not None:
            on_done(len(results))
    return [results[row] for row in range(len(prompts))]


def stream(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop: Sequence[str] = (),
    should_stop: Callable[[], bool] = never,
) -> Iterator[Token]:
    """One answer, token by token. The last Token carries the finish reason; texts add up to the answer."""
    sampling = Sampling(temperature, top_p, seed)
    writing = _begin(loaded, 0, prompt_ids, max_new_tokens, tuple(stop), sampling)
    yield from _write(loaded, [writing], sampling, should_stop)
    if writing.finish is None or writing.finish == "cancelled":
        yield Token(None, "", 0.0, "cancelled")


def score(
    loaded: LoadedModel,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int = SCORE_TOKENS,
    on_done: Callable[[int], None] | None = None,
    on_batch: Callable[[dict[int, tuple[float, int]]], None] | None = None,
) -> list[tuple[float, int]]:
    """``(negative log-likelihood, number of tokens)`` of each answer given its prompt: ``(prompt, answer)`` ids.

    Sums in nats over the answer's tokens. Rows are grouped by length; logits are computed for scored
    positions only. A pair without answer tokens scores (0.0, 0). ``on_done`` and ``on_batch`` as in generate_batch.
    """
    model = loaded.activate()
    lengths = [len(prompt) + len(answer) for prompt, answer in pairs]
    results: dict[int, tuple[float, int]] = {}
    for rows in length_batches(lengths, rows=len(pairs) or 1, tokens=batch_tokens):
        with torch.inference_mode():
            sums = _score_rows(loaded, model, [pairs[row] for row in rows])
        scored = {row: (value, len(pairs[row][1])) for row, value in zip(rows, sums, strict=True)}
        results.update(scored)
        if on_batch is not None:
            on_batch(scored)
        if on_done is not None:
            on_done(len(results))
    return [results[row] for row in range(len(pairs))]


def length_batches(lengths: Sequence[int], *, rows: int, tokens: int) -> Iterator[list[int]]:
    """Indexes grouped by length, longest first: at most ``rows`` and ``tokens`` (padding included) in a batch."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) >= rows or (len(batch) + 1) * lengths[batch[0]] > tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _begin(
    loaded: LoadedModel, row: int, prompt: Sequence[int], limit: int, stop: tuple[str, ...], sampling: Sampling
) -> Writing:
    room = loaded.context_length - len(prompt)
    generator = None
    if sampling.temperature > 0 and sampling.seed is not None:
        generator = torch.Generator().manual_seed(sampling.seed + row)
    return Writing(
        row=row,
        prompt=list(prompt),
        detokeniser=Detokeniser(loaded.tokenizer, prompt),
        stop=tuple(word for word in stop if word),
        limit=min(limit, room),
        generator=generator,
        finish="length" if min(limit, room) < 1 or not prompt else None,
    )


def _write(
    loaded: LoadedModel, writings: list[Writing], sampling: Sampling, should_stop: Callable[[], bool]
) -> Iterator[Token]:
    """Write all answers together; yields the tokens of the first one. Finished rows leave the batch."""
    first = writings[0]
    live = [writing for writing in writings if writing.finish is None]
    if not live:
        yield Token(None, "", 0.0, first.finish)
        return
    width = max(len(writing.prompt) for writing in live)
    ids = torch.full((len(live), width), loaded.pad_token_id, dtype=torch.long)
    mask = torch.zeros((len(live), width), dtype=torch.long)
    for index, writing in enumerate(live):
        ids[index, width - len(writing.prompt) :] = torch.tensor(writing.prompt)
        mask[index, width - len(writing.prompt) :] = 1
    ids, mask = ids.to(loaded.device), mask.to(loaded.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = cache_with_room(loaded.model.config, max(writing.limit for writing in live))
    while live:
        if should_stop():
            for writing in live:
                writing.finish = "cancelled"
            return
        logits = next_logits(loaded, ids, mask, positions, cache)
        chosen, logprobs = _choose_all(logits, live, sampling)
        for index, writing in enumerate(live):
            token, logprob = chosen[index], logprobs[index]
            text = writing.add(token, logprob, loaded.eos_token_ids)
            if writing is first:
                ended = token in loaded.eos_token_ids
                yield Token(None if ended else token, text, logprob, writing.finish)
        staying = [index for index, writing in enumerate(live) if writing.finish is None]
        if not staying:
            return
        if len(staying) < len(live):
            keep = torch.tensor(staying, device=loaded.device)
            cache.batch_select_indices(keep)
            mask, positions = mask[keep], positions[keep]
            live = [live[index] for index in staying]
        ids = torch.tensor([[chosen[index]] for index in staying], device=loaded.device)
        mask = torch.cat([mask, mask.new_ones((len(live), 1))], dim=1)
        positions = positions[:, -1:] + 1


def _choose_all(logits: torch.Tensor, live: Sequence[Writing], sampling: Sampling) -> tuple[list[int], list[float]]:
    """The next token of every row and its log-probability at temperature 1."""
    if sampling.temperature <= 0:
        best, chosen = logits.max(dim=-1)
        return chosen.tolist(), (best - logits.logsumexp(dim=-1)).tolist()
    logprobs = torch.log_softmax(logits, dim=-1).cpu()
    picked = [
        drawn(row, temperature=sampling.temperature, top_p=sampling.top_p, generator=writing.generator)
        for row, writing in zip(logprobs, live, strict=True)
    ]
    tokens = [token for token in picked if token is not None]
    if len(tokens) < len(picked):
        raise EngineError("diverged", "the model's numbers are not finite (NaN)")
    return tokens, [float(logprobs[index, token]) for index, token in enumerate(tokens)]


def _score_rows(loaded: LoadedModel, model: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[float]:
    """NLL sums of one batch, padded on the right (no real token sees the padding behind it)."""
    width = max(1, *(len(prompt) + len(answer) for prompt, answer in pairs))
    ids = torch.full((len(pairs), width), loaded.pad_token_id, dtype=torch.long)
    for index, (prompt, answer) in enumerate(pairs):
        ids[index, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer], dtype=torch.long)
    starts = [max(1, len(prompt)) for prompt, _ in pairs]
    first = min(starts) - 1
    keep = torch.arange(first, max(first + 1, width - 1), device=loaded.device)
    ids = ids.to(loaded.device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
    sums = []
    for index, (prompt, answer) in enumerate(pairs):
        begin, end = starts[index], len(prompt) + len(answer)
        if end <= begin:
            sums.append(0.0)
            continue
        rows = logits[index, begin - 1 - first : end - 1 - first].float()
        sums.append(float(torch.nn.functional.cross_entropy(rows, ids[index, begin:end], reduction="sum")))
    return sums


def _overlap(text: str, word: str) -> int:
    """Length of the longest end of ``text`` that begins ``word`` without completing it."""
    return next((n for n in range(min(len(text), len(word) - 1), 0, -1) if word.startswith(text[-n:])), 0)
