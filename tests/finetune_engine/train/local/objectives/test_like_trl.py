"""Losses and gradients of preference methods are TRL's on the same batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from finetune_engine.train.local.objectives.dpo import DirectPreference, Pair
from finetune_engine.train.local.objectives.kto import Verdict, Verdicts
from tests.finetune_engine.train.local.objectives.conftest import MakeLesson, gradients, move, text, with_reference

CLOSE = 1e-5
QUIET: dict[str, Any] = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}


def pairs() -> list[Pair]:
    """Six pairs of answers of different lengths."""
    source = torch.Generator().manual_seed(5)
    prompts = [torch.randint(2, 258, (3 + 2 * i,), generator=source).tolist() for i in range(6)]
    return [Pair(text(source, prompt, 2 + i), text(source, prompt, 7 - i)) for i, prompt in enumerate(prompts)]


def verdicts() -> list[Verdict]:
    """Six judged answers, four of them wanted."""
    return [Verdict(pair.chosen, wanted=index % 3 != 1) for index, pair in enumerate(pairs())]


def grads(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of ``loss``."""
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_a_dpo_batch_has_the_loss_and_gradients_of_trl(
    new_model: Any, make_lesson: MakeLesson, tiny_model: Path, tmp_path: Path, beta: float
) -> None:
    data = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    trainer = DPOTrainer(
        model=new_model,
        args=DPOConfig(output_dir=str(tmp_path), beta=beta, **QUIET),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    raw = [
        {
            "prompt_ids": row.chosen.input_ids[: row.chosen.prompt_length],
            "chosen_ids": row.chosen.answer_ids,
            "rejected_ids": row.rejected.answer_ids,
        }
        for row in pairs()
    ]
    theirs = trainer.compute_loss(move(new_model), DataCollatorForPreference(pad_token_id=1)(raw))
    their_grads = grads(new_model, theirs)
    logged = trainer._metrics["train"]

    lesson = make_lesson(new_model, DirectPreference(beta))
    rows = with_reference(lesson, pairs())
    ours, our_grads = gradients(lesson, rows, budget=60)
    assert ours == pytest.approx(float(theirs), abs=CLOSE)
    assert abs(ours - 0.6931) > 0.001  # the model has moved: this is not the loss of the first step
    assert all(torch.allclose(a, b, atol=CLOSE) for a, b in zip(our_grads, their_grads, strict=True))
    rewards = lesson.objective.judge(lesson, rows, budget=60, between=lambda: None).rewards()
    assert rewards["rewards_margin"] == pytest.approx(logged["rewards/margins"][0], abs=CLOSE)
    assert rewards["rewards_accuracy"] == pytest.approx(logged["rewards/accuracies"][0])


@pytest.mark.parametrize(
    ("wanted", "unwanted", "seed", "has_moved"),
    [(1.0, 1.0, 4, False), (1.3, 0.7, 6, True)],
    ids=["the estimate is below zero", "weighted, the estimate counts"],
)
def test_a_kto_batch_has_the_loss_and_gradients_of_trl(
    new_model: Any,
    make_lesson: MakeLesson,
    tiny_model: Path,
    tmp_path: Path,
    wanted: float,
    unwanted: float,
    seed: int,
    has_moved: bool,
) -> None:
    data = Dataset.from_list([{"prompt": "a", "completion": "b", "label": True}] * 2)
    trainer = KTOTrainer(
        model=new_model,
        args=KTOConfig(
            output_dir=str(tmp_path), beta=0.1, desirable_weight=wanted, undesirable_weight=unwanted, **QUIET
        ),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    lesson = make_lesson(move(new_model, seed), Verdicts(0.1, wanted, unwanted))
    rows = with_reference(lesson, verdicts())
    assert (lesson.objective.moved(lesson, rows, 60, lambda: None) > 0) == has_moved
    answers = [row.answer for row in rows]
    raw = [
        {
            "prompt_ids": answer.input_ids[: answer.prompt_length],
            "completion_ids": answer.answer_ids,
            "KL_completion_ids": answers[index - 1].answer_ids,
            "label": rows[index].wanted,
        }
        for index, answer in enumerate(answers)
    ]
    theirs = trainer.compute_loss(new_model, DataCollatorForUnpairedPreference(pad_token_id=1)(raw))
    their_grads = grads(new_model, theirs)

    ours, our_grads = gradients(lesson, rows, budget=60)
    assert ours == pytest.approx(float(theirs), abs=CLOSE)
    assert all(torch.allclose(a, b, atol=CLOSE) for a, b in zip(our_grads, their_grads, strict=True))
    margin = lesson.objective.judge(lesson, rows, budget=60, between=lambda: None).rewards()["rewards_margin"]
    assert margin == pytest.approx(trainer._metrics["train"]["rewards/margins"][0], abs=CLOSE)
