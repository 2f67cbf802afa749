"""A tiny adapted model whose weights have moved from its base, and a lesson around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.lesson import Lesson
from finetune_engine.train.local.objectives.objective import Objective
from finetune_engine.train.spec import BaseFacts, TrainingSpec

MakeLesson = Callable[..., Lesson]


@pytest.fixture
def new_model(tiny_model: Path) -> Any:
    """The tiny model with an untrained LoRA adapter, which changes nothing yet; no dropout."""
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"))
    return model.train()


def move(model: Any, seed: int = 4) -> Any:
    """The model with an adapter that changes its answers, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B.default" in name:
            torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    return model


@pytest.fixture
def make_lesson(tmp_path: Path) -> MakeLesson:
    """``make_lesson(model, objective, flat=False)``: a lesson without rows."""

    def make(model: Any, objective: Objective[Any], *, flat: bool = False, **settings: Any) -> Lesson:
        return Lesson(
            model=model,
            objective=objective,
            train=[],
            valid=[],
            spec=TrainingSpec.from_dict(settings).effective(10, BaseFacts(context_length=256)),
            device=torch.device("cpu"),
            dtype=torch.float32,
            pad_id=1,
            flat=flat,
            checkpoints=tmp_path,
            facts={},
        )

    return make


def text(generator: torch.Generator, prompt: list[int], answer: int) -> Encoded:
    """``prompt`` and ``answer`` random ids."""
    ids = torch.randint(2, 258, (answer,), generator=generator).tolist()
    return Encoded(prompt + ids, len(prompt))


def with_reference(lesson: Lesson, rows: list[Any]) -> list[Any]:
    """``rows`` with the bare base model as their reference."""
    with lesson.model.disable_adapter():
        return lesson.objective.prepare(lesson, rows, lambda: None)


def gradients(lesson: Lesson, rows: list[Any], *, budget: int) -> tuple[float, list[torch.Tensor]]:
    """Mean loss and the gradients of its parameters."""
    lesson.model.zero_grad(set_to_none=True)
    weight = lesson.objective.weight(rows)
    sums = lesson.objective.add_gradients(lesson, rows, budget=budget, backward=lambda loss: (loss / weight).backward())
    kept = [p.grad.clone() for p in lesson.model.parameters() if p.grad is not None]
    return sums.mean_loss, kept
