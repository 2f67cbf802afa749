"""The frozen rows as the provider wants them: JSON lines, one conversation or preference pair each, and checked first."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.train.provider.settings import FEWEST_EXAMPLES, MOST_FILE_BYTES
from finetune_engine.train.spec import RunSpec, SnapshotRef

READ_ROWS = 2048
CHARACTERS_PER_TOKEN = 4  # the provider's own rule of thumb for English; only warnings rest on it
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
FIELDS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "function_call", "tool_call_id", "refusal"}
)  # of a message, as ``ChatCompletionMessageParam`` has them
ROW_EXTRAS = ("tools", "parallel_tool_calls")
NAMED_ROWS = 5

Row = dict[str, Any]


class Unfit(Exception):
    """This row cannot be sent; the text says why."""


@dataclass(frozen=True)
class RowFile:
    """One file to upload. ``tokens`` is a rough count (characters / 4); ``long_rows`` may exceed what the model reads;
    ``dropped`` counts message fields that the provider does not take."""

    path: Path
    rows: int
    size: int
    sha256: str
    tokens: int
    long_rows: int
    dropped: dict[str, int] = field(default_factory=dict)


def write_rows(spec: RunSpec, folder: Path, *, longest_tokens: int | None) -> tuple[RowFile, RowFile | None]:
    """Write the training rows and, where there are any, the validation rows.

    Raises UserError ``bad_data`` for too few rows, rows the provider would refuse (each named) or a file above its
    limit; nothing has been sent then. Test rows are never written.
    """
    convert = as_pair if spec.training.method == "dpo" else as_conversation
    folder.mkdir(parents=True, exist_ok=True)
    train = _write(spec.snapshot, folder / "train.jsonl", convert, lambda split: split == "train", longest_tokens)
    if train.rows < FEWEST_EXAMPLES:
        raise UserError(
            "too_few_examples",
            f"The provider needs at least {FEWEST_EXAMPLES} examples to learn from; this data has {train.rows}. Add some.",
            field="snapshot",
        )
    if spec.validation is not None:
        valid = _write(spec.validation, folder / "validation.jsonl", convert, lambda split: True, longest_tokens)
    else:
        wanted = folder / "validation.jsonl"
        valid = _write(spec.snapshot, wanted, convert, lambda split: split == "validation", longest_tokens)
    return train, valid if valid.rows else None


def as_conversation(row: Row) -> tuple[Row, Counter[str]]:
    """``{"messages": [...]}``. Raises Unfit."""
    messages, dropped = _messages(json.loads(row["messages"]))
    if not messages or messages[-1]["role"] != "assistant":
        raise Unfit("does not end with the assistant's answer")
    if not _says_something(messages[-1]):
        raise Unfit("has an empty answer")
    return {"messages": messages} | _extras(row), dropped


def as_pair(row: Row) -> tuple[Row, Counter[str]]:
    """OpenAI's preference pair. Raises Unfit for a row without a worse answer, or with an answer of several messages."""
    messages, dropped = _messages(json.loads(row["messages"]))
    worse, more = _messages(json.loads(row["rejected"] or "[]"))
    if not worse:
        raise Unfit("has no worse answer to compare with")
    if len(worse) != 1 or worse[0]["role"] != "assistant" or not messages or messages[-1]["role"] != "assistant":
        raise Unfit("has an answer of several messages; the provider compares single answers")
    if len(messages) < 2:
        raise Unfit("has no question before its answers")
    if not _says_something(messages[-1]) or not _says_something(worse[0]):
        raise Unfit("has an empty answer")
    asked: Row = {"messages": messages[:-1]} | _extras(row)
    return {"input": asked, "preferred_output": messages[-1:], "non_preferred_output": worse}, dropped + more


def _messages(raw: list[Row]) -> tuple[list[Row], Counter[str]]:
    dropped: Counter[str] = Counter()
    kept = []
    for message in raw:
        if message.get("role") not in ROLES:
            raise Unfit(f"has a message by {message.get('role')!r}, a role that the provider does not know")
        dropped.update(name for name in message if name not in FIELDS)
        kept.append({name: value for name, value in message.items() if name in FIELDS and value is not None})
    return kept, dropped


def _says_something(message: Row) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call") or str(message.get("content") or "").strip())


def _extras(row: Row) -> Row:
    metadata = json.loads(row.get("metadata") or "{}")
    found = {name: metadata[name] for name in ROW_EXTRAS if metadata.get(name) is not None}
    if isinstance(found.get("tools"), str):
        found["tools"] = json.loads(found["tools"])
    return found


def _write(
    ref: SnapshotRef,
    path: Path,
    convert: Callable[[Row], tuple[Row, Counter[str]]],
    wanted: Callable[[str], bool],
    longest_tokens: int | None,
) -> RowFile:
    digest, dropped = hashlib.sha256(), Counter[str]()
    rows = size = characters = long_rows = 0
    problems: list[str] = []
    with path.open("wb") as file:
        for row in read_rows(ref):
            if not wanted(row["split"]):
                continue
            try:
                converted, lost = convert(row)
            except Unfit as problem:
                problems.append(f"Row {row['row']} {problem}.")
                continue
            text = json.dumps(converted, ensure_ascii=False)
            line = text.encode() + b"\n"
            file.write(line)
            digest.update(line)
            rows, size, characters = rows + 1, size + len(line), characters + len(text)
            long_rows += longest_tokens is not None and len(text) / CHARACTERS_PER_TOKEN > longest_tokens
            dropped += lost
            if size > MOST_FILE_BYTES:
                raise _too_large()
    if problems:
        raise _unfit(problems)
    return RowFile(path, rows, size, digest.hexdigest(), characters // CHARACTERS_PER_TOKEN, long_rows, dict(dropped))


def read_rows(ref: SnapshotRef) -> Iterator[Row]:
    """Every row of a frozen dataset. Raises EngineError when it is not there, UserError when it cannot be read."""
    import pyarrow
    import pyarrow.parquet

    path = Path(ref.path)
    if not path.is_file():
        raise EngineError("storage_unreachable", f"The frozen dataset {path.name} is not there.", {"path": str(path)})
    try:
        file = pyarrow.parquet.ParquetFile(path)
        wanted = [
            name for name in ("row", "split", "messages", "rejected", "metadata") if name in file.schema_arrow.names
        ]
        for batch in file.iter_batches(batch_size=READ_ROWS, columns=wanted):
            yield from ({"rejected": None, "metadata": None} | row for row in batch.to_pylist())
    except (pyarrow.ArrowException, KeyError) as problem:
        sentence = f"The frozen dataset cannot be read: {problem}"
        raise UserError("snapshot_broken", sentence, field="snapshot") from problem


def _unfit(problems: list[str]) -> UserError:
    named = " ".join(problems[:NAMED_ROWS])
    more = f" And {len(problems) - NAMED_ROWS} more." if len(problems) > NAMED_ROWS else ""
    sentence = (
        f"{len(problems)} rows cannot be sent to this provider. {named}{more} Mend or reject them, then start again."
    )
    return UserError("rows_refused", sentence, field="snapshot")


def _too_large() -> UserError:
    return UserError(
        "file_too_large",
        f"The file for the provider would be larger than its limit of {MOST_FILE_BYTES // 10**6} MB. Use fewer rows.",
        field="snapshot",
    )
