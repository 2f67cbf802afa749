import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.generate import generate_batch
from finetune_engine.growing_cache import GrowingLayer, cache_with_room
from finetune_engine.train.local.load import load_base

SIZES = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2}


def states(tokens, seed):
    torch.manual_seed(seed)
    return torch.randn(3, 2, tokens, 4), torch.randn(3, 2, tokens, 4)


@pytest.mark.parametrize("room", [0, 1, 2, 50])
def test_it_holds_what_transformers_own_cache_would_hold(room):
    mine, theirs = GrowingLayer(room), DynamicCache(config=LlamaConfig(**SIZES)).layers[0]
    for seed, tokens in enumerate([5, 1, 1, 2, 1]):
        for found, wanted in zip(mine.update(*states(tokens, seed)), theirs.update(*states(tokens, seed)), strict=True):
            assert torch.equal(found, wanted)
        if seed == 2:
            kept = torch.tensor([0, 2, 1])
            mine.batch_select_indices(kept)
            theirs.batch_select_indices(kept)
    assert mine.get_seq_length() == theirs.get_seq_length() == 10


def test_a_token_takes_no_new_memory_while_there_is_room():
    layer = GrowingLayer(4)
    layer.update(*states(5, 0))
    place = layer.keys.data_ptr()
    for seed in range(4):
        layer.update(*states(1, seed))
    assert layer.keys.data_ptr() == place
    layer.update(*states(1, 9))
    assert layer.keys.data_ptr() != place


def test_models_with_a_sliding_window_keep_their_own_cache():
    assert all(isinstance(layer, GrowingLayer) for layer in cache_with_room(LlamaConfig(**SIZES), 4).layers)
    sliding = cache_with_room(MistralConfig(**SIZES, sliding_window=4), 4)
    assert not any(isinstance(layer, GrowingLayer) for layer in sliding.layers)


def test_answers_are_the_same_with_either_cache(tiny_model, monkeypatch):
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    prompts = [[5 + number % 40] * (3 + 7 * number % 30) for number in range(20)]
    mine = generate_batch(loaded, prompts, max_new_tokens=12)
    monkeypatch.setattr("finetune_engine.generate.cache_with_room", lambda config, room: DynamicCache(config=config))
    assert [found.token_ids for found in generate_batch(loaded, prompts, max_new_tokens=12)] == [
        found.token_ids for found in mine
    ]
