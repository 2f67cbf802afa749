"""What an evaluation is told to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.evaluate.settings import (
    Alternative,
    CostSettings,
    DeviceHour,
    Endpoint,
    FairnessSettings,
    JudgeSettings,
    Price,
    PromptVariant,
    RegressionCase,
    SliceSettings,
    TrainingCost,
    amount,
    bad,
    items,
    mapping,
    text,
    texts,
    whole,
)

if TYPE_CHECKING:
    from finetune_engine.evaluate.rules import Rule

__all__ = [
    "SUITES",
    "Alternative",
    "CostSettings",
    "DeviceHour",
    "Endpoint",
    "EvaluateSpec",
    "FairnessSettings",
    "JudgeSettings",
    "ModelSpec",
    "Price",
    "PromptVariant",
    "RegressionCase",
    "SliceSettings",
    "TrainingCost",
    "read_spec",
    "spec_of",
]

Kind = Literal["base", "trained", "prompted", "endpoint"]
SUITES: tuple[str, ...] = ("quality", "performance", "robustness", "fairness", "cost", "capabilities")
"""The suites that may be asked for, in the order in which they run."""
SPLITS = ("test", "validation", "train")
TASK_TYPES = ("classification", "completion", "chat", "preference")
DISCORDANCE = 0.2
"""The share of cases on which two models are taken to differ, where no pilot says otherwise."""


@dataclass(frozen=True)
class ModelSpec:
    """One model to evaluate; ``key`` names columns.

    A local model has a ``base``, and perhaps an ``adapter`` on top or a ``prompt`` that it is asked with; one that is
    somewhere else has an ``endpoint`` and no base.
    """

    key: str
    name: str
    base: BaseModelRef | None
    adapter: Path | None = None
    prompt: PromptVariant | None = None
    endpoint: Endpoint | None = None

    @property
    def kind(self) -> Kind:
        """``endpoint``, ``trained`` (has an adapter), ``prompted`` or plain ``base``."""
        if self.endpoint is not None:
            return "endpoint"
        if self.adapter is not None:
            return "trained"
        return "prompted" if self.prompt is not None else "base"


@dataclass(frozen=True)
class EvaluateSpec:
    """A checked spec. ``limit`` None takes every case; ``max_new_tokens`` None follows the references' lengths.

    ``group_by`` names the metadata column whose rows belong together (None: rows are independent, unless the
    snapshot's manifest says otherwise). ``subject`` is the key of the model that the verdict is about, ``against`` the
    one it is compared with. ``headline`` and ``metrics`` None: those of the task. ``weights`` empty: the usual ones.
    ``answer_store`` None keeps answers beside the report. ``discordance``: the share of cases (0..1) on which two
    models are expected to differ, for the sentence about what the sample can show.
    """

    models: tuple[ModelSpec, ...]
    snapshot: Path
    snapshot_sha256: str | None
    split: str
    task_type: str
    limit: int | None
    seed: int
    max_new_tokens: int | None
    suites: tuple[str, ...]
    group_by: str | None
    subject: str = ""
    against: str | None = None
    headline: str | None = None
    metrics: tuple[str, ...] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    regressions: tuple[RegressionCase, ...] = ()
    slices: SliceSettings = field(default_factory=SliceSettings)
    fairness: FairnessSettings = field(default_factory=FairnessSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    judge: JudgeSettings | None = None
    answer_store: Path | None = None
    discordance: float = DISCORDANCE

    def model(self, key: str) -> ModelSpec:
        """The model named ``key``. Raises KeyError."""
        found = next((model for model in self.models if model.key == key), None)
        if found is None:
            raise KeyError(key)
        return found

    @property
    def base(self) -> ModelSpec | None:
        """The model to compare with, or None."""
        return None if self.against is None else self.model(self.against)

    @property
    def tuned(self) -> ModelSpec | None:
        """The model that the verdict is about, or None when that is a bare base model and nothing stands against it."""
        subject = self.model(self.subject)
        return None if subject.kind == "base" and self.against is None else subject


def read_spec(path: Path) -> EvaluateSpec:
    """The spec in a JSON file. Raises UserError ``bad_spec`` naming the field and the file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(
            "bad_spec", f"The specification {path.name} cannot be read: {problem}", reason="bad_config"
        ) from problem
    return spec_of(raw)


def spec_of(raw: Any) -> EvaluateSpec:
    """The spec in parsed JSON; raises as read_spec does."""
    if not isinstance(raw, Mapping):
        raise bad("spec", "The specification must be a JSON object.")
    snapshot = raw.get("snapshot")
    if not isinstance(snapshot, Mapping) or not isinstance(snapshot.get("path"), str):
        raise bad("snapshot", "The specification must name a snapshot: {path, sha256}.")
    if not Path(snapshot["path"]).is_file():
        raise bad("snapshot", f"There is no snapshot at {snapshot['path']}.")
    models = _models(raw)
    subject = _subject(raw, models)
    judge, store = raw.get("judge"), text(raw, "answer_store", "")
    discordance = amount(raw, "discordance", "")
    if discordance is not None and not 0 < discordance <= 1:
        raise bad("discordance", "discordance must be a share above 0 and at most 1.")
    return EvaluateSpec(
        models=models,
        snapshot=Path(snapshot["path"]),
        snapshot_sha256=snapshot.get("sha256"),
        split=_one_of(raw, "split", SPLITS, "test"),
        task_type=_one_of(raw, "task_type", TASK_TYPES, "completion"),
        limit=whole(raw, "limit", ""),
        seed=whole(raw, "seed", "", least=0) or 0 if raw.get("seed") is not None else 42,
        max_new_tokens=whole(raw, "max_new_tokens", ""),
        suites=_suites(raw.get("suites")),
        group_by=text(raw, "group_by", "") or None,
        subject=subject,
        against=_against(raw, models, subject),
        headline=text(raw, "headline", "") or None,
        metrics=texts(raw, "metrics", "") or None,
        weights=_weights(raw),
        rules=_rules(raw),
        regressions=tuple(RegressionCase.from_dict(case) for case in items(raw, "regressions", "")),
        slices=SliceSettings.from_dict(raw.get("slices")),
        fairness=FairnessSettings.from_dict(raw.get("fairness")),
        cost=CostSettings.from_dict(raw.get("cost")),
        judge=None if judge is None else JudgeSettings.from_dict(judge),
        answer_store=Path(store) if store else None,
        discordance=DISCORDANCE if discordance is None else discordance,
    )


def _models(raw: Mapping[str, Any]) -> tuple[ModelSpec, ...]:
    entries = raw.get("models")
    if not isinstance(entries, list) or not entries:
        raise bad("models", "Name at least one model to evaluate.")
    models = tuple(_model(entry, raw.get("base_model")) for entry in entries)
    if len({model.key for model in models}) < len(models):
        raise bad("models", "Two models have the same key.")
    return models


def _model(entry: Any, usual_base: Any) -> ModelSpec:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("key"), str) or not entry["key"].isidentifier():
        raise bad("models", "Each model needs a key of letters, digits and underscores.")
    name = text(entry, "name", "models") or entry["key"]
    if entry.get("endpoint") is not None:
        if entry.get("adapter") is not None or entry.get("base_model") is not None:
            raise bad("models.endpoint", "A model at an endpoint has no base model and no adapter here.")
        prompt = None if entry.get("prompt") is None else PromptVariant.from_dict(entry["prompt"])
        return ModelSpec(entry["key"], name, None, None, prompt, Endpoint.from_dict(entry["endpoint"]))
    adapter = text(entry, "adapter", "models")
    if adapter is not None and not Path(adapter).is_dir():
        raise bad("models", f"There is no trained model at {adapter}.")
    base = BaseModelRef.from_dict(entry.get("base_model") or usual_base)
    prompt = None if entry.get("prompt") is None else PromptVariant.from_dict(entry["prompt"])
    return ModelSpec(entry["key"], name, base, Path(adapter) if adapter else None, prompt)


