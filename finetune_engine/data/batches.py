"""Records become a table, a few thousand at a time, so that memory does not grow with the file."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from finetune_engine.data.codes import status_of
from finetune_engine.data.detection import Detected
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.records import Draft, Finding, Message, RawRecord

BATCH_ROWS = 5_000
BATCH_BYTES = 24 * 1024 * 1024
_WORD = re.compile(r"\S+\s*")
# A character of a script without spaces counts as a word.
WORDS = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    r"|[^\s\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+"
)

SCHEMA: dict[str, Any] = {
    "row": pl.Int64,
    "line": pl.Int64,
    "messages": pl.String,
    "prompt": pl.String,
    "answer": pl.String,
    "label": pl.String,
    "metadata": pl.String,
    "split": pl.String,
    "original": pl.String,
    "setting": pl.String,
    "instruction": pl.String,
    "subject": pl.String,
    "turns": pl.Int32,
    "usable": pl.Boolean,
}


@dataclass
class Batch:
    """Some rows in canonical form with what was noticed about them so far."""

    frame: pl.DataFrame
    findings: list[Finding] = field(default_factory=list)


def dump(value: Any) -> str:
    """A value as JSON text; numbers too large for the fast writer go the slow way."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        try:
            return json.dumps(value, ensure_ascii=False)
        except RecursionError:
            return "{}"


def prompt_of(messages: list[Message]) -> str:
    """What the person reads as input: the last user content, "" when there is none."""
    return next((m["content"] or "" for m in reversed(messages[:-1]) if m["role"] == "user"), "")


def answer_of(messages: list[Message]) -> str:
    """The assistant's last content; a call of tools is written as JSON. "" for no messages."""
    if not messages:
        return ""
    last = messages[-1]
    if last.get("content"):
        return str(last["content"])
    calls = last.get("tool_calls") or last.get("function_call")
    return dump(calls) if calls else ""


def setting_of(messages: list[Message]) -> str:
    """Everything said before the last user turn, "" for a plain question: the same question may differ by it."""
    before = messages[:-1]
    for index in range(len(before) - 1, -1, -1):
        if before[index]["role"] == "user":
            before = [m for i, m in enumerate(before) if i != index]
            break
    return "\n".join(f"{m['role']}: {m['content'] or dump(m.get('tool_calls'))}" for m in before)


def content_hash(prompt: str, answer: str, setting: str = "") -> str:
    """sha256 of the normalised texts; what two examples share when they are the same example."""
    text = f"{normalise(setting)}\x1f{normalise(prompt)}\x1f{normalise(answer)}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def normalise(text: str) -> str:
    """Composed Unicode, lower case, single blanks, none at the ends. ``normalised`` is the same for a column."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def normalised(column: pl.Series) -> pl.Series:
    """What ``normalise`` does, for a whole column: the slow steps touch only the texts that need them."""
    column = _where(column, column.str.len_bytes() != column.str.len_chars(), lambda part: part.str.normalize("NFC"))
    column = column.str.to_lowercase()
    untidy = column.str.contains(r"\s\s|[^\S ]|^\s|\s$")
    return _where(column, untidy, lambda part: part.str.replace_all(r"\s+", " ").str.strip_chars())


def _where(column: pl.Series, mask: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    index = mask.arg_true()
    return column if index.is_empty() else column.clone().scatter(index, change(column.gather(index)))


def batches(records: Iterator[RawRecord], detected: Detected, options: PrepareOptions) -> Iterator[Batch]:
    """All records, converted, in batches of at most ``BATCH_ROWS`` rows and about ``BATCH_BYTES``."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    findings: list[Finding] = []
    held = 0
    for record in records:
        if options.max_rows is not None and record.row > options.max_rows:
            break
        _add(columns, findings, record, detected, options)
        held += len(record.original)
        if len(columns["row"]) >= BATCH_ROWS or held >= BATCH_BYTES:
            yield _batch(columns, findings)
            columns, findings, held = {name: [] for name in SCHEMA}, [], 0
    if columns["row"]:
        yield _batch(columns, findings)


def _batch(columns: dict[str, list[Any]], findings: list[Finding]) -> Batch:
    frame = pl.DataFrame(columns, schema=SCHEMA)
    for name in ("prompt", "answer"):
        frame = frame.with_columns(pl.col(name).str.count_matches(WORDS).cast(pl.Int32).alias(f"{name}_words"))
    frame = frame.with_columns(
        *(normalised(frame[name]).alias(f"{name}_norm") for name in ("prompt", "answer", "setting", "subject"))
    )
    hashes = [
        hashlib.sha256(f"{s}\x1f{p}\x1f{a}".encode()).hexdigest()
        for s, p, a in zip(frame["setting_norm"], frame["prompt_norm"], frame["answer_norm"], strict=True)
    ]
    return Batch(frame.with_columns(pl.Series("content_hash", hashes, dtype=pl.String)), findings)


def _add(
    columns: dict[str, list[Any]],
    findings: list[Finding],
    record: RawRecord,
    detected: Detected,
    options: PrepareOptions,
) -> None:
    draft = detected.convert(record.value) if record.value is not None else Draft()
    found = record.findings + draft.findings
    messages = draft.messages
    prompt, answer = prompt_of(messages), answer_of(messages)
    if options.max_prompt_words and len(prompt) > 2 * options.max_prompt_words:
        prompt = _cut(messages, prompt, options.max_prompt_words, found)
    for finding in found:
        findings.append(finding.placed(record.row, record.line))
    values = (
        record.row,
        record.line,
        dump(messages) if messages else "[]",
        prompt,
        answer,
        draft.label,
        dump(draft.metadata),
        draft.split,
        record.original.replace("\0", "\ufffd"),
        _setting(messages, draft),
        draft.instruction,
        (prompt.removeprefix(draft.instruction) if draft.instruction else prompt) or answer,
        len(messages),
        bool(messages) and not any(status_of(f.code) == "rejected" for f in found),
    )
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)


def _setting(messages: list[Message], draft: Draft) -> str:
    setting = setting_of(messages) if len(messages) > 2 else ""
    tools = draft.metadata.get("tools")
    return f"{setting}\ntools: {tools if isinstance(tools, str) else dump(tools)}" if tools else setting


def _cut(messages: list[Message], prompt: str, limit: int, findings: list[Finding]) -> str:
    """Cut the last user turn after ``limit`` words, in place, and say so. Returns the prompt as it now is."""
    end = words = 0
    for match in _WORD.finditer(prompt):
        words += 1
        if words == limit:
            end = match.end()
    if words <= limit:
        return prompt
    short = prompt[:end].rstrip()
    turn = next(m for m in reversed(messages[:-1]) if m["role"] == "user")
    turn["content"] = short
    findings.append(
        Finding(
            "prompt_truncated",
            f"had an input of {words} words, which was cut after {limit}. The original is kept.",
            column="prompt",
            found=f"{words} words",
            expected=f"at most {limit} words",
            fix="Shorten the input yourself, or raise the limit.",
        )
    )
    return short
