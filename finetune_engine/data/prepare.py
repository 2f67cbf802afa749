"""From files to checked examples: read, convert, clean, check each row, compare rows, write.

Two passes. The first reads the files and puts batches aside; the second knows the whole set (duplicates, task
type, label spellings) and writes every row with its status. Memory holds one batch and a few numbers per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from finetune_engine.data.batches import Batch, batches, measure, place_in_set
from finetune_engine.data.chunks import ChunkWriter
from finetune_engine.data.cleaning import CleaningPlan, read_plan
from finetune_engine.data.codes import RANK, STATUSES, status_of
from finetune_engine.data.consistency import departures
from finetune_engine.data.detection import task_type_of
from finetune_engine.data.input_files import InputFile, open_files
from finetune_engine.data.language import mismatches
from finetune_engine.data.naming import RowNames
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.plain_lines import line_batches
from finetune_engine.data.proposed import proposed_findings, without_effect_of
from finetune_engine.data.records import Finding
from finetune_engine.data.relations import Relations, label_variants, variant_findings
from finetune_engine.data.report import Totals, make_report, nothing_usable, write_json
from finetune_engine.data.revisions import revise
from finetune_engine.data.sparse_lists import sparse_lists
from finetune_engine.data.stored_batches import StoredBatches, finding_frame
from finetune_engine.data.tally import WholeSet
from finetune_engine.data.tokens import TokenCounter
from finetune_engine.data.validation import check_batch, short_texts
from finetune_engine.ports import Run, Stopped


def prepare(paths: Path | Sequence[Path], out: Path, options: PrepareOptions, run: Run) -> dict[str, Any]:
    """Check the files and write chunks, findings and ``report.json`` to ``out``; returns the report.

    Rows are counted over all files, in their order. UserError when nothing in a file can be used; Stopped when told
    to stop.
    """
    out.mkdir(parents=True, exist_ok=True)
    run.emit("phase", phase="validating")
    files = open_files([paths] if isinstance(paths, Path) else list(paths), options)
    names = RowNames([file.name for file in files], [file.source.sheet for file in files])
    stored = StoredBatches(out / ".batches", compared=options.near_duplicates)
    try:
        whole = _first_pass(files, names, options, stored, run)
        _refuse_unusable(files, stored, options)
        report = _Second(files, names, options, stored, whole, out, run).write()
    finally:
        stored.discard()
    write_json(out / "report.json", report)
    run.emit("result", **{key: value for key, value in report.items() if key != "preview"})
    return report


def _boundary(run: Run) -> None:
    if (action := run.boundary()) != "go":
        raise Stopped(action)


def _first_pass(
    files: Sequence[InputFile], names: RowNames, options: PrepareOptions, stored: StoredBatches, run: Run
) -> WholeSet:
    """Read everything, row by row checks included, and put it aside."""
    whole = WholeSet()
    plan = read_plan(options.cleaning_json())
    counter = TokenCounter(options.tokenizer) if options.tokenizer else None
    total = sum(file.source.bytes.size for file in files)
    done = 0
    for number, file in enumerate(files):
        names.rows_before.append(stored.count)
        file.first_row = stored.count + 1
        size = file.source.bytes.size
        for batch in _batches(file, options):
            _check(batch, file, options, plan, counter)
            if options.source(number).proposed:
                batch.findings[:0] = proposed_findings(batch.frame)
            whole.add(batch)
            place_in_set(batch, number, names)
            stored.add(batch, number)
            run.emit("progress", done=done + min(file.source.bytes.consumed, size), total=total, unit="bytes")
            _boundary(run)
        file.rows = stored.count - names.rows_before[number]
        done += size
    return whole


def _batches(file: InputFile, options: PrepareOptions) -> Iterator[Batch]:
    read = line_batches if file.source.has_lines else batches
    if read is line_batches:
        return line_batches(file.source, file.understood(), options)
    return batches(file.source.records(), file.understood(), options)


def _check(
    batch: Batch, file: InputFile, options: PrepareOptions, plan: CleaningPlan, counter: TokenCounter | None
) -> None:
    revise(batch, options, plan, counter)
    measure(batch)
    findings = check_batch(batch, options, is_plain_text=file.format_name == "text")
    batch.findings.extend(findings)
    if options.over_length == "drop":
        dropped = [f.row for f in findings if f.code == "too_long"]
        if dropped:
            batch.frame = batch.frame.with_columns(pl.col("usable") & ~pl.col("row").is_in(dropped))


def _refuse_unusable(files: Sequence[InputFile], stored: StoredBatches, options: PrepareOptions) -> None:
    """UserError for the first file of which no row can be used. Proposals beside other files are no reason to stop."""
    usable = stored.usable()
    for number, file in enumerate(files):
        if len(files) > 1 and options.source(number).proposed:
            continue
        begin = file.first_row - 1
        if not usable[begin : begin + file.rows].any():
            parts = [at for at, source in enumerate(stored.sources) if source == number]
            raise nothing_usable(file, (stored.findings(at) for at in parts))


class _Second:
    """The second pass: everything that needs the whole set, and the writing."""

    def __init__(
        self,
        files: Sequence[InputFile],
        names: RowNames,
        options: PrepareOptions,
        stored: StoredBatches,
        whole: WholeSet,
        out: Path,
        run: Run,
    ) -> None:
        self._files, self._names, self._options, self._stored, self._whole = files, names, options, stored, whole
        self._out, self._run = out, run
        self._plain_text = all(file.format_name == "text" for file in files)
        self._task_type = options.task_type if options.task_type != "auto" else self._guess_task()
        self._is_labelled = self._task_type == "classification"

    def _guess_task(self) -> str:
        """The task of the first file's rows, seen over all rows."""
        return task_type_of(self._files[0].understood(), self._whole.answers)

    def write(self) -> dict[str, Any]:
        """Compare all rows, write chunks and findings; the report."""
        stored, run, whole = self._stored, self._run, self._whole
        run.emit("phase", phase="comparing rows")
        relations = Relations(
            stored,
            self._names,
            labels_matter=self._is_labelled,
            near=self._options.near_duplicates,
            plain_text=self._plain_text,
        )
        proposals = [
            range(file.first_row - 1, file.first_row - 1 + file.rows)
            for number, file in enumerate(self._files)
            if self._options.source(number).proposed
        ]
        related = without_effect_of(proposals, relations.find())
        clusters = relations.clusters()
        _boundary(run)
        self._variants = label_variants(whole.labels) if self._is_labelled else {}
        self._languages = whole.main_languages(stored) if self._options.languages else {}
        totals = Totals(stored.count)
        run.emit("phase", phase="writing")
        with ChunkWriter(self._out) as writer:
            for number in range(len(stored)):
                first, last = stored.starts[number], stored.starts[number + 1]
                frame = stored.frame(number)
                late = [finding for i in range(first, last) if i in related for finding in related[i]]
                late += self._late(frame, stored.sources[number])
                findings = stored.findings(number)
                if late:
                    findings = pl.concat([findings, finding_frame(late)]).sort("row", maintain_order=True)
                cluster = pl.Series("cluster", [clusters.get(i) for i in range(first, last)], dtype=pl.Int64)
                examples = _decided(frame.with_columns(cluster), findings, self._is_labelled)
                writer.write(examples, findings)
                totals.add(examples, findings)
                run.emit("progress", done=last, total=stored.count, unit="rows")
                _boundary(run)
        totals.clusters = len(set(clusters.values()))
        totals.languages = self._languages
        return make_report(self._files, self._task_type, totals, writer)

    def _late(self, frame: pl.DataFrame, source: int) -> Iterator[Finding]:
        """Findings on one batch that need to know the whole set. Its rows are counted in their own file here."""
        if len(self._files) > 1:
            frame = frame.with_columns(pl.col("source_row").alias("row"))
        usable = frame if frame["usable"].all() else frame.filter("usable")
        found: list[Finding] = []
        if self._variants:
            labels = usable["label"].fill_null(usable["answer"]).to_list()
            found += variant_findings(usable["row"].to_list(), usable["line"].to_list(), labels, self._variants)
        if self._task_type == "completion" and not self._whole.answers.mostly_short and not self._plain_text:
            found += short_texts(frame, self._options)
        if not self._is_labelled and not self._plain_text:
            found += departures(usable, self._whole.forms.usual)
        if self._languages:
            found += mismatches(usable, self._languages, by_words=self._whole.is_small)
        for finding in found:
            yield self._names.place(finding, source)


