"""Decoder layers computed in fewer passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from finetune_engine.train.local import blocks
from finetune_engine.train.local.collate import collate
from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.forward import batch_loss, flat_layout, picked_logits
from finetune_engine.train.local.fused import fused_lora

ROWS = [
    Encoded([5, 9, 17, 33, 60, 61, 1], 4),
    Encoded([7, 8, 1], 1),
    Encoded([20 + i for i in range(30)], 12),
    Encoded([11, 12], 1, learn_prompt=True),
]
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip


def lora_model(base: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    chosen: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    return get_peft_model(base, LoraConfig(**(chosen | settings))).train()


def tiny(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


def textbook(model: Any, rows: list[Encoded] = ROWS) -> tuple[float, list[torch.Tensor]]:
    """transformers' own loss, one row at a time, summed over the scored tokens; and its gradients."""
    total = torch.zeros(())
    for row in rows:
        scored = len(row.input_ids) - row.first_scored
        out = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels]))
        total = total + out.loss * scored
    return float(total.detach()), gradients(model, total)


def laid_flat(model: Any, rows: list[Encoded] = ROWS) -> tuple[float, list[torch.Tensor]]:
    with fused_lora(model), flat_layout(model, rows, wanted=True, dtype=torch.float32) as flat:
        assert flat
        assert blocks.skips_unscored(model.get_base_model())
        loss, _ = batch_loss(model, collate(rows, flat=True, pad_id=1), torch.float32)
        return float(loss.detach()), gradients(model, loss)


def assert_same(theirs: tuple[float, list[torch.Tensor]], ours: tuple[float, list[torch.Tensor]]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for expected, found in zip(theirs[1], ours[1], strict=True):
        assert torch.allclose(expected, found, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_loss_and_gradients_are_those_of_transformers_and_peft_row_by_row(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model))
    assert_same(textbook(model), laid_flat(model))


def test_the_adapters_of_a_few_matrices_learn_the_same(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model), target_modules=["q_proj", "up_proj"])
    assert_same(textbook(model), laid_flat(model))


def test_biases_are_added() -> None:
    torch.manual_seed(0)
    base = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False))
    for name, parameter in base.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model = lora_model(base)
    assert_same(textbook(model), laid_flat(model))


def test_only_scored_positions_pass_the_last_layer(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model)).eval()
    core, seen = model.get_base_model(), []
    core.model.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    with flat_layout(model, ROWS, wanted=True, dtype=torch.float32), torch.no_grad():
        seen.clear()
        picked_logits(model, collate(ROWS, flat=True, pad_id=1), torch.float32)
    assert seen == [sum(len(row.input_ids) - row.first_scored for row in ROWS)]


def test_a_row_behind_others_has_the_logits_it_has_alone(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model)).eval()
    with flat_layout(model, ROWS, wanted=True, dtype=torch.float32), torch.no_grad():
        assert blocks.skips_unscored(model.get_base_model())
        alone = picked_logits(model, collate(ROWS[2:3], flat=True, pad_id=1), torch.float32)
        behind = picked_logits(model, collate([ROWS[0], ROWS[2]], flat=True, pad_id=1), torch.float32)
    assert torch.allclose(alone, behind[-len(alone) :], atol=1e-5)


def test_the_same_seed_gives_the_same_bits_with_dropout(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model), lora_dropout=0.3)
    torch.manual_seed(7)
    once, first = laid_flat(model)
    torch.manual_seed(7)
    again, second = laid_flat(model)
    assert once == again
    assert all(map(torch.equal, first, second))


def test_dropout_is_really_drawn(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model), lora_dropout=0.3)
    assert laid_flat(model)[0] != laid_flat(model)[0]


def test_a_padded_batch_inside_goes_the_models_own_way(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model)).eval()
    ids = torch.tensor([[5, 9, 17, 33]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with blocks.fast_blocks(model.get_base_model(), wanted=True) as fast:
            assert fast
            assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("why", ["dora", "embeddings learn too", "another activation", "unfrozen"])
def test_layers_of_another_kind_keep_their_own_code(tiny_model: Path, why: str) -> None:
    base = tiny(tiny_model)
    if why == "dora":
        model = lora_model(base, use_dora=True)
    elif why == "another activation":
        model = lora_model(LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu")))
    elif why == "unfrozen":
        model = lora_model(base)
        model.get_base_model().model.layers[1].mlp.up_proj.base_layer.weight.requires_grad_(True)
    else:
        model = lora_model(base, modules_to_save=["input_layernorm"])
    with blocks.fast_blocks(model.get_base_model(), wanted=True) as fast:
        assert not fast


def test_the_layers_are_transformers_again_afterwards(tiny_model: Path) -> None:
    model = lora_model(tiny(tiny_model))
    with flat_layout(model, ROWS, wanted=True, dtype=torch.float32):
        pass
    assert not any("forward" in vars(part) or "own_forward" in vars(part) for part in model.modules())


def test_wrong_blocks_are_found_out_and_not_used(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lora_model(tiny(tiny_model))
    monkeypatch.setattr(blocks, "silu", torch.relu)
    with flat_layout(model, ROWS, wanted=True, dtype=torch.float32) as flat:
        assert flat
        assert not blocks.skips_unscored(model.get_base_model())


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def test_gradients_of_the_parts_are_those_of_their_functions() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    x, residual, a, b, width = numbers(3, 5), numbers(3, 4), numbers(2, 5), numbers(4, 2), numbers(3, 5)
    angle = torch.randn(3, 2, dtype=torch.float64).repeat(1, 2)
    check = torch.autograd.gradcheck
    assert check(lambda *t: blocks.Projection.apply(t[0], t[1], [0.7], weight, bias, *t[2:]), (x, residual, a, b))
    both = (weight, None, a, b, weight, bias, None, None)
    assert check(lambda t: blocks.Projection.apply(t, None, [0.7, 0.0], *both), (x,))
    assert check(lambda t: blocks.Norm.apply(t, weight[0], 1e-6), (x,))
    assert check(lambda t: blocks.Rotation.apply(t, angle.cos(), angle.sin()), (numbers(3, 2, 4),))
    assert check(blocks.Gate.apply, (x, width))
