"""LoRA layers computed in fewer passes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from finetune_engine.train.local.fused import dropout_mask, fused_lora


def lora_model(folder: Path, **settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, **settings)
    model: torch.nn.Module = get_peft_model(base, config)
    return model.train()


def loss_and_gradients(model: torch.nn.Module) -> tuple[float, list[torch.Tensor]]:
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    loss = model(input_ids=ids, labels=ids).loss
    parameters = [p for p in model.parameters() if p.requires_grad]
    return float(loss), list(torch.autograd.grad(loss, parameters))


def test_loss_and_gradients_are_those_of_peft(tiny_model: Path) -> None:
    model = lora_model(tiny_model)
    loss, gradients = loss_and_gradients(model)
    with fused_lora(model) as layers:
        assert layers == 14
        fused_loss, fused_gradients = loss_and_gradients(model)
    assert fused_loss == pytest.approx(loss, rel=1e-6)
    for theirs, ours in zip(gradients, fused_gradients, strict=True):
        assert torch.allclose(theirs, ours, rtol=1e-4, atol=1e-6)


def test_the_gradient_with_dropout_is_that_of_the_function_computed(tiny_model: Path) -> None:
    from finetune_engine.train.local.fused import AdaptedLinear

    torch.manual_seed(0)
    x, a, b = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 5), (2, 5), (4, 2)))
    weight, bias = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    mask = dropout_mask(3, 5, 0.4).double()
    assert torch.autograd.gradcheck(lambda x, a, b: AdaptedLinear.apply(x, weight, bias, a, b, 1.5, mask), (x, a, b))


def test_evaluation_uses_no_dropout(tiny_model: Path) -> None:
    model = lora_model(tiny_model, lora_dropout=0.5).eval()
    with fused_lora(model), torch.no_grad():
        ids = torch.tensor([[5, 6, 7]])
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_training_draws_a_new_mask_each_time_from_torchs_generator(tiny_model: Path) -> None:
    model = lora_model(tiny_model, lora_dropout=0.5)
    with fused_lora(model):
        torch.manual_seed(3)
        one, _ = loss_and_gradients(model)
        two, _ = loss_and_gradients(model)
        torch.manual_seed(3)
        again, _ = loss_and_gradients(model)
    assert one == again != two


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mask_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    mask = dropout_mask(400, 503, p)
    assert float((mask == 0).float().mean()) == pytest.approx(p, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.02)


def test_dora_keeps_pefts_own_code(tiny_model: Path) -> None:
    with fused_lora(lora_model(tiny_model, use_dora=True)) as layers:
        assert layers == 0


def test_the_layers_are_pefts_again_afterwards(tiny_model: Path) -> None:
    model = lora_model(tiny_model)
    with fused_lora(model):
        pass
    assert not any("forward" in vars(part) for part in model.modules())
