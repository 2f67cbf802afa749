"""Counting tokens with a model's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_engine.data.tokens import TokenCounter
from finetune_engine.errors import UserError

MODEL = Path(__file__).parents[3] / "finetune_engine" / "catalogue" / "demo_base" / "model"


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter(MODEL)


def test_the_count_is_that_of_the_models_tokenizer(counter):
    from tokenizers import Tokenizer

    texts = ["The party shall give notice.", "", "naïve “quotes” – 中文", "x" * 5_000]
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    assert counter.count(texts) == [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


def test_more_texts_than_fit_at_once_keep_their_order(counter):
    texts = ["a b c d"[: 1 + i % 7] for i in range(2_500)]
    assert counter.count(texts) == [counter.count([text])[0] for text in texts[:7]] * 357 + counter.count(texts[-1:])


def test_a_long_text_is_counted_whole(counter):
    assert counter.count(["word " * 20_000])[0] >= 20_000


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer\.json") as caught:
        TokenCounter(tmp_path)
    assert (caught.value.code, caught.value.field) == ("bad_tokenizer", "tokenizer")


def test_a_broken_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        TokenCounter(tmp_path)
