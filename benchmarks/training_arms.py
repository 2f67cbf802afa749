"""One arm of the training benchmark in a process of its own: ``python -m benchmarks.training_arms ARM FOLDER``.

Arms that are compared take turns: after each round of steps the process waits for a line on its standard input. What a
step took is CPU-seconds of the process and its threads, the data loader's work included; evaluations are not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.training_lesson import ACCUMULATE, BATCH, LONGEST, SEED, Lesson

LEARNING_RATE = 1e-3
RANK, ALPHA = 16, 32
PER_STEP = BATCH * ACCUMULATE


class Turns:
    """Times steps and waits for its turn. ``take_turns`` False: never waits."""

    def __init__(
        self, lesson: Lesson, *, take_turns: bool = True, now: Callable[[], float] = time.process_time
    ) -> None:
        self.round_steps, self.take_turns, self.now = lesson.sizes.round_steps, take_turns, now
        self.seconds: list[float] = []
        self.valid: dict[int, float] = {}
        self.begun = 0.0

    def wait(self) -> None:
        """Say that the round is over, and sleep until the next may begin."""
        if self.take_turns:
            print("waiting", flush=True)
            if not sys.stdin.readline():
                raise SystemExit("the benchmark went away")
        self.begun = self.now()

    def step_done(self, valid: Callable[[], float] | float | None) -> None:
        """Called after each optimiser step; ``valid`` is the validation loss, or how to find it, when it is due."""
        self.seconds.append(self.now() - self.begun)
        step = len(self.seconds)
        if step % self.round_steps == 0:
            self.valid[step] = valid() if callable(valid) else float("nan") if valid is None else valid
            self.wait()
        else:
            self.begun = self.now()

    def as_dict(self) -> dict[str, Any]:
        """Seconds of every step, and validation losses by step."""
        return {"seconds": self.seconds, "valid": self.valid}


def validation_loss(model: Any, rows: list[dict[str, Any]]) -> float:
    """Mean nats per answer token, one row at a time through the model's own loss: independent of our evaluation."""
    import torch

    was_training = model.training
    model.eval()
    nats, scored = 0.0, 0
    device = next(model.parameters()).device
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]], device=device)
            labels = ids.clone()
            labels[:, : row["prompt"]] = -100
            n = len(row["input_ids"]) - row["prompt"]
            nats, scored = nats + float(model(input_ids=ids, labels=labels).loss) * n, scored + n
    model.train(was_training)
    return nats / scored


def our_spec(lesson: Lesson, out: Path) -> dict[str, Any]:
    """The spec of our arm; the settings of the others are the same by other names."""
    return {
        "out": str(out),
        "base_model": {"key": "lesson", "path": str(lesson.model)},
        "snapshot": {"path": str(lesson.snapshot)},
        "training": {
            "r": RANK,
            "lora_alpha": ALPHA,
            "lora_dropout": lesson.sizes.lora_dropout,
            "target_modules": "all-linear",
            "num_train_epochs": 1,
            "per_device_train_batch_size": BATCH,
            "gradient_accumulation_steps": ACCUMULATE,
            "learning_rate": LEARNING_RATE,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "max_length": LONGEST,
            "eval_steps": lesson.sizes.round_steps,
            "load_best_model_at_end": False,
            "early_stopping_patience": 0,
            "seed": SEED,
        },
    }


def ours(lesson: Lesson, turns: Turns) -> dict[str, Any]:
    """``finetune_engine train`` as a job runs it, with a sink that keeps time."""
    from finetune_engine.events import Event
    from finetune_engine.ports import Run
    from finetune_engine.train.backends.local_peft import run_training
    from finetune_engine.train.spec import RunSpec

    told: dict[str, Any] = {}

    class Sink:
        def emit(self, event: Event) -> None:
            if event.kind == "phase" and event.data["phase"] == "training":
                turns.wait()
            elif event.kind == "metric":
                turns.step_done(event.data.get("valid_loss"))
            elif event.kind == "result":
                told.update(event.data)

    out = lesson.folder / "ours"
    spec = our_spec(lesson, out)
    out.mkdir()
    run_training(Run(sink=Sink()), RunSpec.from_dict(spec), out)
    record = json.loads((out / "run.json").read_text())
    facts = {name: record.get(name) for name in ("layout", "fused_layers", "compiled")}
    return turns.as_dict() | {"tokens": told["trained_tokens"], "facts": facts}


def peft_model(lesson: Lesson, load: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """``(model, tokenizer)`` as every tutorial makes them; the adapter starts with the same numbers as ours."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(lesson.model)
    model = AutoModelForCausalLM.from_pretrained(lesson.model, **(load or {}))
    torch.manual_seed(SEED)
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=lesson.sizes.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config), tokenizer


def _trainer_settings(lesson: Lesson, name: str) -> dict[str, Any]:
    return {
        "output_dir": str(lesson.folder / name),
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATE,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_steps": lesson.sizes.steps,
        "max_grad_norm": 1.0,
        "seed": SEED,
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1_000_000,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
    }


def _keeping_time(turns: Turns, lesson: Lesson) -> Any:
    """A callback for transformers' trainers."""
    from transformers import TrainerCallback

    rows = lesson.rows("validation")

    class KeepTime(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            turns.wait()

        def on_step_end(self, *args: Any, model: Any, **kwargs: Any) -> None:
            turns.step_done(lambda: validation_loss(model, rows))

    return KeepTime()


def _padding(width: int | None, pad: int) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """A collator that pads on the right, to the batch's longest row (None) or to ``width``."""
    import torch

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        wide = width or max(len(row["input_ids"]) for row in rows)
        short = [wide - len(row["input_ids"]) for row in rows]
        return {
            "input_ids": torch.tensor([row["input_ids"] + [pad] * n for row, n in zip(rows, short, strict=True)]),
            "attention_mask": torch.tensor([[1] * (wide - n) + [0] * n for n in short]),
            "labels": torch.tensor([row["labels"] + [-100] * n for row, n in zip(rows, short, strict=True)]),
        }

    return collate


def _labelled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"input_ids": row["input_ids"], "labels": [-100] * row["prompt"] + row["input_ids"][row["prompt"] :]}
        for row in rows
    ]


