"""What to export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError

KINDS = ("merged", "adapter", "gguf")
Question = tuple[dict[str, str], ...]

ORDINARY: tuple[Question, ...] = tuple(
    ({"role": "user", "content": text},)
    for text in ("Hello.", "What is this about?", "Say in one word: yes or no?", "List three things.")
)
"""Asked when the spec brings no questions of its own."""


@dataclass(frozen=True)
class ExportSpec:
    """One export. ``adapter`` None exports the base itself; ``questions`` are conversations that end before the answer,
    asked of both models; ``card`` is the model card in Markdown; ``converter`` the path of llama.cpp's
    ``convert_hf_to_gguf.py`` (None: looked for on this machine)."""

    name: str
    kind: str
    base: BaseModelRef
    adapter: Path | None
    questions: tuple[Question, ...] = ORDINARY
    card: str = ""
    converter: Path | None = None


def read_spec(path: Path) -> ExportSpec:
    """The spec in a JSON file. Raises UserError ``bad_spec`` naming what is wrong."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise _bad(f"The spec {path} cannot be read: {problem}") from problem
    if not isinstance(raw, Mapping):
        raise _bad("The spec must be a JSON object.")
    if raw.get("kind") not in KINDS:
        raise _bad(f"The kind of export is one of {', '.join(KINDS)}; it is {raw.get('kind')!r}.", "kind")
    return ExportSpec(
        name=str(raw.get("name") or "model"),
        kind=raw["kind"],
        base=BaseModelRef.from_dict(raw.get("base_model")),
        adapter=Path(raw["adapter"]) if raw.get("adapter") else None,
        questions=_questions(raw.get("questions")) or ORDINARY,
        card=str(raw.get("card") or ""),
        converter=Path(raw["converter"]) if raw.get("converter") else None,
    )


def _questions(raw: Any) -> tuple[Question, ...]:
    if raw is None:
        return ()
    try:
        return tuple(
            tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in question) for question in raw
        )
    except (TypeError, KeyError) as problem:
        raise _bad("The questions must be lists of messages with 'role' and 'content'.", "questions") from problem


def _bad(sentence: str, field: str | None = None) -> UserError:
    return UserError("bad_spec", sentence, field, reason="bad_config")
