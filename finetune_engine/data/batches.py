"""Records become a table, a few thousand at a time, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from finetune_engine.data.canonical import (
    WORDS,
    answer_of,
    content_hash,
    content_hashes,
    dump,
    normalise,
    normalised,
    prompt_of,
    setting_of,
    word_counts,
)
from finetune_engine.data.codes import status_of
from finetune_engine.data.detection import Detected
from finetune_engine.data.naming import RowNames
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.records import Draft, Finding, RawRecord
from finetune_engine.data.stored_once import replaced

__all__ = [
    "WORDS", "Batch", "answer_of", "batches", "content_hash", "dump", "normalise", "normalised", "prompt_of", "setting_of",
]  # fmt: skip

BATCH_ROWS = 6_000
BATCH_BYTES = 16 * 1024 * 1024

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
    "rejected": pl.String,
    "desirable": pl.Boolean,
    "group": pl.String,
}


@dataclass
class Batch:
    """Some rows in canonical form with what was noticed about them so far.

    ``row`` in the frame and in the findings counts within the file until ``place_in_set`` is called.
    """

    frame: pl.DataFrame
    findings: list[Finding] = field(default_factory=list)


def batches(records: Iterable[RawRecord], detected: Detected, options: PrepareOptions) -> Iterator[Batch]:
    """All records, converted one by one, in batches of at most ``BATCH_ROWS`` rows and about ``BATCH_BYTES``."""
    held: list[RawRecord] = []
    size = 0
    for record in records:
        if options.max_rows is not None and record.row > options.max_rows:
            break
        held.append(record)
        size += len(record.original)
        if len(held) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield from_records(held, detected)
            held, size = [], 0
    if held:
        yield from_records(held, detected)


def from_records(records: Iterable[RawRecord], detected: Detected) -> Batch:
    """Some records, converted one by one, whatever is wrong with them."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    findings: list[Finding] = []
    for record in records:
        draft = detected.convert(record.value) if record.value is not None else Draft()
        found = record.findings + draft.findings
        findings.extend(finding.placed(record.row, record.line, record.sheet) for finding in found)
        for column, value in zip(columns.values(), _values(record, draft, found), strict=True):
            column.append(value)
    return Batch(pl.DataFrame(columns, schema=SCHEMA), findings)


def _values(record: RawRecord, draft: Draft, found: list[Finding]) -> tuple[Any, ...]:
    messages = draft.messages
    prompt, answer = prompt_of(messages), answer_of(messages)
    return (
        record.row,
        record.line,
        dump(messages) if messages else "[]",
        prompt,
        answer,
        draft.label,
        dump(draft.metadata),
        draft.split,
        record.original.replace("\0", "\ufffd"),
        setting_of(messages, draft.metadata.get("tools")),
        draft.instruction,
        subject_of(prompt, draft.instruction, answer),
        len(messages),
        bool(messages) and not any(status_of(f.code) == "rejected" for f in found),
        dump(draft.rejected) if draft.rejected else None,
        draft.desirable,
        draft.group,
    )


def subject_of(prompt: str, instruction: str, answer: str) -> str:
    """What is compared with other rows: the input less its instruction; the answer where there is no input."""
    return (prompt.removeprefix(instruction) if instruction else prompt) or answer


def measure(batch: Batch) -> None:
    """Add the columns that only checks and comparisons need: normalised texts, words, and the content hash.

    Rows with an ``original_form`` were measured when they were read.
    """
    frame = batch.frame
    if "original_form" not in frame.columns:
        frame = frame.with_columns(_measured(frame))
    else:
        index = frame["original_form"].is_null().arg_true()
        if not index.is_empty():
            rest = _measured(frame.select(pl.col("prompt", "answer").gather(index)))
            frame = frame.with_columns(replaced(frame[part.name], index.to_numpy(), part) for part in rest)
    setting = frame["setting"]
    setting = normalised(setting) if (setting != "").any() else setting
    if (frame["instruction"] != "").any():
        subject = normalised(frame["subject"])
    else:  # the usual case: the subject is the whole input, whose normal form is known
        whole = pl.when(pl.col("prompt") == "").then("answer_norm").otherwise("prompt_norm")
        subject = frame.select(whole.alias("subject")).to_series()
    batch.frame = frame.with_columns(
        setting.alias("setting_norm"),
        subject.alias("subject_norm"),
        content_hashes(setting, frame["prompt_norm"], frame["answer_norm"]).alias("content_hash"),
    )


def _measured(frame: pl.DataFrame) -> list[pl.Series]:
    # Both columns as one: for a few texts, making ready takes longer than the work.
    norms = normalised(pl.concat([frame["prompt"], frame["answer"].rename("prompt")]))
    words = word_counts(norms).cast(pl.Int32)
    parts = (("prompt", 0), ("answer", frame.height))
    return [
        column.slice(begin, frame.height).alias(f"{name}_{what}")
        for what, column in (("norm", norms), ("words", words))
        for name, begin in parts
    ]


def place_in_set(batch: Batch, source: int, names: RowNames) -> None:
    """Count rows over all files from here on, in the frame and in the findings."""
    row = pl.col("row")
    batch.frame = batch.frame.with_columns(
        (row + names.rows_before[source]).alias("row"),
        row.alias("source_row"),
        pl.lit(source, pl.Int32).alias("source"),
    )
    for finding in batch.findings:
        names.place(finding, source)
