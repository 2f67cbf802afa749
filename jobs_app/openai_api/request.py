"""Reads the body of ``POST /v1/fine_tuning/jobs``. Whatever we do not do is refused by name, never ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.train.spec import SpecProblems
from jobs_app.training_settings import batch_settings, checked

AUTO = "auto"
SUPERVISED, DPO = "supervised", "dpo"
HYPERPARAMETERS = {
    SUPERVISED: ("n_epochs", "batch_size", "learning_rate_multiplier"),
    DPO: ("n_epochs", "batch_size", "learning_rate_multiplier", "beta"),
}
PARAMETERS = frozenset(
    {
        "model",
        "training_file",
        "validation_file",
        "hyperparameters",
        "method",
        "suffix",
        "seed",
        "metadata",
        "integrations",
        "training",
        "cost_approved",
    }
)
MOST_BETA = 2.0  # OpenAI's limit; the engine's own is checked with ``training``


@dataclass(frozen=True)
class CreateRequest:
    """A checked request. The hyperparameters are numbers or ``auto``; ``training`` holds further TrainingSpec fields,
    which win over them; ``cost_approved`` says that a provider may be paid for the job."""

    model: str
    training_file: str
    validation_file: str = ""
    suffix: str = ""
    seed: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    method: str = SUPERVISED
    n_epochs: int | str = AUTO
    batch_size: int | str = AUTO
    learning_rate_multiplier: float | str = AUTO
    beta: float | str = AUTO
    training: dict[str, Any] = field(default_factory=dict)
    cost_approved: bool = False

    def spec(self, automatic_learning_rate: float) -> dict[str, Any]:
        """The TrainingSpec fields that this request sets."""
        out: dict[str, Any] = {}
        if self.method == DPO:
            out["method"] = "dpo"
        if self.n_epochs != AUTO:
            out["num_train_epochs"] = self.n_epochs
        if isinstance(self.batch_size, int):
            out |= batch_settings(self.batch_size)
        if isinstance(self.learning_rate_multiplier, int | float):
            out["learning_rate"] = min(1.0, automatic_learning_rate * self.learning_rate_multiplier)
        if isinstance(self.beta, int | float):
            out["beta"] = self.beta
        if self.seed is not None:
            out["seed"] = self.seed
        return out | self.training

    def kept(self) -> dict[str, Any]:
        """What the job remembers of it, to answer in the same words."""
        return {
            "model": self.model,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            **({"beta": self.beta} if self.method == DPO else {}),
        }


def refuse(param: str, sentence: str, code: str = "invalid_parameter") -> UserError:
    """A 400 that names the parameter."""
    return UserError(code, sentence, field=param, reason="bad_config", status=400)


def json_body(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises UserError 400."""
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as mistake:
        raise refuse("body", "The body of the request is not JSON.", "invalid_json") from mistake
    if not isinstance(body, dict):
        raise refuse("body", "The body of the request must be a JSON object.", "invalid_json")
    return body


def read_create(body: Mapping[str, Any]) -> CreateRequest:
    """Check a request. Raises UserError 400 naming the first parameter at fault."""
    for name in body:
        if name not in PARAMETERS:
            raise refuse(name, f"Unknown parameter: {name!r}.", "unknown_parameter")
    if body.get("integrations"):
        raise refuse(
            "integrations",
            "integrations are not supported: the operator decides where the site reports. Leave them out; the metrics "
            "are in the job's events and in its result file.",
            "unsupported_parameter",
        )
    method, numbers, where = _method(body)
    return CreateRequest(
        model=_text(body, "model"),
        training_file=_text(body, "training_file"),
        validation_file=_text(body, "validation_file") if body.get("validation_file") is not None else "",
        suffix=_suffix(body.get("suffix")),
        seed=_seed(body.get("seed")),
        metadata=_metadata(body.get("metadata")),
        method=method,
        n_epochs=_whole(numbers, where, "n_epochs", 1, 1000),
        batch_size=_whole(numbers, where, "batch_size", 1, 4096),
        learning_rate_multiplier=_number(numbers, where, "learning_rate_multiplier", 1000),
        beta=_number(numbers, where, "beta", MOST_BETA),
        training=_training(body.get("training"), method),
        cost_approved=_truth(body, "cost_approved"),
    )


def _method(body: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """The method, its hyperparameters, and where in the body they stand."""
    old = _known_numbers(body.get("hyperparameters"), "hyperparameters", SUPERVISED)
    method = body.get("method")
    if method is None:
        return SUPERVISED, old, "hyperparameters"
    if not isinstance(method, Mapping) or method.get("type") not in (SUPERVISED, DPO, "reinforcement"):
        raise refuse("method.type", "method must be an object with the type 'supervised' or 'dpo'.")
    kind = str(method["type"])
    if kind == "reinforcement":
        raise refuse(
            "method.type",
            "The method 'reinforcement' is not offered here, as there are no graders. Use 'supervised' with examples of "
            "good answers, or 'dpo' with pairs of a better and a worse one.",
            "unsupported_parameter",
        )
    for name in method:
        if name not in ("type", kind):
            raise refuse(f"method.{name}", f"Unknown parameter for this type: 'method.{name}'.", "unknown_parameter")
    settings = method.get(kind) or {}
    if not isinstance(settings, Mapping):
        raise refuse(f"method.{kind}", f"method.{kind} must be an object.")
    for name in settings:
        if name != "hyperparameters":
            raise refuse(f"method.{kind}.{name}", f"Unknown parameter: 'method.{kind}.{name}'.", "unknown_parameter")
    where = f"method.{kind}.hyperparameters"
    new = _known_numbers(settings.get("hyperparameters"), where, kind)
    if old and new:
        raise refuse("hyperparameters", "Give hyperparameters in method or beside it, not in both places.")
    return (kind, new, where) if new or not old else (kind, old, "hyperparameters")


def _known_numbers(raw: Any, where: str, method: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise refuse(where, f"{where} must be an object.")
    for name in raw:
        if name not in HYPERPARAMETERS[method]:
            raise refuse(f"{where}.{name}", f"Unknown parameter: '{where}.{name}'.", "unknown_parameter")
    return dict(raw)


def _whole(numbers: Mapping[str, Any], where: str, name: str, low: int, high: int) -> int | str:
    value = numbers.get(name, AUTO)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refuse(f"{where}.{name}", f"{name} must be 'auto' or a whole number from {low} to {high}.")
    return value


def _number(numbers: Mapping[str, Any], where: str, name: str, most: float) -> float | str:
    value = numbers.get(name, AUTO)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise refuse(f"{where}.{name}", f"{name} must be 'auto' or a number above 0, at most {most:g}.")
    return float(value)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise refuse(name, f"You must provide the parameter {name!r} as text.", "missing_required_parameter")
    return value


def _truth(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise refuse(name, f"{name} must be true or false.")
    return bool(value)


def _suffix(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 64:
        raise refuse("suffix", "suffix must be text of up to 64 signs.")
    return value


def _seed(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise refuse("seed", "seed must be a whole number from 0 to 4294967295.")
    return value


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refuse("metadata", "metadata must be an object of text.")
    return dict(value)


def _training(value: Any, method: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refuse("training", "training must be an object of training settings.")
    if method == DPO and value.get("method", "dpo") != "dpo":
        raise refuse("training.method", "method says 'dpo' and training.method something else. Leave one of them out.")
    try:
        return checked(value)
    except SpecProblems as found:
        raise refuse(f"training.{found.problems[0].field}", found.sentence) from found
