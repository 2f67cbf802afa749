"""Which label does a model find likeliest? Every label is scored after the prompt; nothing is generated.

The prompt is read once and its key-value cache is shared by all labels: with 10 labels and 100-token prompts
that is about a tenth of the work of scoring prompt and label together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from finetune_engine.generate import length_batches, score
from finetune_engine.train.local.encode import encode_chat
from finetune_engine.train.local.load import LoadedModel

PROMPT_ROWS = 16
PROMPT_TOKENS = 4096
LOGITS_AT_ONCE = 64_000_000
"""Numbers in the logits of one pass, vocabulary included: a quarter of a gigabyte in float32."""
CACHED_TOKENS = 32_768
"""Key-value entries held at once for the labels of a batch."""

Ids = Sequence[int]


def answer_ids(loaded: LoadedModel, messages: Sequence[Mapping[str, Any]], label: str) -> list[int]:
    """The ids of ``label`` as the answer to ``messages`` (which end before it), the end token included."""
    return encode_chat(loaded, [*messages, {"role": "assistant", "content": label}]).answer_ids


def label_ids(
    loaded: LoadedModel, rows: Sequence[Sequence[Mapping[str, Any]]], labels: Sequence[str]
) -> list[list[list[int]]]:
    """Ids of every label as the answer to every row: ``[row][label]``.

    The end of a prompt is the same in every row (the template's opening of an answer), and then so are a
    label's ids. That is checked on the first, the shortest and the longest row; if they disagree, each row
    is encoded by itself.
    """
    if not rows:
        return []
    sizes = [sum(len(str(message.get("content") or "")) for message in row) for row in rows]
    probes = {0, sizes.index(min(sizes)), sizes.index(max(sizes))}
    found = [[answer_ids(loaded, rows[probe], label) for label in labels] for probe in sorted(probes)]
    if all(other == found[0] for other in found[1:]):
        return [found[0]] * len(rows)
    return [[answer_ids(loaded, row, label) for label in labels] for row in rows]


def label_loglikelihoods(
    loaded: LoadedModel,
    prompts: Sequence[Ids],
    labels: Sequence[Sequence[Ids]],
    *,
    on_done: Callable[[int], None] | None = None,
    on_batch: Callable[[dict[int, list[float]]], None] | None = None,
) -> list[list[float]]:
    """Sum of log-probabilities, in nats, of each label's ids after each prompt: ``[row][label]``.

    ``labels[row]`` lists the label ids for that row (the same number for every row), end token included, so
    that a label which begins another is not favoured and no division by length is needed. ``on_done`` gets
    the number of finished rows after each batch, ``on_batch`` their values.
    """
    model = loaded.activate()
    results: dict[int, list[float]] = {}
    widest = max((len(ids) for row in labels for ids in row), default=1)
    most_rows = max(1, min(PROMPT_ROWS, LOGITS_AT_ONCE // (widest * _vocabulary(model))))
    for rows in length_batches([len(prompt) for prompt in prompts], rows=most_rows, tokens=PROMPT_TOKENS):
        batch_prompts, batch_labels = [prompts[row] for row in rows], [labels[row] for row in rows]
        with torch.inference_mode():
            values = _shared(loaded, model, batch_prompts, batch_labels)
        if values is None:
            values = _one_by_one(loaded, batch_prompts, batch_labels)
        found = dict(zip(rows, values, strict=True))
        results.update(found)
        if on_batch is not None:
            on_batch(found)
        if on_done is not None:
            on_done(len(results))
    return [results[row] for row in range(len(prompts))]


def _one_by_one(loaded: LoadedModel, prompts: Sequence[Ids], labels: Sequence[Sequence[Ids]]) -> list[list[float]]:
    """For models whose memory of the prompt cannot be copied (sliding windows, recurrent states)."""
    pairs = [(prompt, ids) for prompt, row in zip(prompts, labels, strict=True) for ids in row]
    values = iter(score(loaded, pairs))
    return [[-next(values)[0] for _ in row] for row in labels]


def _shared(
    loaded: LoadedModel, model: Any, prompts: Sequence[Ids], labels: Sequence[Sequence[Ids]]
) -> list[list[float]] | None:
    """Log-likelihoods of one batch with the prompts' cache shared; None when this model's cache cannot be."""
    cache = DynamicCache(config=model.config)
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        return None
    ids, mask = _left_padded(loaded, prompts)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    first = torch.log_softmax(logits.float(), dim=-1)
    columns: list[torch.Tensor] = []
    for chosen in _label_chunks(labels, held=ids.numel(), vocabulary=logits.shape[-1]):
        block = _right_padded(loaded, [[row[index] for index in chosen] for row in labels])
        columns.append(_score_block(model, cache, mask, first, *block))
    return [[float(value) for value in row] for row in torch.cat(columns, dim=1).cpu()]


def _vocabulary(model: Any) -> int:
    text = getattr(model.config, "text_config", None) or model.config
    return int(text.vocab_size)


def _label_chunks(labels: Sequence[Sequence[Ids]], *, held: int, vocabulary: int) -> Iterator[list[int]]:
    """Label numbers in groups small enough to keep their caches and their logits in memory."""
    widest = max(len(ids) for row in labels for ids in row)
    by_cache = CACHED_TOKENS // max(1, held)
    size = max(1, min(by_cache, LOGITS_AT_ONCE // (len(labels) * widest * vocabulary)))
    numbers = list(range(len(labels[0])))
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _score_block(
    model: Any, cache: DynamicCache, mask: torch.Tensor, first: torch.Tensor, ids: torch.Tensor, real: torch.Tensor
) -> torch.Tensor:
    """``(rows, labels)`` log-likelihoods. ``ids`` and ``real`` are ``(rows, labels, width)``, real 1 on true ids.

    ``first`` is ``(rows, vocabulary)``: what the model expects right after each prompt.
    """
    rows, count, width = ids.shape
    total = first.gather(1, ids[:, :, 0]) * real[:, :, 0]
    if width == 1:
        return total
    flat, flat_real = ids.reshape(rows * count, width), real.reshape(rows * count, width)
    copies = DynamicCache(
        [(keys.repeat_interleave(count, 0), values.repeat_interleave(count, 0)) for keys, values, *_ in cache]
    )
    whole = torch.cat([mask.repeat_interleave(count, 0), flat_real[:, :-1]], dim=1)
    positions = (whole.cumsum(-1) - 1).clamp(min=0)[:, mask.shape[1] :]
    logits = model(
        input_ids=flat[:, :-1],
        attention_mask=whole,
        position_ids=positions,
        past_key_values=copies,
        use_cache=True,
    ).logits.float()
    said = logits.gather(2, flat[:, 1:, None])[:, :, 0] - logits.logsumexp(dim=-1)
    following: torch.Tensor = (said * flat_real[:, 1:]).sum(dim=1).reshape(rows, count)
    return total + following


def _left_padded(loaded: LoadedModel, prompts: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), loaded.pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, prompt in enumerate(prompts):
        ids[index, width - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.long)
        mask[index, width - len(prompt) :] = 1
    return ids.to(loaded.device), mask.to(loaded.device)


def _right_padded(loaded: LoadedModel, labels: Sequence[Sequence[Ids]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for row in labels for ids in row)
    block = torch.full((len(labels), len(labels[0]), width), loaded.pad_token_id, dtype=torch.long)
    real = torch.zeros_like(block)
    for index, row in enumerate(labels):
        for number, ids in enumerate(row):
            block[index, number, : len(ids)] = torch.tensor(list(ids), dtype=torch.long)
            real[index, number, : len(ids)] = 1
    return block.to(loaded.device), real.to(loaded.device)
