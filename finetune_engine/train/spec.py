"""The training settings: the one place of their names, defaults and limits (form, API and engine read it).

Standard library only. ``TrainingSpec`` is what a person asked for, where many things may be ``auto``;
``EffectiveSpec`` is what the run will do, with nothing left open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.train.setting_checks import (
    ALL_LINEAR,
    WITH_EMBEDDINGS,
    modules,
    number,
    one_of,
    or_auto,
    or_null,
    whole,
)

METHODS = ("sft", "dpo", "kto")
# How many texts the model reads at once for one row.
TEXTS_PER_ROW = {"sft": 1, "dpo": 2, "kto": 1}
PEFT_KINDS = ("lora", "rslora", "dora", "qlora", "full")
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")
BEST_METRICS = ("eval_loss", "eval_mean_token_accuracy")
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
# Small models need larger steps: (parameters below, rate for adapters, rate for all weights).
LEARNING_RATES = (
    (10_000_000, 5e-3, 1e-3),
    (100_000_000, 2e-3, 3e-4),
    (500_000_000, 5e-4, 5e-5),
    (math.inf, 2e-4, 2e-5),
)
# In a very small model the word vectors hold most of what it knows. Measured with a weaker, earlier demo-base (ten
# classes, 3 passes, 135 test cases, one seed): adapters on the layers alone answered 35 % exactly, adapters on the word
# vectors too 75 % and 81 % in two runs. Chosen on those same cases, so expect somewhat less elsewhere.
TINY_MODEL = 10_000_000
# Learning from preferences moves a model that can already answer, so it takes small steps: the published Zephyr
# recipes use 5e-6 with adapters and 5e-7 on all weights of a 7B model, a fortieth of the supervised rates above.
# https://github.com/huggingface/alignment-handbook/tree/main/recipes/zephyr-7b-beta
PREFERENCE_SHARE = 1 / 40
WARMUP_SHARE = 0.1
EVALUATIONS_AT_LEAST = 8
SAVES_AT_LEAST = 4


class SpecProblems(UserError):
    """Everything that is wrong with a spec, found in one go; ``problems`` has one UserError for each field."""

    def __init__(self, problems: list[UserError]) -> None:
        self.problems = problems
        sentence = " ".join(problem.sentence for problem in problems)
        super().__init__("bad_training_spec", sentence, field=problems[0].field, reason="bad_config")

    def as_dict(self) -> dict[str, Any]:
        """As UserError, with ``problems``: a list of ``{code, message, field}``."""
        return super().as_dict() | {"problems": [problem.as_dict() for problem in self.problems]}


@dataclass(frozen=True)
class BaseFacts:
    """What the settings depend on in the base model. None means unknown.

    ``learning_rate`` is the catalogue's suggestion for adapters.
    """

    parameters: int | None = None
    context_length: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class TrainingSpec:
    """Training settings as asked for, with their defaults. Names are those of transformers and peft."""

    method: str = "sft"
    peft: str = "lora"
    r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    target_modules: str | list[str] = "auto"
    num_train_epochs: float = 3
    per_device_train_batch_size: int = 4
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 4
    learning_rate: float | str = "auto"
    lr_scheduler_type: str = "cosine"
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_length: int | str = 512
    eval_steps: int = 100
    save_steps: int = 500
    metric_for_best_model: str = "eval_loss"
    greater_is_better: bool | None = None
    load_best_model_at_end: bool = True
    early_stopping_patience: int = 3
    precision: str = "auto"
    gradient_checkpointing: bool | str = "auto"
    packing: bool | str = "auto"
    completion_only_loss: bool = True
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    seed: int = 42

    @classmethod
    def from_dict(cls, raw: Any) -> TrainingSpec:
        """Read settings from JSON; a field left out has its default. Raises SpecProblems with every mistake."""
        if not isinstance(raw, Mapping):
            raise SpecProblems([_problem("training", "The training settings must be an object.")])
        problems = [_problem(str(name), _unknown(str(name))) for name in raw if name not in CHECKS]
        values: dict[str, Any] = {}
        for name, check in CHECKS.items():
            if name not in raw:
                continue
            try:
                values[name] = check(raw[name])
            except ValueError as mistake:
                problems.append(_problem(name, f"{name} {mistake}."))
        if not problems:
            problems = _contradictions(cls(**values))
        if problems:
            raise SpecProblems(problems)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Every field as a JSON value."""
        return asdict(self)

    def effective(
        self, n_examples: int, base: BaseFacts, *, longest: int | None = None, device: str = "cpu", bf16: bool = False
    ) -> EffectiveSpec:
        """Settle everything that is ``auto`` for ``n_examples`` training rows.

        ``longest`` is the longest row in tokens (None: not known yet), ``device`` ``cpu`` or ``cuda``, ``bf16``
        whether the GPU has it. Raises UserError ``bad_config`` when ``n_examples`` is 0.
        """
        if n_examples < 1:
            raise UserError("no_examples", "There is no example to train on.", field="snapshot")
        per_step = self.per_device_train_batch_size * self.gradient_accumulation_steps
        steps_per_pass = math.ceil(n_examples / per_step)
        total = max(1, math.ceil(steps_per_pass * self.num_train_epochs))
        return EffectiveSpec(
            asked=self,
            examples_per_step=per_step,
            steps_per_pass=steps_per_pass,
            total_steps=total,
            learning_rate=self._learning_rate(base),
            warmup_steps=min(self.warmup_steps, int(total * WARMUP_SHARE)),
            eval_steps=min(self.eval_steps, max(1, math.ceil(total / EVALUATIONS_AT_LEAST))),
            save_steps=min(self.save_steps, max(1, math.ceil(total / SAVES_AT_LEAST))),
            max_length=self._max_length(base, longest),
            precision=self._precision(device, bf16),
            greater_is_better=self.metric_for_best_model != "eval_loss",
            gradient_checkpointing=self.gradient_checkpointing is True,
            packing=self.packing is not False,
            target_modules=self._target_modules(base),
        )

    def _target_modules(self, base: BaseFacts) -> str | list[str]:
        if self.target_modules != "auto":
            return self.target_modules
        is_tiny = base.parameters is not None and base.parameters < TINY_MODEL
        return WITH_EMBEDDINGS if is_tiny else ALL_LINEAR

    def _learning_rate(self, base: BaseFacts) -> float:
        if isinstance(self.learning_rate, int | float):
            return float(self.learning_rate)
        share = 1.0 if self.method == "sft" else PREFERENCE_SHARE
        if base.learning_rate is not None and self.peft != "full":
            return base.learning_rate * share
        parameters = base.parameters if base.parameters is not None else math.inf
        _, adapters, whole = next(row for row in LEARNING_RATES if parameters < row[0] or row[0] == math.inf)
        return (whole if self.peft == "full" else adapters) * share

    def _max_length(self, base: BaseFacts, longest: int | None) -> int:
        context = base.context_length or 2048
        if isinstance(self.max_length, int):
            return min(self.max_length, context)
        return min(context, longest) if longest else context

    def _precision(self, device: str, bf16: bool) -> str:
        if self.precision != "auto":
            return self.precision
        return "fp32" if device == "cpu" else ("bf16" if bf16 else "fp16")


