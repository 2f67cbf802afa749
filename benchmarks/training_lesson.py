"""What every arm of the training benchmark learns: one model of random weights, one frozen dataset, one order of rows."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

SEED = 42
MEDIAN_TOKENS, P95_TOKENS, LONGEST, SHORTEST = 80, 354, 512, 12
ANSWER_SHARE = 0.4
SUCCESSORS = 8
BATCH, ACCUMULATE = 4, 4
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] + ' ' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Sizes:
    """The model, the steps and the rows of one comparison. ``round_steps`` is the length of one turn.

    The last step of each turn is evaluated and not timed. ``spread`` is the deviation of the random weights.
    """

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 5
    inner: int = 688
    heads: int = 8
    round_steps: int = 5
    rounds: int = 3
    validation: int = 64
    lora_dropout: float = 0.0
    spread: float = 0.05

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.rounds * self.round_steps

    @property
    def rows(self) -> int:
        """Training rows: one pass is exactly ``steps``."""
        return self.steps * BATCH * ACCUMULATE


@dataclass(frozen=True)
class Lesson:
    """Where the parts of a comparison lie on disk."""

    folder: Path
    sizes: Sizes

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.folder / "model"

    @property
    def snapshot(self) -> Path:
        """The frozen dataset our trainer reads."""
        return self.folder / "snapshot.parquet"

    def rows(self, split: str) -> list[dict[str, Any]]:
        """``{"input_ids": [...], "prompt": tokens of the prompt}`` in the order in which our trainer takes them."""
        rows: list[dict[str, Any]] = json.loads((self.folder / f"{split}.json").read_text())
        return rows

    @classmethod
    def open(cls, folder: Path) -> Lesson:
        """What ``make_lesson`` wrote."""
        return cls(folder, Sizes(**json.loads((folder / "sizes.json").read_text())))


def make_lesson(folder: Path, sizes: Sizes) -> Lesson:
    """Write model, tokenizer, snapshot and the same rows as ids."""
    lesson = Lesson(folder, sizes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sizes.json").write_text(json.dumps(asdict(sizes)))
    _write_model(lesson)
    draw = random.Random(SEED)
    follow = [[draw.randrange(4, sizes.vocabulary) for _ in range(SUCCESSORS)] for _ in range(sizes.vocabulary)]
    train, valid = (
        [_conversation(draw, follow, length) for length in _lengths(draw, count)]
        for count in (sizes.rows, sizes.validation)
    )
    _write_snapshot(lesson.snapshot, train, valid)
    _write_ids(lesson, train, valid)
    return lesson


def _lengths(draw: random.Random, count: int) -> list[int]:
    """``count`` lengths in tokens at even quantiles of the log-normal distribution, shuffled."""
    bell = NormalDist(math.log(MEDIAN_TOKENS), math.log(P95_TOKENS / MEDIAN_TOKENS) / NormalDist().inv_cdf(0.95))
    lengths = [round(math.exp(bell.inv_cdf((i + 0.5) / count))) for i in range(count)]
    draw.shuffle(lengths)
    return [min(LONGEST, max(SHORTEST, length)) for length in lengths]


def _conversation(draw: random.Random, follow: list[list[int]], tokens: int) -> tuple[str, str]:
    """A walk over words whose successors are few, so that there is something to learn; ``tokens`` with its end."""
    length = tokens - 1
    word = draw.randrange(4, len(follow))
    words = [word]
    for _ in range(length - 1):
        word = follow[word][min(SUCCESSORS - 1, int(draw.expovariate(1.0)))]
        words.append(word)
    cut = max(1, round(length * (1 - ANSWER_SHARE)))
    return " ".join(f"w{word}" for word in words[:cut]), " ".join(f"w{word}" for word in words[cut:])


def _write_model(lesson: Lesson) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sizes = lesson.sizes
    names = [*SPECIAL.values()] + [f"w{number}" for number in range(4, sizes.vocabulary)]
    words = models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=SPECIAL["unk_token"])
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(lesson.model)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=sizes.spread,
    )
    LlamaForCausalLM(config).save_pretrained(lesson.model)


def _write_snapshot(path: Path, train: list[tuple[str, str]], valid: list[tuple[str, str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "row": number + 1,
            "split": split,
            "messages": json.dumps([{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]),
        }
        for number, (split, asked, answer) in enumerate(
            [("train", *pair) for pair in train] + [("validation", *pair) for pair in valid]
        )
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _write_ids(lesson: Lesson, train: list[tuple[str, str]], valid: list[tuple[str, str]]) -> None:
    """The ids as every arm reads them; training rows in the order of our first pass, so that steps hold the same."""
    from finetune_engine.train.local.collate import pass_order

    def ids(pair: tuple[str, str]) -> dict[str, Any]:
        asked, answer = ([int(word[1:]) for word in text.split()] for text in pair)
        return {"input_ids": [*asked, *answer, 2], "prompt": len(asked)}

    ordered = [train[row] for row in pass_order(len(train), SEED, 0)]
    for split, pairs in (("train", ordered), ("validation", valid)):
        (lesson.folder / f"{split}.json").write_text(json.dumps([ids(pair) for pair in pairs]))
