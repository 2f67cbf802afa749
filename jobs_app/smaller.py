"""The same training in smaller pieces, after memory ran out. What is learnt stays the same: as many rows per step."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

from finetune_engine.train.spec import TrainingSpec


def in_pieces(spec: dict[str, Any], times: int) -> dict[str, Any]:
    """The settings with the batch halved ``times`` times and the accumulation doubled as often (a batch of an odd number
    falls to its next divisor). A batch of one stays."""
    asked = TrainingSpec.from_dict(spec)
    batch, pieces = asked.per_device_train_batch_size, asked.gradient_accumulation_steps
    judged = asked.per_device_eval_batch_size
    for _ in range(times):
        smaller = next(size for size in range(max(1, batch // 2), 0, -1) if batch % size == 0)
        batch, pieces, judged = smaller, pieces * (batch // smaller), max(1, judged // 2)
    changed = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": pieces,
        "per_device_eval_batch_size": judged,
    }
    return spec | changed if times else spec


def explain(spec: dict[str, Any], times: int) -> str:
    """What the ``times``-th retry changes, in a sentence; "" when there is nothing left to halve."""
    before, after = in_pieces(spec, times - 1), in_pieces(spec, times)
    if before == after or TrainingSpec.from_dict(before).per_device_train_batch_size == 1:
        return ""
    return gettext(
        "Trying again with %(batch)s rows at a time instead of %(before)s, added up over %(pieces)s rounds: "
        "the model learns the same, a little slower."
    ) % {
        "batch": after["per_device_train_batch_size"],
        "before": TrainingSpec.from_dict(before).per_device_train_batch_size,
        "pieces": after["gradient_accumulation_steps"],
    }
