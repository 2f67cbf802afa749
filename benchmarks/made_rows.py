"""Datasets made straight in the tables and chunks, past the import: for measuring pages at sizes that would take
minutes to import, and for tests that want rows of a certain kind."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

CHUNK_ROWS = 50_000
GROUP_ROWS = 1_000


@dataclass(frozen=True)
class MadeFinding:
    """Something found in a row."""

    code: str
    message: str = "Something was found."
    kind: str = ""
    column: str = ""
    start: int | None = None
    end: int | None = None
    found: str = ""
    related_row: int | None = None


@dataclass(frozen=True)
class MadeRow:
    """One row. ``messages`` None means one question and one answer."""

    prompt: str
    answer: str
    status: str = "accepted"
    label: str = ""
    split: str = ""
    findings: Sequence[MadeFinding] = ()
    messages: list[dict[str, Any]] | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # columns of the chunk beyond the usual

    @property
    def all_messages(self) -> list[dict[str, Any]]:
        """The conversation."""
        if self.messages is not None:
            return self.messages
        return [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.answer}]


def made_dataset(
    project: Any, user: Any, rows: Iterable[MadeRow], *, name: str = "Made", task_type: str = "completion"
) -> Any:
    """A ready dataset with these rows, numbered from 1. Needs Django set up."""
    from django.core.files.base import ContentFile

    from datasets_app.models import Dataset, Upload
    from web_kit.ids import new_id
    from work_kit.files import store_tree

    upload = Upload.objects.create(
        project=project, name=f"{name}.jsonl", size=1, sha256="0" * 64, storage_name=f"uploads/{new_id()}"
    )
    upload.storage_name = _stored(upload.storage_name, ContentFile(b"{}\n"))
    upload.save()
    dataset = Dataset.objects.create(
        project=project, name=name, upload=upload, task_type=task_type, format="input_output", created_by=user
    )
    tally: Counter[str] = Counter()
    prefix = f"datasets/{dataset.pk}/made-1"
    with tempfile.TemporaryDirectory() as folder:
        names = list(_write(Path(folder), dataset, iter(rows), tally))
        (Path(folder) / "manifest.json").write_text(json.dumps({"files": {}}))
        store_tree(Path(folder), prefix)
    for kind in ("status", "codes", "labels"):
        found = {key.split(":", 1)[1]: n for key, n in tally.items() if key.startswith(f"{kind}:")}
        if kind == "status":
            for status, n in found.items():
                setattr(dataset, status, n)
        else:
            setattr(dataset, kind, found)
    dataset.total = tally["total"]
    dataset.chunks, dataset.storage_prefix, dataset.import_attempt, dataset.state = names, prefix, 1, "ready"
    dataset.save()
    return dataset


def _stored(name: str, content: Any) -> str:
    from django.core.files.storage import default_storage

    return str(default_storage.save(name, content))


def _write(folder: Path, dataset: Any, rows: Iterator[MadeRow], tally: Counter[str]) -> Iterator[str]:
    first = 1
    while batch := list(islice(rows, CHUNK_ROWS)):
        number = (first - 1) // CHUNK_ROWS
        name = f"examples-{number:05d}.parquet"
        _write_chunk(folder / name, batch, first)
        _insert(dataset, batch, first, number)
        for row in batch:
            tally["total"] += 1
            tally[f"status:{row.status}"] += 1
            tally.update({f"codes:{finding.code}": 1 for finding in row.findings})
            if row.label:
                tally[f"labels:{row.label}"] += 1
        first += len(batch)
        yield name


def _write_chunk(path: Path, rows: list[MadeRow], first: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from finetune_engine.data.chunks import EXAMPLE_SCHEMA

    known: dict[str, list[Any]] = {
        "row": [first + n for n in range(len(rows))],
        "line": [first + n for n in range(len(rows))],
        "messages": [json.dumps(row.all_messages) for row in rows],
        "prompt": [row.prompt for row in rows],
        "answer": [row.answer for row in rows],
        "label": [row.label or None for row in rows],
        "metadata": ["{}"] * len(rows),
        "split": [row.split or None for row in rows],
        "original": [json.dumps({"prompt": row.prompt, "answer": row.answer}) for row in rows],
        "status": [row.status for row in rows],
        "codes": [[finding.code for finding in row.findings] for row in rows],
        "content_hash": [""] * len(rows),
    }
    nothing = [None] * len(rows)
    extra = {name for row in rows for name in row.extra}
    columns = {
        name: [row.extra.get(name) for row in rows] if name in extra else known.get(name, nothing)
        for name in EXAMPLE_SCHEMA.names
    }
    table = pa.table(columns, schema=EXAMPLE_SCHEMA)
    pq.write_table(table, path, row_group_size=GROUP_ROWS, compression="zstd")


def _insert(dataset: Any, rows: list[MadeRow], first: int, chunk: int) -> None:
    from datasets_app.bulk import insert_rows
    from datasets_app.models import Example, Finding

    fields = (
        "dataset", "import_attempt", "row", "status", "checked_status", "codes", "chunk", "offset", "label", "split",
        "prompt_head", "answer_head", "content_hash", "decision",
    )  # fmt: skip
    insert_rows(
        Example,
        fields,
        (
            (
                dataset.pk, 1, first + n, row.status, row.status, json.dumps([f.code for f in row.findings]), chunk, n,
                row.label, row.split, row.prompt[:200], row.answer[:120], "", "",
            )
            for n, row in enumerate(rows)
        ),
    )  # fmt: skip
    insert_rows(
        Finding,
        ("dataset", "import_attempt", "row", "code", "kind", "severity", "message", "column", "start", "end", "found",
         "expected", "fix", "related_row"),
        (
            (dataset.pk, 1, first + n, f.code, f.kind, "warning", f.message, f.column, f.start, f.end, f.found, "", "",
             f.related_row)
            for n, row in enumerate(rows) for f in row.findings
        ),
    )  # fmt: skip
