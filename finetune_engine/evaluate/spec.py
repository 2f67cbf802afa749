"""What an evaluation is told to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import Place, UserError

Suite = Literal["quality", "performance"]
SUITES: tuple[Suite, ...] = ("quality", "performance")
SPLITS = ("test", "validation", "train")
TASK_TYPES = ("classification", "completion", "chat", "preference")


@dataclass(frozen=True)
class ModelSpec:
    """One model to evaluate: its base, and the adapter on top (None: the base itself). ``key`` names columns."""

    key: str
    name: str
    base: BaseModelRef
    adapter: Path | None


@dataclass(frozen=True)
class EvaluateSpec:
    """A checked spec. ``limit`` None takes every case; ``max_new_tokens`` None follows the references' lengths.

    ``group_by`` names the metadata column whose rows belong together (None: rows are independent, unless the
    snapshot's manifest says otherwise).
    """

    models: tuple[ModelSpec, ...]
    snapshot: Path
    snapshot_sha256: str | None
    split: str
    task_type: str
    limit: int | None
    seed: int
    max_new_tokens: int | None
    suites: tuple[Suite, ...]
    group_by: str | None

    @property
    def base(self) -> ModelSpec | None:
        """The untuned model to compare with, or None."""
        return next((model for model in self.models if model.adapter is None), None)

    @property
    def tuned(self) -> ModelSpec | None:
        """The tuned model that the verdict is about, or None."""
        return next((model for model in self.models if model.adapter is not None), None)


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
        raise _bad("spec", "The specification must be a JSON object.")
    snapshot = raw.get("snapshot")
    if not isinstance(snapshot, Mapping) or not isinstance(snapshot.get("path"), str):
        raise _bad("snapshot", "The specification must name a snapshot: {path, sha256}.")
    if not Path(snapshot["path"]).is_file():
        raise _bad("snapshot", f"There is no snapshot at {snapshot['path']}.")
    return EvaluateSpec(
        models=_models(raw),
        snapshot=Path(snapshot["path"]),
        snapshot_sha256=snapshot.get("sha256"),
        split=_one_of(raw, "split", SPLITS, "test"),
        task_type=_one_of(raw, "task_type", TASK_TYPES, "completion"),
        limit=_count(raw, "limit"),
        seed=_count(raw, "seed", least=0) or 0 if raw.get("seed") is not None else 42,
        max_new_tokens=_count(raw, "max_new_tokens"),
        suites=_suites(raw.get("suites")),
        group_by=raw.get("group_by"),
    )


def _bad(field: str, sentence: str, expected: str | None = None) -> UserError:
    return UserError("bad_spec", sentence, field, place=Place(expected=expected), reason="bad_config")


def _models(raw: Mapping[str, Any]) -> tuple[ModelSpec, ...]:
    entries = raw.get("models")
    if not isinstance(entries, list) or not entries:
        raise _bad("models", "Name at least one model to evaluate.")
    models = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("key"), str) or not entry["key"].isidentifier():
            raise _bad("models", "Each model needs a key of letters, digits and underscores.")
        adapter = entry.get("adapter")
        if adapter is not None and not Path(adapter).is_dir():
            raise _bad("models", f"There is no trained model at {adapter}.")
        base = BaseModelRef.from_dict(entry.get("base_model") or raw.get("base_model"))
        models.append(
            ModelSpec(entry["key"], entry.get("name") or entry["key"], base, Path(adapter) if adapter else None)
        )
    if len({model.key for model in models}) < len(models):
        raise _bad("models", "Two models have the same key.")
    return tuple(models)


def _one_of(raw: Mapping[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    value = raw.get(name) or default
    if value not in known:
        raise _bad(name, f"Unknown {name} {value!r}.", ", ".join(known))
    return str(value)


def _count(raw: Mapping[str, Any], name: str, least: int = 1) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _bad(name, f"{name} must be a whole number of at least {least}.")
    return value


def _suites(value: Any) -> tuple[Suite, ...]:
    wanted = ["quality"] if value is None else value
    if not isinstance(wanted, list) or not wanted or any(suite not in SUITES for suite in wanted):
        raise _bad("suites", "Choose one or more of the suites.", ", ".join(SUITES))
    return tuple(suite for suite in SUITES if suite in wanted)
