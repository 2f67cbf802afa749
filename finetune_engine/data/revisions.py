"""What is changed in rows before they are checked: cleaning, and cutting inputs that are too long.

Only rows that may need it are taken out of the table, changed one by one, and put back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import polars as pl

from finetune_engine.data.batches import SCHEMA, Batch, subject_of
from finetune_engine.data.canonical import answer_of, dump, prompt_of, setting_of
from finetune_engine.data.cleaning import CleaningPlan, clean_messages, clean_text, needs_cleaning, rows_to_clean
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.records import Finding, Message
from finetune_engine.data.sparse_lists import sparse_lists
from finetune_engine.data.stored_once import fill_row, messages_of, replaced
from finetune_engine.data.text_bytes import unusual
from finetune_engine.data.tokens import TOKENS_PER_MESSAGE, TokenCounter

_WORD = re.compile(r"\S+\s*")
_CHARS_PER_TOKEN = 4

# The bytes of a question and an answer as messages, but for their texts.
_BARE = len('[{"role":"user","content":""},{"role":"assistant","content":""}]')

# Steps that leave printable ASCII without blanks at its ends alone.
_FOR_UNUSUAL = frozenset(("repair_unicode", "control_characters", "nfc", "whitespace"))

Row = dict[str, Any]


def revise(batch: Batch, options: PrepareOptions, plan: CleaningPlan, counter: TokenCounter | None) -> None:
    """Clean the rows of a batch, cut long inputs, and count tokens; adds the columns ``cleaned`` and ``tokens``."""
    _clean(batch, plan)
    if options.max_prompt_words:
        _cut_words(batch, options.max_prompt_words)
    _count_tokens(batch, counter)
    if options.over_length == "cut" and options.context_tokens:
        _cut_tokens(batch, options.context_tokens, counter)


def may_need(column: pl.Series, plan: CleaningPlan) -> pl.Series:
    """``needs_cleaning``, asked only about texts that are not plain where the plan's steps leave those alone."""
    if not _FOR_UNUSUAL.issuperset(plan.steps):
        return needs_cleaning(column, plan)
    ends = column.to_frame("t").select(pl.col("t").str.starts_with(" ") | pl.col("t").str.ends_with(" "))["t"]
    index = (unusual(column) | ends).arg_true()
    may = pl.repeat(False, len(column), eager=True)
    return may if index.is_empty() else may.scatter(index, needs_cleaning(column.gather(index), plan))


def _may_need(frame: pl.DataFrame, plan: CleaningPlan) -> pl.Series:
    """``may_need`` for input or answer. Rows with an ``original_form`` are known to be plain but for blanks at the ends."""
    texts = [frame["prompt"], frame["answer"]]
    if "original_form" not in frame.columns or not _FOR_UNUSUAL.issuperset(plan.steps):
        return may_need(texts[0], plan) | may_need(texts[1], plan)
    ends = [pl.col(name).str.starts_with(" ") | pl.col(name).str.ends_with(" ") for name in ("prompt", "answer")]
    index = frame.select(pl.col("original_form").is_null() | ends[0] | ends[1]).to_series().arg_true()
    may = pl.repeat(False, frame.height, eager=True)
    if index.is_empty():
        return may
    # Both columns at once: for a few texts, making the patterns ready takes longer than asking them.
    found = may_need(pl.concat([text.gather(index).rename("text") for text in texts]), plan)
    return may.scatter(index, found.head(len(index)) | found.tail(len(index)))


