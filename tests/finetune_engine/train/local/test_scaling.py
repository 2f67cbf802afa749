"""The loss scale of 16-bit floats."""

from __future__ import annotations

import torch

from finetune_engine.train.local.scaling import FIRST, GOOD_STEPS, LossScale


def test_only_fp16_is_scaled() -> None:
    assert LossScale.for_dtype(torch.float16).factor == FIRST
    assert not LossScale.for_dtype(torch.bfloat16).in_use


def test_gradients_come_back_to_their_size() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    scale = LossScale.for_dtype(torch.float16)
    (weight.sum() * scale.factor).backward()  # type: ignore[no-untyped-call]
    scale.undo([weight])
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones(3))


def test_a_gradient_too_large_is_the_scales_fault_until_there_is_no_scale_left() -> None:
    scale = LossScale.for_dtype(torch.float16)
    blamed = [scale.learn(is_finite=False) for _ in range(17)]
    assert blamed == [True] * 16 + [False]
    assert scale.factor == 1.0


def test_the_scale_grows_after_many_good_steps() -> None:
    scale = LossScale(in_use=True, factor=8.0, good=GOOD_STEPS - 1)
    scale.learn(is_finite=True)
    assert (scale.factor, scale.good) == (16.0, 0)
