"""Memory told before a training, against the bytes that torch allocates in one."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from finetune_engine.catalogue.catalogue import load_catalogue
from finetune_engine.catalogue.memory import MemoryPlan, memory_need, trained_parameters
from finetune_engine.catalogue.shape import ModelShape, guessed_shape

SHAPE = ModelShape(layers=4, hidden=128, intermediate=352, vocabulary=2000, heads=4, kv_heads=2, head_size=32)
ROWS, LENGTH, LEARNT = 8, 64, 32


@pytest.fixture(scope="module")
def module() -> Any:
    """``module(peft, checkpointing)``: a Llama of this shape, ready to be trained."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(peft: str, checkpointing: bool) -> Any:
        config = LlamaConfig(
            vocab_size=SHAPE.vocabulary,
            hidden_size=SHAPE.hidden,
            intermediate_size=SHAPE.intermediate,
            num_hidden_layers=SHAPE.layers,
            num_attention_heads=SHAPE.heads,
            num_key_value_heads=SHAPE.kv_heads,
            tie_word_embeddings=True,
        )
        model: Any = LlamaForCausalLM(config)
        if peft != "full":
            adapters = LoraConfig(task_type="CAUSAL_LM", r=16, lora_dropout=0.1, target_modules="all-linear")
            adapters.use_dora = peft == "dora"
            model = get_peft_model(model, adapters)
        if checkpointing:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
                model.enable_input_require_grads()
        return model.train()

    return make


def plan(peft: str, checkpointing: bool = False, **changes: Any) -> MemoryPlan:
    sizes = {"tokens": ROWS * LENGTH, "scored": ROWS * LEARNT, "eval_tokens": 1, "eval_scored": 1}
    return MemoryPlan(**(sizes | {"peft": peft, "gradient_checkpointing": checkpointing} | changes))


def allocated_at_peak(model: Any) -> int:
    """Bytes that one step allocates over what it begins with, as torch's profiler reports them."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from finetune_engine.train.local.collate import collate
    from finetune_engine.train.local.encode import Encoded
    from finetune_engine.train.local.forward import batch_loss

    rows = [Encoded(list(range(2, 2 + LENGTH)), LENGTH - LEARNT) for _ in range(ROWS)]
    batch = collate(rows, flat=False, pad_id=0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        batch_loss(model, batch, torch.float32)[0].backward()
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("peft", ["lora", "dora", "full"])
def test_the_peak_of_a_step_lies_in_the_range_told(module: Any, peft: str, checkpointing: bool) -> None:
    need = memory_need(SHAPE, plan(peft, checkpointing))
    told = [
        sum(getattr(part, end) for part in (need.activations, need.logits, need.gradients))
        for end in ("low", "expected", "high")
    ]
    peak = allocated_at_peak(module(peft, checkpointing))
    assert told[0] <= peak <= told[2]
    assert 0.65 <= peak / told[1] <= 1.4


@pytest.mark.parametrize("peft", ["lora", "dora", "full"])
def test_the_trained_parameters_are_counted_exactly(module: Any, peft: str) -> None:
    really = sum(one.numel() for one in module(peft, False).parameters() if one.requires_grad)
    assert trained_parameters(SHAPE, plan(peft)) == really


def test_weights_are_parameters_times_the_size_of_a_number(module: Any) -> None:
    held = sum(one.numel() * one.element_size() for one in module("full", False).parameters())
    assert memory_need(SHAPE, plan("full")).weights.expected == held


def test_four_bits_take_about_a_seventh_of_the_layers_weights() -> None:
    shape = load_catalogue()["qwen2.5-7b"].shape
    assert shape is not None
    whole = memory_need(shape, plan("lora", precision="bf16")).weights.expected
    small = memory_need(shape, plan("qlora", precision="bf16")).weights.expected
    assert 0.25 < small / whole < 0.45


def test_every_shape_of_the_catalogue_adds_up_to_the_published_parameters() -> None:
    shapes = [(entry.shape, entry.parameters) for entry in load_catalogue().values() if entry.shape is not None]
    assert len(shapes) > 10
    assert all(parameters and abs(shape.parameters / parameters - 1) < 0.001 for shape, parameters in shapes)


def test_a_guessed_shape_has_about_the_parameters_it_was_made_for() -> None:
    for parameters in (1_000_000_000, 3_000_000_000, 8_000_000_000):
        assert 0.8 < guessed_shape(parameters).parameters / parameters < 1.3
