"""Letting a model write, and scoring what was written."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.generate import Detokeniser, generate_batch, length_batches, score, stream
from finetune_engine.train.local.load import LoadedModel, load_base

TEXTS = ["Once upon a time", "The dog", "Lily went to the park with her mother and saw", "One day, a bird", "é — ß"]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> LoadedModel:
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[list[int]]:
    return [list(loaded.tokenizer(text)["input_ids"]) for text in TEXTS]


def test_a_batch_writes_what_one_prompt_at_a_time_writes(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    together = generate_batch(loaded, prompts, max_new_tokens=24)
    alone = [generate_batch(loaded, [prompt], max_new_tokens=24)[0] for prompt in prompts]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_tokens_are_those_of_transformers_own_generation(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    for prompt, answer in zip(prompts, generate_batch(loaded, prompts, max_new_tokens=16), strict=True):
        reference = loaded.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=16,
            do_sample=False,
            pad_token_id=1,
        )[0, len(prompt) :].tolist()
        assert answer.token_ids == [token for token in reference if token != loaded.eos_token_id]


def test_an_answer_ends_at_the_end_token_which_is_not_part_of_it(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    plain = generate_batch(loaded, prompts[:1], max_new_tokens=10)[0]
    ending = plain.token_ids[4]
    first = plain.token_ids.index(ending)
    answer = generate_batch(replace(loaded, eos_token_ids=(ending,)), prompts[:1], max_new_tokens=10)[0]
    assert (answer.token_ids, answer.finish_reason) == (plain.token_ids[:first], "stop")


def test_each_prompt_may_have_a_limit_of_its_own(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    limits = [1, 5, 3, 2, 4]
    answers = generate_batch(loaded, prompts, max_new_tokens=limits)
    assert [len(answer.token_ids) for answer in answers] == limits
    assert {answer.finish_reason for answer in answers} == {"length"}


def test_writing_stops_where_the_context_ends(loaded: LoadedModel) -> None:
    prompt = [5] * (loaded.context_length - 3)
    answer = generate_batch(loaded, [prompt], max_new_tokens=50)[0]
    assert len(answer.token_ids) <= 3


def test_a_prompt_that_fills_the_context_gets_an_empty_answer(loaded: LoadedModel) -> None:
    answer = generate_batch(loaded, [[5] * loaded.context_length], max_new_tokens=5)[0]
    assert (answer.token_ids, answer.finish_reason) == ([], "length")


def test_logprobs_are_those_of_the_model_and_add_up_to_the_score(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    for heat in (0.0, 1.7):
        answers = generate_batch(loaded, prompts, max_new_tokens=12, temperature=heat, seed=1)
        scores = score(loaded, [(p, a.token_ids) for p, a in zip(prompts, answers, strict=True)])
        for answer, (nll, count) in zip(answers, scores, strict=True):
            assert count == len(answer.token_ids)
            assert nll == pytest.approx(-sum(answer.logprobs), rel=1e-4, abs=1e-4)


def test_a_seeded_sample_does_not_depend_on_its_neighbours(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    several = generate_batch(loaded, prompts, max_new_tokens=12, temperature=1.0, seed=7)[0]
    alone = generate_batch(loaded, prompts[:1], max_new_tokens=12, temperature=1.0, seed=7)[0]
    assert several.token_ids == alone.token_ids


def test_another_seed_samples_something_else(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    one, two = (generate_batch(loaded, prompts[:1], max_new_tokens=24, temperature=1.5, seed=s)[0] for s in (1, 2))
    assert one.token_ids != two.token_ids


def test_a_tiny_top_p_leaves_only_the_likeliest(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    greedy = generate_batch(loaded, prompts, max_new_tokens=8)
    nucleus = generate_batch(loaded, prompts, max_new_tokens=8, temperature=1.0, top_p=1e-9, seed=3)
    assert [a.token_ids for a in greedy] == [a.token_ids for a in nucleus]


def test_a_stop_string_cuts_the_text_before_it(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    whole = generate_batch(loaded, prompts[:1], max_new_tokens=24)[0].text
    word = whole[6:9]
    answer = generate_batch(loaded, prompts[:1], max_new_tokens=24, stop=[word])[0]
    assert (answer.text, answer.finish_reason) == (whole[: whole.index(word)], "stop")


def test_a_stream_adds_up_to_the_answer_of_a_batch(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    for prompt, answer in zip(prompts, generate_batch(loaded, prompts, max_new_tokens=24), strict=True):
        tokens = list(stream(loaded, prompt, max_new_tokens=24))
        assert "".join(token.text for token in tokens) == answer.text
        assert [token.id for token in tokens if token.id is not None] == answer.token_ids
        assert tokens[-1].finish_reason == answer.finish_reason
        assert all(token.finish_reason is None for token in tokens[:-1])


def test_a_stream_never_shows_the_beginning_of_a_stop_string(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    whole = generate_batch(loaded, prompts[:1], max_new_tokens=24)[0].text
    word = whole[6:10]
    shown = "".join(token.text for token in stream(loaded, prompts[0], max_new_tokens=24, stop=[word]))
    assert shown == whole[: whole.index(word)]


def test_a_stream_can_be_cancelled_at_any_token(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    count = itertools.count()
    tokens = list(stream(loaded, prompts[0], max_new_tokens=24, should_stop=lambda: next(count) >= 3))
    assert len([token for token in tokens if token.id is not None]) == 3
    assert tokens[-1].finish_reason == "cancelled"


@pytest.mark.parametrize("text", ["naïve café — ß", "日本語のテキスト", "👩‍👩‍👧 family", "a  b\n\n c", " leading"])
def test_text_comes_back_whole_character_by_character(loaded: LoadedModel, text: str) -> None:
    detokeniser = Detokeniser(loaded.tokenizer, loaded.tokenizer("before")["input_ids"])
    parts = [detokeniser.push(token) for token in loaded.tokenizer(text)["input_ids"]]
    assert "".join(parts) + detokeniser.flush() == text
    assert not any("\ufffd" in part for part in parts)


def test_a_word_that_carries_its_space_keeps_it_in_a_stream(stories: Path) -> None:
    model = load_base(BaseModelRef(key="stories", path=str(stories)))
    prompt = model.tokenizer("Lily and Tom")["input_ids"]
    answer = generate_batch(model, [prompt], max_new_tokens=12)[0]
    assert answer.text.startswith(" ")
    assert (
        answer.text
        == model.tokenizer.decode(prompt + answer.token_ids, skip_special_tokens=True)[len("Lily and Tom") :]
    )


def test_scores_do_not_depend_on_the_batch(loaded: LoadedModel, prompts: list[list[int]]) -> None:
    pairs = [(prompt, [9, 8, 7][: index % 4]) for index, prompt in enumerate(prompts)]
    together = score(loaded, pairs)
    alone = [score(loaded, [pair])[0] for pair in pairs]
    assert [n for _, n in together] == [n for _, n in alone] == [len(answer) for _, answer in pairs]
    assert [nll for nll, _ in together] == pytest.approx([nll for nll, _ in alone], rel=1e-5, abs=1e-5)


def test_batches_hold_their_limits_and_every_row_once() -> None:
    lengths = [3, 90, 4, 50, 51, 2, 7]
    batches = list(length_batches(lengths, rows=3, tokens=100))
    assert sorted(itertools.chain(*batches)) == list(range(7))
    assert all(len(b) <= 3 and (len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 100) for b in batches)
