"""One row in the words of each format. Every function takes a row and says what its line holds."""

from __future__ import annotations

from typing import Any

from datasets_app.exports.rows import ExportRow, Message

_SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system", "developer": "system"}


def everything(row: ExportRow) -> dict[str, Any]:
    """Chat messages with the split, the row, the label and every other column."""
    line: dict[str, Any] = {"messages": row.messages, "split": row.split, "row": row.row}
    if row.label is not None:
        line["label"] = row.label
    if row.metadata:
        line["metadata"] = row.metadata
    return line


def openai_chat(row: ExportRow) -> dict[str, Any]:
    """What OpenAI's fine-tuning takes: messages, and the tools that may be called."""
    line: dict[str, Any] = {"messages": row.messages}
    for name in ("tools", "parallel_tool_calls"):
        if name in row.metadata:
            line[name] = row.metadata[name]
    return line


def prompt_completion(row: ExportRow) -> dict[str, Any]:
    """Two texts for a plain row, two lists of messages for a conversation."""
    if not row.is_plain:
        prompt, completion = row.divided()
        return {"prompt": prompt, "completion": completion}
    line = {"prompt": row.prompt, "completion": row.answer}
    return line | {"system": row.system} if row.system else line


def alpaca(row: ExportRow) -> dict[str, Any]:
    """Instruction and output; earlier turns as ``history``."""
    turns = [str(m.get("content") or "") for m in row.turns]
    line: dict[str, Any] = {"instruction": turns[-2], "input": "", "output": turns[-1]}
    if row.system:
        line["system"] = row.system
    if len(turns) > 2:
        line["history"] = [[turns[i], turns[i + 1]] for i in range(0, len(turns) - 2, 2)]
    return line


def sharegpt(row: ExportRow) -> dict[str, Any]:
    """Who says what, with the instructions beside it."""
    turns = [{"from": _SPEAKERS[m["role"]], "value": m.get("content") or ""} for m in row.turns]
    return {"conversations": turns} | ({"system": row.system} if row.system else {})


def text(row: ExportRow) -> dict[str, Any]:
    """The text alone, of a row that is nothing else."""
    return {"text": row.answer}


def preference(row: ExportRow) -> dict[str, Any]:
    """TRL's words: the better and the worse answer to a prompt."""
    prompt, chosen = row.divided()
    if len(prompt) == len(chosen) == len(row.rejected) == 1:
        return {"prompt": _said(prompt), "chosen": _said(chosen), "rejected": _said(row.rejected)}
    return {"prompt": prompt, "chosen": chosen, "rejected": row.rejected}


def preference_openai(row: ExportRow) -> dict[str, Any]:
    """OpenAI's words for the same."""
    prompt, chosen = row.divided()
    given: dict[str, Any] = {"messages": prompt}
    for name in ("tools", "parallel_tool_calls"):
        if name in row.metadata:
            given[name] = row.metadata[name]
    return {"input": given, "preferred_output": chosen, "non_preferred_output": row.rejected}


def kto(row: ExportRow) -> dict[str, Any]:
    """One answer and whether it is wanted."""
    prompt, completion = row.divided()
    if len(prompt) == len(completion) == 1:
        return {"prompt": _said(prompt), "completion": _said(completion), "label": row.desirable}
    return {"prompt": prompt, "completion": completion, "label": row.desirable}


def cells(row: ExportRow) -> list[str]:
    """Input, answer and instructions, for a table."""
    return [row.prompt, row.answer, row.system]


def only_known_speakers(row: ExportRow) -> bool:
    """Whether ``sharegpt`` has a word for everybody who speaks."""
    return not row.has_tools and all(m.get("role") in _SPEAKERS for m in row.turns)


def _said(messages: list[Message]) -> str:
    return str(messages[0].get("content") or "")
