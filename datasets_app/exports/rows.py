"""The rows of a snapshot, read a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH = 1_000
_COLUMNS = ("row", "split", "messages", "label", "metadata", "rejected", "desirable")
# A question, an answer and perhaps instructions: what every format can hold without a closer look.
_TOOLS = r'"role":\s*"(tool|function)"|"(tool_calls|function_call)":'

Message = dict[str, Any]


@dataclass(frozen=True)
class ExportRow:
    """One row of a snapshot. ``rejected`` is the worse answer of a preference pair (empty for none); ``desirable``
    says whether the one answer is wanted, None when the row does not say."""

    row: int
    split: str
    messages: list[Message]
    label: str | None
    metadata: dict[str, Any]
    rejected: list[Message]
    desirable: bool | None

    @property
    def system(self) -> str:
        """The instructions at the beginning; empty for none."""
        first = self.messages[0] if self.messages else {}
        return str(first.get("content") or "") if first.get("role") in {"system", "developer"} else ""

    @property
    def turns(self) -> list[Message]:
        """The messages after the instructions."""
        return self.messages[1:] if self.system else self.messages

    @property
    def is_plain(self) -> bool:
        """Whether it is one input and one answer, with or without instructions."""
        roles = [message.get("role") for message in self.turns]
        return roles == ["user", "assistant"] and not self.has_tools

    @property
    def is_dialogue(self) -> bool:
        """Whether input and answer take turns, with or without instructions."""
        roles = [message.get("role") for message in self.turns]
        return len(roles) % 2 == 0 and roles == ["user", "assistant"] * (len(roles) // 2) and not self.has_tools

    @property
    def has_tools(self) -> bool:
        """Whether a tool is called or answers."""
        return any(
            m.get("role") in {"tool", "function"} or m.get("tool_calls") or m.get("function_call")
            for m in self.messages
        )

    @property
    def prompt(self) -> str:
        """The input of a plain row."""
        return str(self.turns[0].get("content") or "")

    @property
    def answer(self) -> str:
        """The answer of a plain row."""
        return str(self.turns[-1].get("content") or "")

    def divided(self) -> tuple[list[Message], list[Message]]:
        """What is given, and the answer: what follows the last input."""
        last = max((i for i, m in enumerate(self.messages) if m.get("role") != "assistant"), default=-1)
        return self.messages[: last + 1], self.messages[last + 1 :]


def export_rows(path: Path, split: str = "") -> Iterator[ExportRow]:
    """Every row of the snapshot's file, or those of one split, in the order of the dataset."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
            for record in batch.to_pylist():
                if not split or record["split"] == split:
                    yield _row(record)


def unusual_rows(path: Path, split: str = "") -> Iterator[ExportRow]:
    """The rows that are more than an input and an answer: those a simpler format may not be able to hold.

    Found by a regular expression over the stored text, so that plain rows are not parsed.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
            texts = batch["messages"]
            answers = pc.count_substring_regex(texts, r'"role":\s*"assistant"')
            inputs = pc.count_substring_regex(texts, r'"role":\s*"user"')
            plain = pc.and_(pc.equal(answers, 1), pc.equal(inputs, 1))
            plain = pc.and_(plain, pc.invert(pc.match_substring_regex(texts, _TOOLS)))
            for record in batch.filter(pc.invert(plain)).to_pylist():
                if not split or record["split"] == split:
                    yield _row(record)


def has_instructions(path: Path) -> bool:
    """Whether any row begins with instructions."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH * 5, columns=["messages"], use_threads=False):
            found = pc.match_substring_regex(batch["messages"], r'"role":\s*"(system|developer)"')
            if pc.any(found).as_py():
                return True
    return False


def first_with_input(path: Path) -> int | None:
    """The number of the first row that has an input; None when all rows are texts alone."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH * 5, columns=["row", "prompt"], use_threads=False):
            rows = batch.filter(pc.not_equal(batch["prompt"], ""))["row"]
            if len(rows):
                return int(rows[0].as_py())
    return None


def longest_text(path: Path) -> int:
    """The length of the longest input or answer, in characters."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    longest = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH * 5, columns=["prompt", "answer"], use_threads=False):
            for column in batch.columns:
                longest = max(longest, pc.max(pc.utf8_length(column)).as_py() or 0)
    return longest


def _row(record: dict[str, Any]) -> ExportRow:
    return ExportRow(
        row=record["row"],
        split=record["split"],
        messages=json.loads(record["messages"]),
        label=record["label"],
        metadata=json.loads(record["metadata"] or "{}"),
        rejected=json.loads(record.get("rejected") or "[]"),
        desirable=record.get("desirable"),
    )