def _decided(frame: pl.DataFrame, findings: pl.DataFrame, is_labelled: bool) -> pl.DataFrame:
    """Every row with its codes and the gravest status among them."""
    codes: dict[int, list[str]] = {}
    for row, code in findings.select("row", "code").iter_rows():
        if code not in (held := codes.setdefault(row, [])):
            held.append(code)
    ranks = pl.when("usable").then(pl.lit(0, pl.Int8)).otherwise(pl.lit(RANK["rejected"], pl.Int8))
    rank = frame.select(ranks.alias("rank"))["rank"]
    noted = frame["row"].is_in(list(codes)).arg_true() if codes else pl.Series(dtype=pl.UInt32)
    by_row = [codes[row] for row in frame["row"].gather(noted).to_list()]
    if by_row:
        gravest = pl.Series([max(RANK[status_of(code)] for code in held) for held in by_row], dtype=pl.Int8)
        worst = pl.DataFrame({"own": rank.gather(noted), "found": gravest}).max_horizontal()
        rank = rank.scatter(noted, worst)
    label = pl.coalesce("label", "answer") if is_labelled else pl.col("label")
    return frame.with_columns(
        sparse_lists("codes", frame.height, noted, by_row),
        rank.replace_strict(list(range(len(STATUSES))), list(STATUSES), return_dtype=pl.String).alias("status"),
        pl.when("usable").then(label).otherwise(None).alias("label"),
    )