def _clean(batch: Batch, plan: CleaningPlan) -> None:
    frame = batch.frame
    # Rows with more than one plain question, or with escapes, are looked at as messages: the table holds their other
    # texts only as JSON.
    may = pl.repeat(False, frame.height, eager=True)
    if plan.steps:
        may = _may_need(frame, plan)
        sizes = (pl.col(name).str.len_bytes() for name in ("prompt", "answer"))
        more = (pl.col("messages").str.len_bytes() != sum(sizes, start=pl.lit(_BARE))).fill_null(False)
        index = frame.select(more | (pl.col("setting") != "") | pl.col("rejected").is_not_null()).to_series().arg_true()
        if len(index):
            may = may.scatter(index, may.gather(index) | rows_to_clean(frame[index], plan))
        may &= frame["messages"].ne_missing("[]")
    cleaned: dict[int, list[str]] = {}

    def change(row: Row) -> Row | None:
        messages = orjson.loads(row["messages"])
        # A label keeps its spelling: a rare one is shown to people, who say which is meant.
        is_label = row["label"] is not None and row["label"] == row["answer"]
        messages, steps = _cleaned(messages, is_label, plan)
        rejected, more = clean_messages(orjson.loads(row["rejected"]), plan) if row["rejected"] else (None, [])
        steps = [step for step in plan.steps if step in steps or step in more]
        if not steps:
            return None
        cleaned[row["row"]] = steps
        return _rebuilt(row, messages, rejected, plan)

    _change_rows(batch, may, change)
    places = frame["row"].is_in(list(cleaned)).arg_true()
    # Rows come in their order, and so do the changes.
    column = sparse_lists("cleaned", frame.height, places, list(cleaned.values()))
    batch.frame = batch.frame.with_columns(column)


def _cleaned(messages: list[Message], is_label: bool, plan: CleaningPlan) -> tuple[list[Message], list[str]]:
    if not is_label:
        return clean_messages(messages, plan)
    before, steps = clean_messages(messages[:-1], plan)
    return [*before, messages[-1]], steps


def _rebuilt(row: Row, messages: list[Message], rejected: list[Message] | None, plan: CleaningPlan | None) -> Row:
    """The row with other messages and everything that follows from them."""
    out = dict(row)
    out["messages"] = dump(messages)
    out["prompt"], out["answer"] = prompt_of(messages), answer_of(messages)
    out["setting"] = setting_of(messages, orjson.loads(row["metadata"] or "{}").get("tools"))
    if row["instruction"] and plan is not None:
        out["instruction"] = clean_text(row["instruction"], plan)[0]
    out["subject"] = subject_of(out["prompt"], out["instruction"], out["answer"])
    if row["label"] is not None and plan is not None:
        out["label"] = row["label"] if row["label"] == row["answer"] else clean_text(row["label"], plan)[0]
    if rejected is not None:
        out["rejected"] = dump(rejected)
    return out


def _change_rows(batch: Batch, mask: pl.Series, change: Callable[[Row], Row | None]) -> None:
    """Put each row of ``mask`` through ``change`` (None: it stays as it is)."""
    index = mask.arg_true()
    if index.is_empty():
        return
    frame = batch.frame
    places: list[int] = []
    rows: list[Row] = []
    for place, row in zip(index.to_list(), frame[index].iter_rows(named=True), strict=True):
        changed = change(fill_row(row))
        if changed is not None:
            places.append(place)
            rows.append(changed)
    if rows:
        names = ["messages", "prompt", "answer", "label", "setting", "instruction", "subject", "rejected"]
        kinds = {name: SCHEMA[name] for name in names}
        if "original_form" in frame.columns:  # what was known of these rows when they were read holds no more
            names += ["original", "original_form", "suspect"]
            kinds |= {"original": pl.String, "original_form": pl.String, "suspect": pl.Boolean}
            rows = [row | {"original_form": None, "suspect": None} for row in rows]
        new = pl.DataFrame({name: [row[name] for row in rows] for name in names}, schema=kinds)
        before = frame.select(names).select(pl.all().gather(places))
        changed_ones = [name for name in names if not new[name].equals(before[name], null_equal=True)]
        batch.frame = frame.with_columns(replaced(frame[name], np.array(places), new[name]) for name in changed_ones)


