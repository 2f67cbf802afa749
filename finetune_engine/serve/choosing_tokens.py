"""The next token of every row of a batch. Greedy rows cost one pass over the logits where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from finetune_engine.next_token import drawn
from finetune_engine.serve.exchange import Alternative
from finetune_engine.train.local.load import LoadedModel

if TYPE_CHECKING:
    from finetune_engine.serve.live_row import LiveRow


@dataclass(frozen=True, slots=True)
class Choice:
    """A token, its log-probability by the model itself (temperature 1, nothing barred) and its likeliest rivals.

    ``is_broken``: the model's numbers are not finite, so there is nothing to choose from.
    """

    token: int
    logprob: float
    rivals: tuple[Alternative, ...] = ()
    is_broken: bool = False


_BROKEN = Choice(0, 0.0, is_broken=True)


@torch.inference_mode()
def choose_all(logits: torch.Tensor, rows: Sequence[LiveRow], loaded: LoadedModel) -> list[Choice]:
    """The next token of each row, from ``logits`` ``(rows, vocabulary)``."""
    totals = logits.logsumexp(dim=-1)
    best, tokens = logits.max(dim=-1)
    # A sum that is not finite tells of a NaN anywhere in the row, and of an infinity.
    logprobs, likeliest, sane = (best - totals).tolist(), tokens.tolist(), totals.isfinite().tolist()
    chosen: list[Choice] = []
    for number, row in enumerate(rows):
        if not sane[number]:
            chosen.append(_BROKEN)
        elif _is_plain(row):
            chosen.append(Choice(likeliest[number], logprobs[number]))
        else:
            chosen.append(_chosen(logits[number] - totals[number], row, loaded))
    return chosen


def _is_plain(row: LiveRow) -> bool:
    """Whether the likeliest token is the answer, and nothing else is asked."""
    request = row.request
    return (
        request.temperature <= 0
        and not request.top_logprobs
        and row.constraint is None
        and not request.logit_bias
        and not request.presence_penalty
        and not request.frequency_penalty
    )


def _chosen(logprobs: torch.Tensor, row: LiveRow, loaded: LoadedModel) -> Choice:
    rivals = _rivals(logprobs, row.request.top_logprobs or 0, loaded)
    token = choose(logprobs, row)
    if token is None:
        return _BROKEN
    return Choice(token, float(logprobs[token]), rivals)


def choose(logprobs: torch.Tensor, row: LiveRow) -> int | None:
    """The next token of one row, from the model's log-probabilities ``(vocabulary,)`` at temperature 1.

    None when no token with a chance is left.
    """
    request = row.request
    scores = _allowed(_adjusted(logprobs, row), row)
    if request.temperature <= 0:
        best, token = scores.max(dim=-1)
        return int(token) if bool(best.isfinite()) else None
    return drawn(scores, temperature=request.temperature, top_p=request.top_p, generator=row.writing.generator)


def _adjusted(logprobs: torch.Tensor, row: LiveRow) -> torch.Tensor:
    """With the request's biases and penalties."""
    request = row.request
    if not request.logit_bias and not (row.counts and (request.presence_penalty or request.frequency_penalty)):
        return logprobs
    scores = logprobs.clone()
    for token, bias in request.logit_bias.items():
        if token < len(scores):
            scores[token] += bias
    for token, count in row.counts.items():
        scores[token] -= request.presence_penalty + count * request.frequency_penalty
    return scores


def _allowed(scores: torch.Tensor, row: LiveRow) -> torch.Tensor:
    """With minus infinity for tokens that the row's constraint bars."""
    mask = row.constraint.mask() if row.constraint is not None else None
    if mask is None:
        return scores
    allowed = torch.from_numpy(mask).to(scores.device)
    barred = torch.ones_like(scores, dtype=torch.bool)
    size = min(len(scores), len(allowed))  # a vocabulary may be padded beyond the tokenizer's, or the other way round
    barred[:size] = ~allowed[:size]
    return scores.masked_fill(barred, float("-inf"))


def _rivals(logprobs: torch.Tensor, count: int, loaded: LoadedModel) -> tuple[Alternative, ...]:
    if count < 1:
        return ()
    values, ids = logprobs.topk(min(count, logprobs.shape[-1]))
    decode = loaded.tokenizer.decode
    return tuple(
        Alternative(str(decode([token])), value) for token, value in zip(ids.tolist(), values.tolist(), strict=True)
    )