@dataclass(frozen=True)
class EffectiveSpec:
    """What a run does. ``asked`` keeps the settings that needed no decision."""

    asked: TrainingSpec
    examples_per_step: int
    steps_per_pass: int
    total_steps: int
    learning_rate: float
    warmup_steps: int
    eval_steps: int
    save_steps: int
    max_length: int
    precision: str
    greater_is_better: bool
    gradient_checkpointing: bool
    packing: bool
    target_modules: str | list[str]

    @property
    def tokens_per_micro_batch(self) -> int:
        """Memory the person allowed: a device batch of rows as long as they may be (a pair of answers is two texts)."""
        return self.asked.per_device_train_batch_size * self.max_length * TEXTS_PER_ROW[self.asked.method]

    @property
    def tokens_per_eval_batch(self) -> int:
        """The same for evaluation, which keeps no gradients."""
        return self.asked.per_device_eval_batch_size * self.max_length * TEXTS_PER_ROW[self.asked.method]

    def as_dict(self) -> dict[str, Any]:
        """All settings, the settled ones in place of what was asked."""
        settled = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "asked"}
        return self.asked.as_dict() | settled


@dataclass(frozen=True)
class SnapshotRef:
    """The frozen dataset of a run: a Parquet file and the hash its manifest must show (None: not checked)."""

    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class RunSpec:
    """One training run: the whole of SPEC.json.

    Every row of ``validation`` is validated on, in place of the snapshot's own validation split. ``continue_from`` is
    the folder of a trained adapter to go on from, ``resume_from`` a checkpoint of this very run. ``threads`` None means
    all cores this process may use, ``processes`` None that one process trains, or one for each GPU where one cannot hold
    the model. ``provider`` says where a model is trained that is not on this machine: ``base_url``, ``model`` and the
    ``state`` of an earlier attempt.
    """

    base_model: dict[str, Any]
    snapshot: SnapshotRef
    training: TrainingSpec = field(default_factory=TrainingSpec)
    validation: SnapshotRef | None = None
    continue_from: str | None = None
    resume_from: str | None = None
    task_type: str | None = None
    threads: int | None = None
    processes: int | None = None
    provider: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, raw: Any) -> RunSpec:
        """Read SPEC.json; raises SpecProblems with every mistake found."""
        if not isinstance(raw, Mapping):
            raise SpecProblems([_problem("spec", "The spec must be a JSON object.")])
        problems: list[UserError] = []
        known = {item.name for item in fields(cls)} | {"out"}
        problems += [
            _problem(str(name), f"The spec has an unknown part {name!r}.") for name in raw if name not in known
        ]
        snapshot = _snapshot_ref(raw.get("snapshot"), "snapshot", problems)
        validation = _snapshot_ref(raw["validation"], "validation", problems) if raw.get("validation") else None
        if not isinstance(raw.get("base_model"), Mapping):
            problems.append(_problem("base_model", "base_model must be an object with a key and a path or hub name."))
        for name in ("threads", "processes"):
            if raw.get(name) is not None and not _is_count(raw[name]):
                problems.append(_problem(name, f"{name} must be a whole number from 1."))
        if raw.get("provider") is not None and not isinstance(raw["provider"], Mapping):
            problems.append(_problem("provider", "provider must be an object with a base_url and a model."))
        training = TrainingSpec()
        try:
            training = TrainingSpec.from_dict(raw.get("training") or {})
        except SpecProblems as found:
            problems += found.problems
        if problems:
            raise SpecProblems(problems)
        return cls(
            base_model=dict(raw["base_model"]),
            snapshot=snapshot,
            training=training,
            validation=validation,
            continue_from=raw.get("continue_from") or None,
            resume_from=raw.get("resume_from") or None,
            task_type=raw.get("task_type") or None,
            threads=raw.get("threads"),
            processes=raw.get("processes"),
            provider=dict(raw["provider"]) if raw.get("provider") is not None else None,
        )


