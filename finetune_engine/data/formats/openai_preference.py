"""OpenAI's preference rows: ``{"input": {"messages"}, "preferred_output": [...], "non_preferred_output": [...]}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.data.formats.pairs import pair_of
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, refused, share, split_name
from finetune_engine.data.records import Draft, Mapping, quoted

_BETTER = ("preferred_output", "preferred_completion")
_WORSE = ("non_preferred_output", "non_preferred_completion")


def _first(row: Row, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    return Guess(share(rows, lambda row: _first(row, _BETTER) is not None and _first(row, _WORSE) is not None))


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    better, worse = _first(row, _BETTER), _first(row, _WORSE)
    if better is None or worse is None:
        name = _BETTER[0] if better is None else _WORSE[0]
        return refused(
            "message_missing_key",
            f"has no {quoted(name)}. A preference pair needs a better and a worse answer.",
            column=name,
            expected=name,
            fix=f"Add {quoted(name)}.",
        )
    given = row.get("input")
    prompt = given.get("messages") if isinstance(given, dict) else given
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        return refused(
            "missing_messages_list",
            'has no list of messages in “input.messages”. Write it as [{"role": ..., "content": ...}, ...].',
            column="input.messages",
            expected="a list of messages",
            fix="Add the list of messages.",
        )
    draft = Draft()
    pair_of(draft, prompt, _answer(row[better]), _answer(row[worse]), ("input.messages", better, worse))
    draft.metadata = {key: value for key, value in row.items() if key not in ("input", better, worse)}
    if isinstance(given, dict):
        draft.metadata |= {key: value for key, value in given.items() if key != "messages"}
    draft.split = split_name(row.get("split"))
    return draft


def _answer(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [{"role": "assistant", "content": value}]


FORMAT = RowFormat(
    name="openai_preference",
    title="Preference pairs in OpenAI's form",
    shape='{"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}',
    priority=105,
    guess=_guess,
    convert=_convert,
)
