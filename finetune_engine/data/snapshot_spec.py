"""What a snapshot is to be made of, read strictly."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_engine.data.options import TASK_TYPES
from finetune_engine.data.pii import Policy, read_policy
from finetune_engine.data.splitting import SPLITS
from finetune_engine.errors import UserError

NEAR_DUPLICATES = "near_duplicates"


@dataclass(frozen=True)
class SnapshotSpec:
    """Chunks to take examples from and how to divide them.

    ``overrides`` are people's decisions (JSON lines); ``frozen_test`` is an earlier snapshot whose test rows stay
    test. ``stratify_by`` is ``label`` or None; ``group_by`` names a metadata column, is ``near_duplicates`` (which stay
    together in any case) or None. ``pii`` is what to do with each kind of personal data. ``earlier`` are snapshots whose
    test rows must not be trained on unnoticed.
    """

    chunks: tuple[Path, ...]
    overrides: Path | None = None
    split: dict[str, float] = field(default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1})
    seed: int = 42
    stratify_by: str | None = "label"
    group_by: str | None = None
    task_type: str = "completion"
    frozen_test: Path | None = None
    pii: Policy = field(default_factory=lambda: read_policy(None))
    earlier: tuple[Path, ...] = ()


def read_spec(raw: AnyMapping[str, Any]) -> SnapshotSpec:
    """A spec from JSON. UserError names the field that is wrong."""
    known = SnapshotSpec.__dataclass_fields__
    for key in raw:
        if key not in known:
            raise _bad(key, f"There is no setting called {key}. The settings are {', '.join(known)}.")
    chunks = raw.get("chunks")
    if not isinstance(chunks, list) or not all(isinstance(c, str) for c in chunks):
        raise _bad("chunks", "“chunks” must be the list of prepared files.")
    seed = raw.get("seed", 42)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise _bad("seed", f"The seed must be a whole number, not {seed!r}.")
    task_type = raw.get("task_type") or "completion"
    if task_type not in TASK_TYPES:
        raise _bad("task_type", f"“{task_type}” is not a task type. Choose one of {', '.join(TASK_TYPES)}.")
    stratify_by = raw.get("stratify_by", "label")
    if stratify_by not in (None, "label"):
        raise _bad("stratify_by", "Rows can be balanced by “label” or not at all.")
    return SnapshotSpec(
        chunks=tuple(map(Path, chunks)),
        overrides=_path(raw.get("overrides"), "overrides"),
        split=read_split(raw.get("split")),
        seed=seed,
        stratify_by=stratify_by,
        group_by=raw.get("group_by") or None,
        task_type=task_type,
        frozen_test=_path(raw.get("frozen_test"), "frozen_test"),
        pii=read_policy(raw.get("pii")),
        earlier=_paths(raw.get("earlier"), "earlier"),
    )


def read_split(raw: Any) -> dict[str, float]:
    """Shares that sum to one. None gives 80/10/10."""
    if raw is None:
        return {"train": 0.8, "validation": 0.1, "test": 0.1}
    if not isinstance(raw, dict) or any(name not in SPLITS for name in raw):
        raise _bad("split", "Give the shares of train, validation and test, such as 0.8, 0.1 and 0.1.")
    shares = {name: raw.get(name, 0) for name in SPLITS}
    if any(isinstance(s, bool) or not isinstance(s, int | float) or not 0 <= s <= 1 for s in shares.values()):
        raise _bad("split", "Each share must be a number from 0 to 1.")
    if abs(sum(shares.values()) - 1) > 0.001:
        raise _bad("split", f"The shares must sum to 1; they sum to {sum(shares.values()):g}.")
    if shares["train"] == 0:
        raise _bad("split", "The share of train must be above 0: a model needs examples to learn from.")
    return {name: float(share) for name, share in shares.items()}


def _path(value: Any, name: str) -> Path | None:
    if value is None or value == "":
        return None
    path = Path(str(value))
    if not path.is_file():
        raise _bad(name, f"There is no file {path}.")
    return path


def _paths(value: Any, name: str) -> tuple[Path, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _bad(name, f"“{name}” must be a list of files.")
    return tuple(path for item in value if (path := _path(item, name)) is not None)


def _bad(name: str, sentence: str) -> UserError:
    return UserError("bad_spec", sentence, field=name, reason="bad_config")