def trainer(lesson: Lesson, turns: Turns, *, width: int | None, checkpointing: bool) -> None:
    """transformers' Trainer with peft."""
    from transformers import Trainer, TrainingArguments

    model, tokenizer = peft_model(lesson)
    if checkpointing:
        model.enable_input_require_grads()
    arguments = TrainingArguments(**_trainer_settings(lesson, "trainer"), gradient_checkpointing=checkpointing)
    Trainer(
        model=model,
        args=arguments,
        train_dataset=_labelled(lesson.rows("train")),
        data_collator=_padding(width, tokenizer.pad_token_id),
        callbacks=[_keeping_time(turns, lesson)],
    ).train()


def trl(lesson: Lesson, turns: Turns, load: dict[str, Any] | None = None, **settings: Any) -> None:
    """TRL's SFTTrainer without the checkpointing and, on a processor, the bf16 that it would switch on (both slower)."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, tokenizer = peft_model(lesson, load)
    common = _trainer_settings(lesson, "trl") | {"max_length": LONGEST, "gradient_checkpointing": False}
    SFTTrainer(
        model=model,
        args=SFTConfig(**(common | settings)),
        train_dataset=Dataset.from_list(_labelled(lesson.rows("train"))),
        processing_class=tokenizer,
        callbacks=[_keeping_time(turns, lesson)],
    ).train()


# A packed row of 512 tokens holds about four examples, so four rows a step are the sixteen examples of the others.
PACKED = {
    "packing": True,
    "packing_strategy": "bfd",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 4,
    "train_sampling_strategy": "random",
}
PEERS: dict[str, Callable[[Lesson, Turns], None]] = {
    "plain": lambda lesson, turns: trainer(lesson, turns, width=LONGEST, checkpointing=True),
    "trainer_dynamic": lambda lesson, turns: trainer(lesson, turns, width=None, checkpointing=False),
    "trl_dynamic": lambda lesson, turns: trl(lesson, turns),
    "trl_packing": lambda lesson, turns: trl(lesson, turns, **PACKED),
    "trl_padding_free": lambda lesson, turns: trl(lesson, turns, padding_free=True, max_length=None),
}

GPU = {"use_cpu": False, "bf16": True}
GPU_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpu_trl_dynamic": ("sdpa", {}),
    "gpu_trl_packing": ("sdpa", PACKED),
    "gpu_trl_flash": ("flash_attention_2", PACKED),
}


def gpu_trl(name: str, lesson: Lesson, turns: Turns) -> None:
    """TRL in bf16 on a GPU, by the arm's name with Liger's kernels."""
    attention, settings = GPU_WAYS[name.removesuffix("_liger")]
    load = {"dtype": "bfloat16", "attn_implementation": attention}
    trl(lesson, turns, load, **(GPU | settings | {"use_liger_kernel": name.endswith("_liger")}))


def gpu_now() -> float:
    """Wall time once the GPU has done what it was asked."""
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def on_gpu(name: str, lesson: Lesson) -> dict[str, Any]:
    """One arm of ``benchmarks.training_gpu``."""
    import torch

    turns = Turns(lesson, now=gpu_now)
    if name == "gpu_ours":
        told = ours(lesson, turns)
    else:
        gpu_trl(name, lesson, turns)
        told = turns.as_dict()
    return told | {"peak_bytes": torch.cuda.max_memory_allocated()}


def floor(lesson: Lesson) -> dict[str, Any]:
    """Multiplications of square fp32 matrices: FLOP per CPU-second, once a round."""
    import torch

    side = 1024
    left, right = torch.randn(side, side), torch.randn(side, side)
    turns = Turns(lesson)
    rates = []
    for _ in range(lesson.sizes.rounds):
        turns.wait()
        count = 0
        while (taken := time.process_time() - turns.begun) < 2.0:
            left @ right
            count += 1
        rates.append(2 * side**3 * count / taken)
    turns.wait()
    return {"rates": rates}


def keep_stdout() -> None:
    """Standard output is for the benchmark alone: what libraries print goes to standard error."""
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def main() -> None:
    """Carry out one arm and leave ``<arm>.json`` in the folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    keep_stdout()
    import torch

    torch.set_num_threads(int(os.environ["TUNESMITH_THREADS"]))
    lesson = Lesson.open(folder)
    if name.startswith("gpu_"):
        told = on_gpu(name, lesson)
    elif name == "ours":
        told = ours(lesson, Turns(lesson))
    elif name == "floor":
        told = floor(lesson)
    else:
        turns = Turns(lesson)
        PEERS[name](lesson, turns)
        told = turns.as_dict()
    (folder / f"{name}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
