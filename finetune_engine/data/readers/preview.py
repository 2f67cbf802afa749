"""A quick look at a file for the upload page: nothing is stored, little is read."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_engine.data.readers.source import open_records
from finetune_engine.data.records import RawRecord

PREVIEW_ROWS = 20
_SCAN_BYTES = 4 << 20


@dataclass(frozen=True)
class PreviewRow:
    """One record of the preview. ``messages`` is empty and ``problem`` says why when it cannot be read; ``rejected``
    is the worse answer of a pair."""

    row: int
    line: int | None
    original: str
    messages: list[dict[str, Any]]
    label: str | None = None
    problem: str | None = None
    rejected: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Preview:
    """What a file seems to be. ``format`` is None when no format fits; then ``problem`` says what to do.

    ``lists`` are the names of the lists when the file is one object of lists of rows: a mapping may choose some.
    ``sheet`` is the sheet of a workbook that is read. ``warnings`` are ``{code, message}`` about the whole file.
    """

    name: str
    format: str | None
    file_type: str
    encoding: str
    delimiter: str | None
    columns: list[str]
    mapping: dict[str, Any] | None
    rows: list[PreviewRow] = field(default_factory=list)
    problem: str | None = None
    problem_code: str | None = None
    lists: list[str] = field(default_factory=list)
    sheet: str | None = None
    warnings: list[dict[str, str]] = field(default_factory=list)


def sniff(path: Path | str, name: str | None = None, options: AnyMapping[str, Any] | None = None) -> Preview:
    """A preview of ``path`` (original name ``name``), with the options of ``prepare``.

    Reads at most a few megabytes. UserError for a file that cannot be used at all; columns that fit no format
    are no error here, since the person can choose them.
    """
    from finetune_engine.data.detection import SAMPLE_ROWS, columns_of, detect_format
    from finetune_engine.data.options import read_options
    from finetune_engine.errors import UserError

    chosen = read_options(options)
    path = Path(path)
    shown = name or chosen.name or path.name
    lists = chosen.mapping.lists if chosen.mapping else None
    source = open_records(path, name=shown, max_line_bytes=chosen.max_line_bytes, scan_bytes=_SCAN_BYTES, lists=lists)
    sample = source.sample(SAMPLE_ROWS)
    detected, problem = None, None
    try:
        detected = detect_format(sample, name=shown, wanted=chosen.format, mapping=chosen.mapping)
    except UserError as error:
        problem = error
    columns = source.layout.columns if source.layout else columns_of([r.value for r in sample if r.value])
    return Preview(
        name=shown,
        format=detected.format.name if detected else None,
        file_type=source.shown_type,
        encoding=source.bytes.encoding,
        delimiter=source.layout.delimiter if source.layout else None,
        columns=list(columns),
        mapping=detected.mapping.as_dict() if detected and detected.mapping else None,
        rows=[_row(record, detected) for record in sample[:PREVIEW_ROWS]],
        problem=problem.sentence if problem else None,
        problem_code=problem.code if problem else None,
        lists=list(source.lists()),
        sheet=source.sheet,
        warnings=source.notes,
    )


def _row(record: RawRecord, detected: Any) -> PreviewRow:
    if record.value is None or detected is None:
        problem = record.findings[0].placed(record.row, record.line, record.sheet).message if record.findings else None
        return PreviewRow(record.row, record.line, record.original[:2000], [], problem=problem)
    draft = detected.convert(record.value)
    finding = draft.findings[0].placed(record.row, record.line, record.sheet).message if draft.findings else None
    return PreviewRow(
        record.row, record.line, record.original[:2000], draft.messages, draft.label, finding, draft.rejected
    )
