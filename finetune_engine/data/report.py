"""``report.json``: what was found in the files, counted; and the same as lines for a terminal."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from finetune_engine.data.chunks import ChunkWriter
from finetune_engine.data.codes import CODES, STATUSES, status_of
from finetune_engine.data.input_files import InputFile
from finetune_engine.data.language import MainLanguage
from finetune_engine.data.stats import Statistics, step_for
from finetune_engine.data.stored_once import filled
from finetune_engine.errors import Place, UserError

_PREVIEW_ROWS = 20
_MOST_LABELS = 1_000
_OUT_OF_BALANCE = 10


@dataclass
class Totals:
    """What the second pass counts. ``rows`` is the size of the whole set."""

    rows: int
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    cleaning: Counter[str] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)
    preview: list[dict[str, Any]] = field(default_factory=list)
    clusters: int = 0
    languages: dict[str, MainLanguage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.statistics = Statistics(every=step_for(self.rows))

    def add(self, examples: pl.DataFrame, findings: pl.DataFrame) -> None:
        """Take in some rows with their status and their findings."""
        self.statuses.update(_counted(examples["status"]))
        if findings.height:
            self.codes.update(_counted(findings.unique(["row", "code"])["code"]))
            personal = findings.filter(pl.col("kind").is_not_null()).unique(["row", "kind"])
            self.pii.update(_counted(personal["kind"]))
        self.cleaning.update(_counted(examples["cleaned"].explode(empty_as_null=False, keep_nulls=False)))
        stays = examples["status"].is_in(["accepted", "flagged"])
        staying = examples if stays.all() else examples.filter(stays)
        self.statistics.add(staying)
        if staying["label"].null_count() < staying.height:
            self.labels.update(_counted(staying["label"].drop_nulls()))
        if (room := _PREVIEW_ROWS - len(self.preview)) > 0:
            self.preview += [_previewed(row) for row in filled(examples.head(room)).iter_rows(named=True)]


def _counted(column: pl.Series) -> dict[str, int]:
    return dict(column.value_counts().iter_rows()) if len(column) else {}


def _previewed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": row["row"],
        "status": row["status"],
        "codes": row["codes"],
        "messages": json.loads(row["messages"]),
        "rejected": json.loads(row["rejected"]) if row["rejected"] else None,
        "label": row["label"],
        "metadata": json.loads(row["metadata"]),
    }


def make_report(files: Sequence[InputFile], task_type: str, totals: Totals, writer: ChunkWriter) -> dict[str, Any]:
    """The report. Keys that describe one file are those of the first; ``sources`` has all."""
    counts = {"total": sum(totals.statuses.values())} | {status: totals.statuses[status] for status in STATUSES}
    labels = dict(totals.labels.most_common(_MOST_LABELS)) if task_type == "classification" else {}
    sources = [file.as_dict() for file in files]
    first = {key: sources[0][key] for key in ("format", "file_type", "encoding", "delimiter", "columns", "mapping")}
    return first | {
        "task_type": task_type,
        "sources": sources,
        "counts": counts,
        "codes": dict(totals.codes.most_common()),
        "labels": labels,
        "cleaning": dict(totals.cleaning.most_common()),
        "pii": dict(totals.pii.most_common()),
        "clusters": totals.clusters,
        "warnings": [*_about_files(files), *_balance_warning(labels)],
        "statistics": totals.statistics.as_dict() | _languages(totals) | _balance(labels),
        "preview": totals.preview,
        "chunks": writer.names,
        "findings": writer.findings,
    }


def _languages(totals: Totals) -> dict[str, Any]:
    """Languages of a sample of the inputs (of the answers where there are no inputs)."""
    for column in ("prompt", "answer"):
        if (main := totals.languages.get(column)) is not None and main.counts:
            return {"languages": dict(main.counts.most_common()), "language_rows": main.counts.total()}
    return {"languages": {}, "language_rows": 0}


def _balance(labels: dict[str, int]) -> dict[str, Any]:
    if not labels:
        return {}
    values = np.array(list(labels.values()))
    return {"classes": len(values), "largest_class": int(values.max()), "smallest_class": int(values.min())}


def _about_files(files: Sequence[InputFile]) -> list[dict[str, str]]:
    """Things about whole files that belong to no row: ``[{code, message}]``."""
    out = []
    for file in files:
        begin = f"{file.name}: " if len(files) > 1 else ""
        out += [{"code": note["code"], "message": begin + note["message"]} for note in _about_file(file)]
    return out


def _about_file(file: InputFile) -> list[dict[str, str]]:
    source, layout = file.source, file.source.layout
    out = list(source.notes)
    if layout is not None and layout.repeated:
        names = ", ".join(layout.repeated)
        message = f"The header has {names} more than once; they were numbered."
        out.append({"code": "duplicate_header", "message": message})
    if layout is not None and layout.header_line > 1:
        above = layout.header_line - 1
        out.append({"code": "lines_above_header", "message": f"{above} lines above the header were passed over."})
    if source.bytes.encoding not in ("utf-8", "utf-8-sig"):
        message = f"The file was read as {source.bytes.encoding}. Check the preview for odd characters."
        out.append({"code": "encoding", "message": message})
    return out


def _balance_warning(labels: dict[str, int]) -> list[dict[str, str]]:
    if len(labels) < 2 or max(labels.values()) <= _OUT_OF_BALANCE * min(labels.values()):
        return []
    big, small = max(labels, key=lambda k: labels[k]), min(labels, key=lambda k: labels[k])
    message = (
        f"The label “{big}” has {labels[big]} rows and “{small}” only {labels[small]}. Add rows for the rare ones."
    )
    return [{"code": "class_imbalance", "message": message}]


def nothing_usable(file: InputFile, findings: Iterable[pl.DataFrame]) -> UserError:
    """The error for a file of which no row can be used, with the reason of the first one."""
    codes: Counter[str] = Counter()
    first: dict[str, Any] | None = None
    for frame in findings:
        for finding in frame.iter_rows(named=True):
            if status_of(finding["code"]) == "rejected":
                codes[finding["code"]] += 1
                first = first or finding
    if first is None:
        sentence = f"{file.name} has no rows. Choose a file with one example per row."
        return UserError("empty_file", sentence, place=Place(file.name))
    code = first["code"] if len(codes) == 1 and first["code"] in ("line_too_large", "encoding") else "no_usable_rows"
    none = "The only row" if file.rows == 1 else f"None of the {file.rows} rows"
    row = first["row"] - file.first_row + 1
    return UserError(
        code,
        f"{none} of {file.name} can{'not' if file.rows == 1 else ''} be used. {first['message']}",
        place=Place(file.name, row, first["column"], first["found"], first["expected"], first["fix"]),
    )


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    os.replace(partial, path)


def summary(report: dict[str, Any]) -> str:
    """The report as lines that a person reads in a terminal."""
    counts, figures = report["counts"], report["statistics"]
    lines = [
        f"{source['name']}: {source['rows']:,} rows, {source['file_type']}, read as {source['format']}"
        for source in report["sources"]
    ]
    lines += ["", f"{counts['total']:,} rows for {report['task_type']}:"]
    lines += [f"  {counts[status]:>9,}  {status.replace('_', ' ')}" for status in STATUSES]
    sections = (
        ("What was noticed (rows)", {CODES[code].title: rows for code, rows in report["codes"].items()}),
        ("Personal data (rows)", report["pii"]),
        ("Cleaned (rows)", report["cleaning"]),
        ("Labels", dict(list(report["labels"].items())[:20])),
        ("Languages (sample)", figures["languages"]),
    )
    for title, found in sections:
        if found:
            lines += ["", f"{title}:", *(f"  {count:>9,}  {name}" for name, count in found.items())]
    lines += [
        "",
        "Words on average: "
        f"{figures['avg_prompt_length']:g} in the input, {figures['avg_completion_length']:g} in the answer.",
    ]
    if report["clusters"]:
        lines.append(f"Groups of near-duplicates: {report['clusters']:,}.")
    lines += [f"Note: {warning['message']}" for warning in report["warnings"]]
    return "\n".join(lines)
