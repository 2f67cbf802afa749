"""What the rest of the engine reads of a conversation: its input, its answer, what stands before, and its hash."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from finetune_engine.data.records import Message
from finetune_engine.data.text_bytes import blanks, unusual

if TYPE_CHECKING:
    import polars as pl

# A character of a script without spaces counts as a word.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
WORDS = rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+"
SEPARATOR = "\x1f"


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


def setting_of(messages: list[Message], tools: Any = None) -> str:
    """Everything said before the last user turn, and the ``tools`` on offer: the same question may differ by them.
    "" for a plain question."""
    before = messages[:-1] if len(messages) > 2 else []
    for index in range(len(before) - 1, -1, -1):
        if before[index]["role"] == "user":
            before = [m for i, m in enumerate(before) if i != index]
            break
    setting = "\n".join(f"{m['role']}: {m['content'] or dump(m.get('tool_calls'))}" for m in before)
    return f"{setting}\ntools: {tools if isinstance(tools, str) else dump(tools)}" if tools else setting


def content_hash(prompt: str, answer: str, setting: str = "") -> str:
    """sha256 of the normalised texts; what two examples share when they are the same example."""
    text = SEPARATOR.join((normalise(setting), normalise(prompt), normalise(answer)))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def content_hashes(setting: pl.Series, prompt: pl.Series, answer: pl.Series) -> pl.Series:
    """``content_hash`` for columns that are normalised already."""
    import polars as pl

    texts = pl.select(pl.concat_str(setting, prompt, answer, separator=SEPARATOR).cast(pl.Binary)).to_series()
    sha256 = hashlib.sha256
    return pl.Series("content_hash", [sha256(text).hexdigest() for text in texts.to_list()], dtype=pl.String)


def normalise(text: str) -> str:
    """Composed Unicode, lower case, single blanks, none at the ends. ``normalised`` is the same for a column."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def normalised(column: pl.Series) -> pl.Series:
    """What ``normalise`` does, for a whole column: the slow steps touch only the texts that need them."""
    odd = unusual(column)
    if odd.any():
        column = _where(column, odd, lambda part: part.str.normalize("NFC"))
    column = column.str.to_lowercase()
    return _where(column, _untidy(column, odd), lambda part: part.str.replace_all(r"\s+", " ").str.strip_chars())


def _untidy(column: pl.Series, odd: pl.Series) -> pl.Series:
    """Which texts have blanks at the ends, two in a row, or others than the plain blank (only ``odd`` ones can)."""
    import polars as pl

    text = pl.col("t").str
    ends = text.starts_with(" ") | text.ends_with(" ") | text.contains("  ", literal=True)
    untidy = column.to_frame("t").select(ends)["t"]
    index = odd.arg_true()
    if not index.is_empty():
        untidy = untidy.scatter(index, untidy.gather(index) | column.gather(index).str.contains(r"[\s&&[^ ]]"))
    return untidy


def word_counts(normal: pl.Series) -> pl.Series:
    """Words of each normalised text."""
    import polars as pl

    counts = pl.Series("words", blanks(normal)) + (normal != "").cast(pl.Int32)
    foreign = (normal.str.len_bytes() != normal.str.len_chars()).arg_true()
    if not foreign.is_empty():
        counts = counts.scatter(foreign, normal.gather(foreign).str.count_matches(WORDS).cast(pl.Int32))
    return counts


def _where(column: pl.Series, mask: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    index = mask.arg_true()
    return column if index.is_empty() else column.clone().scatter(index, change(column.gather(index)))
