"""From a file to checked examples: read, convert, check each row, compare rows, write.

Two passes. The first reads the file and puts batches aside; the second knows the whole set (duplicates, task
type, label spellings) and writes every row with its status. Memory holds one batch and a few numbers per row.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from finetune_engine.data.batches import Batch, batches
from finetune_engine.data.chunks import ChunkWriter
from finetune_engine.data.codes import RANK, STATUSES, status_of
from finetune_engine.data.detection import SAMPLE_ROWS, AnswerTally, Detected, detect_format, task_type_of
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.readers.source import RecordSource, open_records
from finetune_engine.data.records import Finding, RawRecord
from finetune_engine.data.relations import Relations, label_variants, variant_findings
from finetune_engine.data.stats import Statistics
from finetune_engine.data.stored_batches import StoredBatches, finding_frame
from finetune_engine.data.validation import check_batch, short_texts
from finetune_engine.errors import Place, UserError
from finetune_engine.ports import Run, Stopped

_PREVIEW_ROWS = 20
_LABEL_LIMIT = 10_000


def prepare(path: Path, out: Path, options: PrepareOptions, run: Run) -> dict[str, Any]:
    """Check ``path`` and write chunks, findings and ``report.json`` to ``out``; returns the report.

    UserError when nothing in the file can be used; Stopped when told to stop.
    """
    out.mkdir(parents=True, exist_ok=True)
    run.emit("phase", phase="validating")
    source = open_records(path, name=options.name, max_line_bytes=options.max_line_bytes)
    detected = _detect(source, options)
    stored = StoredBatches(out / ".batches")
    try:
        tally = _first_pass(source, detected, options, stored, run)
        if detected is None or not stored.usable().any():
            raise _nothing_usable(stored, source.name)
        report = _second_pass(source, detected, options, stored, tally, out, run)
    finally:
        stored.discard()
    _write_json(out / "report.json", report)
    run.emit("result", **{key: value for key, value in report.items() if key != "preview"})
    return report


def _detect(source: RecordSource, options: PrepareOptions) -> Detected | None:
    """The format of the file. A sample without a readable row looks further down before giving up."""
    sample = source.sample(SAMPLE_ROWS)
    if not any(record.value for record in sample):
        sample = _first_readable(source)
    return detect_format(sample, name=source.name, wanted=options.format, mapping=options.mapping)


def _first_readable(source: RecordSource) -> list[RawRecord]:
    found: list[RawRecord] = []
    for record in source.records():
        if record.value:
            found.append(record)
            if len(found) >= 10:
                break
    return found


def _first_pass(
    source: RecordSource, detected: Detected | None, options: PrepareOptions, stored: StoredBatches, run: Run
) -> AnswerTally:
    tally = AnswerTally()
    size = source.bytes.size
    convert = detected or _reads_nothing()
    is_plain_text = convert.format.name == "text"
    for batch in batches(source.records(), convert, options):
        batch.findings.extend(check_batch(batch, options, is_plain_text=is_plain_text))
        _tally(tally, batch)
        stored.add(batch)
        run.emit("progress", done=min(source.bytes.consumed, size), total=size, unit="bytes")
        _boundary(run)
    return tally


def _reads_nothing() -> Detected:
    """A stand-in for a file without one readable row, so that every row still gets its finding."""
    from finetune_engine.data.formats import format_named

    messages = format_named("messages")
    assert messages is not None
    return Detected(messages, None, ())


def _boundary(run: Run) -> None:
    if (action := run.boundary()) != "go":
        raise Stopped(action)


def _tally(tally: AnswerTally, batch: Batch) -> None:
    frame = batch.frame.filter(pl.col("usable") & (pl.col("answer_words") > 0))
    tally.add(frame["answer_norm"].to_list(), frame["answer_words"].to_list())
    tally.multi_turn += frame.filter(pl.col("turns") > 3).height


def _nothing_usable(stored: StoredBatches, name: str) -> UserError:
    """The error for a file of which no row can be used, with the reason of the first one."""
    codes: Counter[str] = Counter()
    first: dict[str, Any] | None = None
    for number in range(len(stored)):
        for finding in stored.findings(number).iter_rows(named=True):
            if status_of(finding["code"]) == "rejected":
                codes[finding["code"]] += 1
                first = first or finding
    if first is None:
        return UserError("empty_file", f"{name} has no rows. Choose a file with one example per row.")
    code = first["code"] if len(codes) == 1 and first["code"] in ("line_too_large", "encoding") else "no_usable_rows"
    none = "The only row" if stored.count == 1 else f"None of the {stored.count} rows"
    return UserError(
        code,
        f"{none} of {name} can{'not' if stored.count == 1 else ''} be used. {first['message']}",
        place=Place(name, first["row"], first["column"], first["found"], first["expected"], first["fix"]),
    )


@dataclass
class _Totals:
    """What the second pass counts for the report."""

    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    preview: list[dict[str, Any]] = field(default_factory=list)
    statistics: Statistics = field(default_factory=Statistics)


def _second_pass(
    source: RecordSource,
    detected: Detected,
    options: PrepareOptions,
    stored: StoredBatches,
    tally: AnswerTally,
    out: Path,
    run: Run,
) -> dict[str, Any]:
    task_type = options.task_type if options.task_type != "auto" else task_type_of(detected, tally)
    is_labelled = task_type == "classification"
    plain_text = detected.format.name == "text"
    run.emit("phase", phase="comparing rows")
    relations = Relations(stored, labels_matter=is_labelled, near=options.near_duplicates, plain_text=plain_text).find()
    _boundary(run)
    variants = label_variants(_labels(stored)) if is_labelled else {}
    check_lengths = task_type == "completion" and not tally.mostly_short and not plain_text
    totals = _Totals()
    run.emit("phase", phase="writing")
    with ChunkWriter(out) as writer:
        for number in range(len(stored)):
            frame = stored.frame(number)
            late = [f for i in range(stored.starts[number], stored.starts[number + 1]) for f in relations.get(i, ())]
            late += _late_findings(frame, options, variants, is_labelled, check_lengths)
            findings = pl.concat([stored.findings(number), finding_frame(late)]).sort("row", maintain_order=True)
            examples = _decide(frame, findings, is_labelled)
            writer.write(examples, findings)
            _count(totals, examples, findings)
            run.emit("progress", done=stored.starts[number + 1], total=stored.count, unit="rows")
            _boundary(run)
    return _report(source, detected, task_type, totals, writer)


def _labels(stored: StoredBatches) -> Counter[str]:
    """How often each spelling of a label occurs among rows that can be used."""
    labels: Counter[str] = Counter()
    for number in range(len(stored)):
        frame = stored.frame(number).filter(pl.col("usable") & (pl.col("answer_norm") != ""))
        labels.update(frame["label"].fill_null(frame["answer"]).to_list())
        if len(labels) > _LABEL_LIMIT:
            return Counter()
    return labels


def _late_findings(
    frame: pl.DataFrame,
    options: PrepareOptions,
    variants: dict[str, tuple[str, int]],
    is_labelled: bool,
    check_lengths: bool,
) -> Iterator[Finding]:
    if is_labelled and variants:
        usable = frame.filter(pl.col("usable"))
        labels = usable["label"].fill_null(usable["answer"]).to_list()
        yield from variant_findings(usable["row"].to_list(), usable["line"].to_list(), labels, variants)
    if check_lengths:
        yield from short_texts(frame, options)


def _decide(frame: pl.DataFrame, findings: pl.DataFrame, is_labelled: bool) -> pl.DataFrame:
    """Every row with its codes and the gravest status among them."""
    codes = findings.group_by("row", maintain_order=True).agg(pl.col("code").unique(maintain_order=True).alias("codes"))
    frame = frame.join(codes, on="row", how="left", maintain_order="left")
    empty = pl.lit([], dtype=pl.List(pl.String))
    ranks = pl.element().replace_strict(
        {c: RANK[status_of(c)] for c in findings["code"].unique()}, return_dtype=pl.Int8
    )
    rank = pl.col("codes").list.eval(ranks).list.max().fill_null(0)
    status = pl.when(~pl.col("usable")).then(pl.lit(RANK["rejected"], pl.Int8)).otherwise(rank)
    label = pl.coalesce("label", "answer") if is_labelled else pl.col("label")
    return frame.with_columns(
        pl.col("codes").fill_null(empty),
        status.replace_strict(dict(enumerate(STATUSES)), return_dtype=pl.String).alias("status"),
        pl.when(pl.col("usable")).then(label).otherwise(None).alias("label"),
    )


def _count(totals: _Totals, examples: pl.DataFrame, findings: pl.DataFrame) -> None:
    totals.statuses.update(dict(examples["status"].value_counts().iter_rows()))
    for codes in examples.filter(pl.col("codes").list.len() > 0)["codes"].to_list():
        totals.codes.update(codes)
    staying = examples.filter(pl.col("status").is_in(["accepted", "flagged"]))
    totals.statistics.add(staying)
    totals.labels.update(dict(staying["label"].drop_nulls().value_counts().iter_rows()))
    if (room := _PREVIEW_ROWS - len(totals.preview)) > 0:
        for row in examples.head(room).iter_rows(named=True):
            totals.preview.append(
                {
                    "row": row["row"],
                    "status": row["status"],
                    "codes": row["codes"],
                    "messages": json.loads(row["messages"]),
                    "label": row["label"],
                    "metadata": json.loads(row["metadata"]),
                }
            )


def _report(
    source: RecordSource, detected: Detected, task_type: str, totals: _Totals, writer: ChunkWriter
) -> dict[str, Any]:
    counts = {"total": sum(totals.statuses.values())} | {status: totals.statuses[status] for status in STATUSES}
    labels = dict(totals.labels.most_common(1000)) if task_type == "classification" else {}
    return {
        "format": detected.format.name,
        "file_type": source.shown_type,
        "encoding": source.bytes.encoding,
        "delimiter": source.layout.delimiter if source.layout else None,
        "task_type": task_type,
        "columns": list(source.layout.columns if source.layout else detected.columns),
        "mapping": detected.mapping.as_dict() if detected.mapping else None,
        "counts": counts,
        "codes": dict(totals.codes.most_common()),
        "labels": labels,
        "warnings": _warnings(source, labels),
        "statistics": totals.statistics.as_dict() | _balance(labels),
        "preview": totals.preview,
        "chunks": writer.names,
        "findings": writer.findings,
    }


def _balance(labels: dict[str, int]) -> dict[str, Any]:
    if not labels:
        return {}
    values = np.array(list(labels.values()))
    return {"classes": len(values), "largest_class": int(values.max()), "smallest_class": int(values.min())}


def _warnings(source: RecordSource, labels: dict[str, int]) -> list[dict[str, str]]:
    """Things about the whole file that belong to no row: ``[{code, message}]``."""
    out = []
    if source.layout is not None and source.layout.repeated:
        names = ", ".join(source.layout.repeated)
        out.append(
            {"code": "duplicate_header", "message": f"The header has {names} more than once; they were numbered."}
        )
    if source.layout is not None and source.layout.header_line > 1:
        above = source.layout.header_line - 1
        out.append({"code": "lines_above_header", "message": f"{above} lines above the header were passed over."})
    if source.bytes.encoding not in ("utf-8", "utf-8-sig"):
        message = f"The file was read as {source.bytes.encoding}. Check the preview for odd characters."
        out.append({"code": "encoding", "message": message})
    if len(labels) > 1 and max(labels.values()) > 10 * min(labels.values()):
        big, small = max(labels, key=lambda k: labels[k]), min(labels, key=lambda k: labels[k])
        message = (
            f"The label “{big}” has {labels[big]} rows and “{small}” only {labels[small]}. Add rows for the rare ones."
        )
        out.append({"code": "class_imbalance", "message": message})
    return out


def _write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    os.replace(partial, path)