def _cut_words(batch: Batch, limit: int) -> None:
    """Cut the last user turn after ``limit`` words, and say so."""

    def change(row: Row) -> Row | None:
        end = words = 0
        for match in _WORD.finditer(row["prompt"]):
            words += 1
            if words == limit:
                end = match.end()
        if words <= limit:
            return None
        batch.findings.append(
            Finding(
                "prompt_truncated",
                f"had an input of {words} words, which was cut after {limit}. The original is kept.",
                column="prompt",
                found=f"{words} words",
                expected=f"at most {limit} words",
                fix="Shorten the input yourself, or raise the limit.",
            ).placed(row["row"], row["line"])
        )
        return _with_prompt(row, row["prompt"][:end].rstrip())

    _change_rows(batch, batch.frame["prompt"].str.len_bytes() > 2 * limit, change)


def _with_prompt(row: Row, prompt: str) -> Row:
    messages = orjson.loads(row["messages"])
    next(m for m in reversed(messages[:-1]) if m["role"] == "user")["content"] = prompt
    return _rebuilt(row, messages, None, None)


def _count_tokens(batch: Batch, counter: TokenCounter | None) -> None:
    tokens = pl.repeat(None, batch.frame.height, dtype=pl.Int32, eager=True)
    if counter is not None:
        tokens = pl.Series(_tokens_of(messages_of(batch.frame).to_list(), counter), dtype=pl.Int32)
    batch.frame = batch.frame.with_columns(tokens.alias("tokens"))


def _tokens_of(messages: list[str], counter: TokenCounter) -> list[int]:
    """Tokens of each conversation, given as JSON: the texts and a few marks for each message."""
    from finetune_engine.data.message_texts import written_texts

    texts: list[str] = []
    parts: list[tuple[int, int]] = []
    for text in messages:
        turns = orjson.loads(text)
        written = [part for _, part in written_texts(turns)]
        texts.extend(written)
        parts.append((len(written), len(turns)))
    counts = iter(counter.count(texts))
    return [sum(next(counts) for _ in range(many)) + TOKENS_PER_MESSAGE * turns for many, turns in parts]


def _cut_tokens(batch: Batch, limit: int, counter: TokenCounter | None) -> None:
    """Shorten the last input of rows over the context length so that they fit, and say so; a row whose other texts
    fill the context alone stays as it is."""
    frame = batch.frame
    about = "" if counter else "about "
    length = frame["tokens"] if counter else messages_of(frame).str.len_chars() // _CHARS_PER_TOKEN

    def change(row: Row) -> Row | None:
        size = row["tokens"] if counter else len(row["messages"]) // _CHARS_PER_TOKEN
        prompt = _fitting(row["prompt"], size - limit, counter)
        if not prompt:
            return None
        finding = Finding(
            "prompt_truncated",
            f"is {about}{size} tokens long; its input was cut so that it fits into {limit}. The original is kept.",
            column="prompt",
            found=f"{about}{size} tokens",
            expected=f"at most {limit} tokens",
            fix="Shorten the input yourself, or choose a longer context.",
        )
        batch.findings.append(finding.placed(row["row"], row["line"]))
        return _with_prompt(row, prompt)

    long = (length > limit) & (frame["prompt"] != "")
    if long.any():
        _change_rows(batch, long, change)
        _count_tokens(batch, counter)


def _fitting(prompt: str, excess: int, counter: TokenCounter | None) -> str:
    """The prompt less at least ``excess`` tokens from its end, cut between words; "" when nothing would be left."""
    ends = [match.end() for match in _WORD.finditer(prompt)]

    def saved(words: int) -> int:
        rest = prompt[: ends[words - 1]].rstrip()
        if counter is None:
            return (len(dump(prompt)) - len(dump(rest))) // _CHARS_PER_TOKEN
        whole, left = counter.count([prompt, rest])
        return whole - left

    low, high = 0, len(ends) - 1  # the most words that save enough
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if saved(middle) >= excess else (low, middle - 1)
    if low == 0 or saved(low) < excess:
        return ""
    return prompt[: ends[low - 1]].rstrip()
