"""What a person chose for an import, read strictly."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Any

from finetune_engine.data.readers.source import MAX_LINE_BYTES
from finetune_engine.data.records import Mapping
from finetune_engine.errors import UserError

TASK_TYPES = ("completion", "chat", "classification", "preference")


@dataclass(frozen=True)
class PrepareOptions:
    """Choices for one import. ``format`` and ``task_type`` may be ``auto``; None turns a limit off.

    ``max_prompt_words`` cuts longer inputs. ``context_tokens`` is the estimated length above which a row is
    marked as too long.
    """

    name: str | None = None
    format: str = "auto"
    mapping: Mapping | None = None
    task_type: str = "auto"
    max_line_bytes: int = MAX_LINE_BYTES
    max_rows: int | None = None
    min_prompt_words: int = 5
    min_completion_words: int = 10
    max_prompt_words: int | None = 1000
    context_tokens: int | None = 4096
    near_duplicates: bool = True
    pii: bool = True


_NUMBERS = ("max_line_bytes", "min_prompt_words", "min_completion_words")
_LIMITS = ("max_rows", "max_prompt_words", "context_tokens")


def read_options(raw: AnyMapping[str, Any] | None) -> PrepareOptions:
    """Options from JSON. UserError ``bad_option`` names the one that is wrong."""
    raw = dict(raw or {})
    known = PrepareOptions.__dataclass_fields__
    for key in raw:
        if key not in known:
            raise _bad(key, f"There is no option called {key}. The options are {', '.join(known)}.")
    for key in (*_NUMBERS, *_LIMITS):
        value = raw.get(key)
        if value is None and (key in _LIMITS or key not in raw):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _bad(key, f"The option {key} must be a whole number, not {value!r}.")
    task_type = raw.get("task_type") or "auto"
    if task_type != "auto" and task_type not in TASK_TYPES:
        raise _bad("task_type", f"“{task_type}” is not a task type. Choose one of {', '.join(TASK_TYPES)}.")
    if task_type == "preference":
        raise _bad("task_type", "Preference data cannot be prepared here. Keep the chosen answer and use completion.")
    raw["task_type"] = task_type
    raw["format"] = raw.get("format") or "auto"
    raw["mapping"] = read_mapping(raw.get("mapping"))
    return PrepareOptions(**raw)


def read_mapping(raw: Any) -> Mapping | None:
    """A column mapping from JSON; None for none. UserError ``bad_mapping``."""
    if raw is None:
        return None
    if not isinstance(raw, dict) or not raw.get("prompt") or not raw.get("completion", raw.get("label")):
        raise UserError(
            "bad_mapping", "Choose at least one column for the input and one for the answer.", field="mapping"
        )
    prompt = raw["prompt"]
    columns = (prompt,) if isinstance(prompt, str) else tuple(map(str, prompt))
    metadata = raw.get("metadata")
    return Mapping(
        prompt=columns,
        completion=str(raw.get("completion") or raw["label"]),
        system=raw.get("system") or None,
        label=raw.get("label") or None,
        metadata=None if metadata is None else tuple(map(str, metadata)),
        group=raw.get("group") or None,
        split=raw.get("split") or None,
    )


def _bad(key: str, sentence: str) -> UserError:
    return UserError("bad_option", sentence, field=key, reason="bad_config")
