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
HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
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
    }
)


@dataclass(frozen=True)
class CreateRequest:
    """A checked request. The three hyperparameters are numbers or ``auto``; ``training`` holds further
    TrainingSpec fields, which win over them."""

    model: str
    training_file: str
    suffix: str = ""
    seed: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    n_epochs: int | str = AUTO
    batch_size: int | str = AUTO
    learning_rate_multiplier: float | str = AUTO
    training: dict[str, Any] = field(default_factory=dict)

    def spec(self, automatic_learning_rate: float) -> dict[str, Any]:
        """The TrainingSpec fields that this request sets."""
        out: dict[str, Any] = {}
        if self.n_epochs != AUTO:
            out["num_train_epochs"] = self.n_epochs
        if isinstance(self.batch_size, int):
            out |= batch_settings(self.batch_size)
        if isinstance(self.learning_rate_multiplier, int | float):
            out["learning_rate"] = min(1.0, automatic_learning_rate * self.learning_rate_multiplier)
        if self.seed is not None:
            out["seed"] = self.seed
        return out | self.training

    def kept(self) -> dict[str, Any]:
        """What the job remembers of it, to answer in the same words."""
        return {
            "training_file": self.training_file,
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


def refuse(param: str, sentence: str, code: str = "invalid_parameter") -> UserError:
    """A 400 that names the parameter."""
    return UserError(code, sentence, field=param, reason="bad_config", status=400)


def json_body(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises UserError 400."""
    try:
        body = json.loads(raw or b"{}")
    except ValueError as mistake:
        raise refuse("body", "The body of the request is not JSON.", "invalid_json") from mistake
    if not isinstance(body, dict):
        raise refuse("body", "The body of the request must be a JSON object.", "invalid_json")
    return body


def read_create(body: Mapping[str, Any]) -> CreateRequest:
    """Check a request. Raises UserError 400 naming the first parameter at fault."""
    for name in body:
        if name not in PARAMETERS:
            raise refuse(name, f"Unknown parameter: {name!r}.", "unknown_parameter")
    _refuse_unsupported(body)
    numbers = _hyperparameters(body)
    return CreateRequest(
        model=_text(body, "model"),
        training_file=_text(body, "training_file"),
        suffix=_suffix(body.get("suffix")),
        seed=_seed(body.get("seed")),
        metadata=_metadata(body.get("metadata")),
        n_epochs=_whole(numbers, "n_epochs", 1, 1000),
        batch_size=_whole(numbers, "batch_size", 1, 4096),
        learning_rate_multiplier=_multiplier(numbers),
        training=_training(body.get("training")),
    )


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    if body.get("validation_file"):
        raise refuse(
            "validation_file",
            "validation_file is not supported: a tenth of training_file is kept for validation, and another tenth "
            "for the final test. Leave it out; rows of the file may name their split instead.",
            "unsupported_parameter",
        )
    if body.get("integrations"):
        raise refuse("integrations", "integrations are not supported. Leave them out.", "unsupported_parameter")


def _hyperparameters(body: Mapping[str, Any]) -> dict[str, Any]:
    old = body.get("hyperparameters")
    method = body.get("method")
    if method is None:
        return _known_numbers(old, "hyperparameters")
    if not isinstance(method, Mapping) or method.get("type") not in ("supervised", "dpo", "reinforcement"):
        raise refuse("method", "method must be an object with the type 'supervised'.")
    if method["type"] != "supervised":
        raise refuse(
            "method", f"The method {method['type']!r} is not supported here; use 'supervised'.", "unsupported_parameter"
        )
    for name in method:
        if name not in ("type", "supervised"):
            raise refuse(f"method.{name}", f"Unknown parameter: 'method.{name}'.", "unknown_parameter")
    supervised = method.get("supervised") or {}
    if not isinstance(supervised, Mapping):
        raise refuse("method.supervised", "method.supervised must be an object.")
    for name in supervised:
        if name != "hyperparameters":
            raise refuse(
                f"method.supervised.{name}", f"Unknown parameter: 'method.supervised.{name}'.", "unknown_parameter"
            )
    new = _known_numbers(supervised.get("hyperparameters"), "method.supervised.hyperparameters")
    if old and new:
        raise refuse("hyperparameters", "Give hyperparameters in method or beside it, not in both places.")
    return new or _known_numbers(old, "hyperparameters")


def _known_numbers(raw: Any, where: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise refuse(where, f"{where} must be an object.")
    for name in raw:
        if name not in HYPERPARAMETERS:
            raise refuse(f"{where}.{name}", f"Unknown parameter: '{where}.{name}'.", "unknown_parameter")
    return dict(raw)


def _whole(numbers: Mapping[str, Any], name: str, low: int, high: int) -> int | str:
    value = numbers.get(name, AUTO)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refuse(f"hyperparameters.{name}", f"{name} must be 'auto' or a whole number from {low} to {high}.")
    return value


def _multiplier(numbers: Mapping[str, Any]) -> float | str:
    value = numbers.get("learning_rate_multiplier", AUTO)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1000:
        raise refuse(
            "hyperparameters.learning_rate_multiplier",
            "learning_rate_multiplier must be 'auto' or a number above 0, at most 1000.",
        )
    return float(value)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise refuse(name, f"You must provide the parameter {name!r} as text.", "missing_required_parameter")
    return value


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


def _training(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refuse("training", "training must be an object of training settings.")
    try:
        return checked(value)
    except SpecProblems as found:
        raise refuse(f"training.{found.problems[0].field}", found.sentence) from found
