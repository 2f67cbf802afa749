"""Preference pairs: a prompt with a better and a worse answer, as TRL and the ShareGPT sets write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.data.formats.pairs import pair_of
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_name
from finetune_engine.data.formats.sharegpt import turn_of
from finetune_engine.data.records import Draft, Finding, Mapping, quoted

_TURNS = ("conversations", "conversation", "messages", "prompt", "question", "instruction", "input")


def _columns(row: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    return find_column(row, _TURNS), find_column(row, ("chosen",)), find_column(row, ("rejected",))


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    _, better, worse = _columns(columns)
    if better is None or worse is None:
        return Guess(0.0)
    return Guess(share(rows, lambda row: better in row and worse in row))


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    asked, better, worse = _columns(list(row))
    draft = Draft()
    for column, name in ((better, "chosen"), (worse, "rejected")):
        if column is None or row[column] is None or row[column] == []:
            draft.findings.append(_missing(name, row))
    if draft.findings or better is None or worse is None:
        return draft
    chosen, rejected = _turns(row[better], "assistant"), _turns(row[worse], "assistant")
    prompt = _turns(row.get(asked), "user") if asked is not None and row.get(asked) is not None else []
    if not prompt:
        prompt, chosen, rejected = _shared_beginning(chosen, rejected)
    used = {asked, better, worse}
    system = row.get("system")
    if isinstance(system, str) and system.strip():
        prompt = [{"role": "system", "content": system}, *prompt]
        used.add("system")
    pair_of(draft, prompt, chosen, rejected, (asked or better, better, worse))
    draft.metadata = {key: value for key, value in row.items() if key not in used}
    draft.split = split_name(row.get("split"))
    return draft


def _turns(value: Any, role: str) -> list[Any]:
    """A text, one turn or a list of turns, as turns with role and content."""
    if isinstance(value, dict):
        return [turn_of(value)]
    if isinstance(value, list):
        return [turn_of(item) for item in value]
    return [{"role": role, "content": value}]


def _shared_beginning(chosen: list[Any], rejected: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Two whole conversations that begin alike are a prompt with two ends."""
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    return chosen[:same], chosen[same:], rejected[same:]


def _missing(name: str, row: Row) -> Finding:
    found = ", ".join(list(row)[:8]) or "nothing"
    return Finding(
        "message_missing_key",
        f"has no answer under {quoted(name)}. A preference pair needs a better and a worse answer.",
        column=name,
        found=found,
        expected=name,
        fix=f"Add {quoted(name)}.",
    )


FORMAT = RowFormat(
    name="preference",
    title="Preference pairs",
    shape='{"prompt": "…", "chosen": "…", "rejected": "…"}',
    priority=100,
    guess=_guess,
    convert=_convert,
)
