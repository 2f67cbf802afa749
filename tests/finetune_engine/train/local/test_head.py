"""The loss of scored positions from their vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetune_engine.train.local.head import plain_head, scored_loss


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_loss_gradient_and_right_guesses_are_those_of_all_logits_at_once(rows: int) -> None:
    torch.manual_seed(0)
    vectors, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5)
    targets = torch.randint(0, 11, (7,))
    logits = vectors @ weight.t()
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    loss, right = scored_loss(vectors, weight, targets, rows=rows)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert int(right) == int((logits.argmax(-1) == targets).sum())
    ours, theirs = (torch.autograd.grad(value * 0.5, vectors)[0] for value in (loss, expected))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_nothing_is_kept_for_a_gradient_nobody_wants() -> None:
    vectors, weight = torch.randn(2, 5, requires_grad=True), torch.randn(11, 5)
    with torch.no_grad():
        loss, _ = scored_loss(vectors, weight, torch.tensor([1, 2]))
    assert not loss.requires_grad


def test_a_last_layer_that_learns_goes_the_usual_way(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert plain_head(model) is None
    model.requires_grad_(False)
    assert plain_head(model) is model.lm_head.weight