def _snapshot_ref(raw: Any, name: str, problems: list[UserError]) -> SnapshotRef:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("path"), str):
        problems.append(_problem(name, f"{name} must give the path of a frozen dataset."))
        return SnapshotRef("")
    return SnapshotRef(raw["path"], raw.get("sha256"))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _problem(name: str, sentence: str) -> UserError:
    return UserError("bad_config", sentence, field=name, reason="bad_config")


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, CHECKS, n=1)
    return f"There is no training setting {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


CHECKS: dict[str, Callable[[Any], Any]] = {
    "method": one_of(*METHODS),
    "peft": one_of(*PEFT_KINDS),
    "r": whole(1, 1024),
    "lora_alpha": whole(1, 4096),
    "lora_dropout": number(0, 0.9),
    "target_modules": modules,
    "num_train_epochs": number(0, 1000, above=True),
    "per_device_train_batch_size": whole(1, 4096),
    "per_device_eval_batch_size": whole(1, 4096),
    "gradient_accumulation_steps": whole(1, 4096),
    "learning_rate": or_auto(number(0, 1, above=True)),
    "lr_scheduler_type": one_of(*SCHEDULERS),
    "warmup_steps": whole(0, 1_000_000),
    "weight_decay": number(0, 1),
    "max_grad_norm": number(0, 1000, above=True),
    "max_length": or_auto(whole(8, 1_048_576)),
    "eval_steps": whole(1, 10_000_000),
    "save_steps": whole(1, 10_000_000),
    "metric_for_best_model": one_of(*BEST_METRICS),
    "greater_is_better": or_null(one_of(True, False)),
    "load_best_model_at_end": one_of(True, False),
    "early_stopping_patience": whole(0, 1000),
    "precision": one_of(*PRECISIONS),
    "gradient_checkpointing": or_auto(one_of(True, False)),
    "packing": or_auto(one_of(True, False)),
    "completion_only_loss": one_of(True, False),
    "beta": number(0, 100, above=True),
    "desirable_weight": number(0, 1000),
    "undesirable_weight": number(0, 1000),
    "seed": whole(0, 2**32 - 1),
}


def _contradictions(spec: TrainingSpec) -> list[UserError]:
    found: list[UserError] = []
    wanted = spec.metric_for_best_model != "eval_loss"
    if spec.greater_is_better is not None and spec.greater_is_better != wanted:
        better = "greater" if wanted else "smaller"
        sentence = (
            f"greater_is_better contradicts metric_for_best_model: {spec.metric_for_best_model} is better when "
            f"{better}. Leave greater_is_better out."
        )
        found.append(_problem("greater_is_better", sentence))
    if spec.method != "sft" and not spec.completion_only_loss:
        sentence = (
            f"completion_only_loss must stay true with method {spec.method!r}: preferences compare answers, "
            "and the question is the same for both."
        )
        found.append(_problem("completion_only_loss", sentence))
    if spec.method == "kto" and spec.desirable_weight == spec.undesirable_weight == 0:
        sentence = "desirable_weight and undesirable_weight cannot both be 0: nothing would be learnt."
        found.append(_problem("desirable_weight", sentence))
    return found
