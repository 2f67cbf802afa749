"""The ``provider`` part of a run's spec: where the training takes place, and how patient we are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from finetune_engine.errors import UserError

KEY_VARIABLE = "TUNESMITH_PROVIDER_KEY"  # the key comes in the environment, never in a file
AUTO = "auto"
BATCH_SIZE = 4
LEARNING_RATE_MULTIPLIER = 0.1
# OpenAI, guide "Supervised fine-tuning" (fewest examples) and reference of ``POST /files`` (size of one file).
FEWEST_EXAMPLES = 10
MOST_FILE_BYTES = 512 * 1000 * 1000
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Hyperparameters:
    """The provider's few numbers; ``auto`` leaves one to the provider. ``beta`` is sent for preference pairs only."""

    n_epochs: int | str = AUTO
    batch_size: int | str = BATCH_SIZE
    learning_rate_multiplier: float | str = LEARNING_RATE_MULTIPLIER
    beta: float | str = AUTO

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Hyperparameters:
        """Read what was asked; what is left out has its default. Raises UserError naming the one at fault."""
        known = {item.name: item.default for item in fields(cls)}
        for name, value in raw.items():
            if name not in known:
                raise _bad(
                    f"provider.{name}", f"A provider takes no hyper-parameter {name!r}; it takes {_list(known)}."
                )
            whole = name in {"n_epochs", "batch_size"}
            right = isinstance(value, int) if whole else isinstance(value, int | float)
            if value != AUTO and (isinstance(value, bool) or not right or value <= 0):
                kind = "a whole number from 1" if whole else "a number above 0"
                raise _bad(f"provider.{name}", f"{name} must be 'auto' or {kind}, not {value!r}.")
        return cls(**raw)

    def as_method(self, method: str) -> dict[str, Any]:
        """The ``method`` parameter of a new job: ``sft`` is ``supervised`` there, ``dpo`` is ``dpo``."""
        numbers: dict[str, Any] = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        if method == "dpo":
            return {"type": "dpo", "dpo": {"hyperparameters": numbers | {"beta": self.beta}}}
        return {"type": "supervised", "supervised": {"hyperparameters": numbers}}


@dataclass(frozen=True)
class ProviderSettings:
    """One training at a provider. ``job`` is our own job's id, ``state`` what an earlier attempt left
    (``ledger.Ledger``), ``longest_tokens`` the most the model reads of one example (None: unknown)."""

    base_url: str
    model: str
    job: str
    suffix: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    state: dict[str, Any] = field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()
    longest_tokens: int | None = None
    poll_seconds: float = 30.0
    answer_seconds: float = 60.0
    first_pause_seconds: float = 2.0
    patience_seconds: float = 600.0

    @classmethod
    def from_dict(cls, raw: Any) -> ProviderSettings:
        """Read the spec's ``provider``. Raises UserError for what is missing or unknown."""
        if not isinstance(raw, Mapping):
            raise _bad("provider", "provider must be an object with base_url, model and job.")
        known = [item.name for item in fields(cls)]
        for name in ("base_url", "model", "job"):
            if not isinstance(raw.get(name), str) or not raw[name]:
                raise _bad(f"provider.{name}", f"provider needs {name} as text.")
        for name in raw:
            if name not in known:
                raise _bad(f"provider.{name}", f"provider has an unknown part {name!r}.")
        address = urlsplit(raw["base_url"])
        if address.scheme not in {"http", "https"} or not address.hostname or address.username:
            raise _bad("provider.base_url", f"{raw['base_url']!r} is no address of a provider.")
        values = dict(raw)
        values["hyperparameters"] = Hyperparameters.from_dict(raw.get("hyperparameters") or {})
        values["allowed_hosts"] = tuple(raw.get("allowed_hosts") or ())
        return cls(**values)


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


def _bad(name: str, sentence: str) -> UserError:
    return UserError("bad_config", sentence, field=name, reason="bad_config")