def _subject(raw: Mapping[str, Any], models: tuple[ModelSpec, ...]) -> str:
    """The key asked for, else the first trained model, else the first that is more than a bare base model."""
    if (named := _named(raw, "subject", models)) is not None:
        return named
    by_worth = sorted(models, key=lambda model: ("trained", "prompted", "endpoint", "base").index(model.kind))
    return by_worth[0].key


def _against(raw: Mapping[str, Any], models: tuple[ModelSpec, ...], subject: str) -> str | None:
    """The key asked for, else the first plain base model that is not the subject."""
    if (named := _named(raw, "against", models)) is not None:
        if named == subject:
            raise bad("against", "A model cannot be compared with itself.")
        return named
    return next((model.key for model in models if model.kind == "base" and model.key != subject), None)


def _named(raw: Mapping[str, Any], part: str, models: tuple[ModelSpec, ...]) -> str | None:
    key = text(raw, part, "") or None
    keys = [model.key for model in models]
    if key is not None and key not in keys:
        raise bad(part, f"No model has the key {key!r}.", ", ".join(keys))
    return key


def _one_of(raw: Mapping[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    value = raw.get(name) or default
    if value not in known:
        raise bad(name, f"Unknown {name} {value!r}.", ", ".join(known))
    return str(value)


def _suites(value: Any) -> tuple[str, ...]:
    wanted = ["quality"] if value is None else value
    if not isinstance(wanted, list) or not wanted or any(suite not in SUITES for suite in wanted):
        raise bad("suites", "Choose one or more of the suites.", ", ".join(SUITES))
    return tuple(suite for suite in SUITES if suite in wanted)


def _weights(raw: Mapping[str, Any]) -> dict[str, float]:
    told = mapping(raw.get("weights"), "weights")
    weights = {}
    for suite in told:
        if suite not in SUITES:
            raise bad("weights", f"There is no suite {suite!r} to weigh.", ", ".join(SUITES))
        weights[suite] = amount(told, suite, "weights") or 0.0
    if weights and math.fsum(weights.values()) <= 0:
        raise bad("weights", "At least one weight must be above 0.")
    return weights


def _rules(raw: Mapping[str, Any]) -> tuple[Rule, ...]:
    wanted = items(raw, "rules", "")
    if not wanted:
        return ()
    from finetune_engine.evaluate.rules import rule_of

    return tuple(rule_of(rule) for rule in wanted)
