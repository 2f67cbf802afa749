"""The formats a snapshot can be had in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from datasets_app.choices import SPLITS, TaskType
from datasets_app.exports import shapes, writers
from datasets_app.exports.rows import ExportRow, export_rows, first_with_input, unusual_rows
from datasets_app.models import Snapshot
from datasets_app.queries.snapshots import snapshot_parquet
from datasets_app.streaming import stored_parts
from finetune_engine.errors import UserError


@dataclass(frozen=True)
class Export:
    """One format. ``kind`` is how lines become bytes: ``jsonl``, ``json``, ``csv``, ``xlsx`` or ``parquet``.

    ``fits`` says whether a row can be held (None: every row); ``tells_split`` whether a line says its split when all
    splits are wanted. ``holds`` is the data it is for: ``examples``, ``pairs`` (of a better and a worse answer),
    ``texts`` (without inputs), or ``all``.
    """

    name: str
    title: object
    note: object
    kind: str
    suffix: str
    shape: Callable[[ExportRow], dict[str, Any]] | None = None
    fits: Callable[[ExportRow], bool] | None = None
    tells_split: bool = False
    holds: str = "examples"

    @property
    def is_preference(self) -> bool:
        """Whether it is for pairs."""
        return self.holds == "pairs"


@dataclass(frozen=True)
class Exported:
    """A download: ``parts`` are its bytes, made while they are sent."""

    name: str
    content_type: str
    parts: Iterator[bytes]


CONTENT_TYPES = {
    "jsonl": "application/jsonl",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
_ALL = [
    Export(
        "jsonl",
        gettext_lazy("Chat messages with everything"),
        gettext_lazy("JSON lines: messages, split, label and all other columns"),
        "jsonl",
        "jsonl",
        shapes.everything,
    ),
    Export(
        "openai",
        gettext_lazy("Chat messages for OpenAI"),
        gettext_lazy("JSON lines: messages and tools alone"),
        "jsonl",
        "jsonl",
        shapes.openai_chat,
    ),
    Export(
        "prompt_completion",
        gettext_lazy("Prompt and completion"),
        gettext_lazy("JSON lines, as TRL reads them"),
        "jsonl",
        "jsonl",
        shapes.prompt_completion,
        tells_split=True,
    ),
    Export(
        "alpaca",
        gettext_lazy("Instruction and output (Alpaca)"),
        gettext_lazy("one JSON list"),
        "json",
        "json",
        shapes.alpaca,
        fits=lambda row: row.is_dialogue,
        tells_split=True,
    ),
    Export(
        "sharegpt",
        gettext_lazy("Conversations (ShareGPT)"),
        gettext_lazy("one JSON list"),
        "json",
        "json",
        shapes.sharegpt,
        fits=shapes.only_known_speakers,
        tells_split=True,
    ),
    Export(
        "csv",
        gettext_lazy("Table of inputs and outputs (CSV)"),
        gettext_lazy("for spreadsheets; texts that look like formulas get an apostrophe"),
        "csv",
        "csv",
        fits=lambda row: row.is_plain,
        tells_split=True,
    ),
    Export(
        "xlsx",
        gettext_lazy("Excel workbook"),
        gettext_lazy("inputs and outputs; texts that look like formulas get an apostrophe"),
        "xlsx",
        "xlsx",
        fits=lambda row: row.is_plain,
        tells_split=True,
    ),
    Export(
        "text",
        gettext_lazy("Texts"),
        gettext_lazy("JSON lines: the text alone"),
        "jsonl",
        "jsonl",
        shapes.text,
        tells_split=True,
        holds="texts",
    ),
    Export(
        "preference",
        gettext_lazy("Preference pairs (TRL)"),
        gettext_lazy("JSON lines: prompt, chosen, rejected"),
        "jsonl",
        "jsonl",
        shapes.preference,
        fits=lambda row: bool(row.rejected),
        tells_split=True,
        holds="pairs",
    ),
    Export(
        "preference_openai",
        gettext_lazy("Preference pairs for OpenAI"),
        gettext_lazy("JSON lines: input, preferred_output, non_preferred_output"),
        "jsonl",
        "jsonl",
        shapes.preference_openai,
        fits=lambda row: bool(row.rejected),
        holds="pairs",
    ),
    Export(
        "kto",
        gettext_lazy("Answers with a verdict (KTO)"),
        gettext_lazy("JSON lines: prompt, completion, label true or false"),
        "jsonl",
        "jsonl",
        shapes.kto,
        fits=lambda row: row.desirable is not None,
        holds="pairs",
    ),
    Export(
        "parquet",
        gettext_lazy("Parquet, as it is stored"),
        gettext_lazy("for data tools; all columns"),
        "parquet",
        "parquet",
        holds="all",
    ),
]
EXPORTS: dict[str, Export] = {one.name: one for one in _ALL}
_OTHER_NAMES = {"messages": "jsonl", "chat": "openai", "input_output": "csv", "trl": "preference", "dpo": "preference"}


def exports_of(snapshot: Snapshot) -> list[Export]:
    """The formats that fit what the snapshot holds: pairs for preference data, texts for texts, examples for the
    rest."""
    if snapshot.task_type == TaskType.PREFERENCE:
        return [one for one in _ALL if one.holds in {"pairs", "all"}]
    if snapshot.dataset.format == "text":
        return [one for one in _ALL if one.holds in {"texts", "all"} or one.name in {"jsonl", "openai"}]
    return [one for one in _ALL if one.holds in {"examples", "all"}]


def export_file(snapshot: Snapshot, format: str = "", split: str = "") -> Exported:
    """The snapshot, or one split of it, in this format; an empty format means the first that fits.

    Raises UserError before the first byte: for an unknown format or split, a format that does not hold this kind of
    data, rows that the format cannot hold, and a snapshot without rows.
    """
    if split and split not in SPLITS:
        raise UserError("unknown_split", f"A split is one of {', '.join(SPLITS)}.", field="split")
    export = _chosen(snapshot, format)
    path = snapshot_parquet(snapshot)
    _check_rows(export, path, split)
    ending = f"-{split}" if split else ""
    stem = slugify(snapshot.dataset.name.replace(".", " "))[:60] or "data"
    name = f"{stem}-v{snapshot.number}{ending}.{export.suffix}"
    return Exported(name, CONTENT_TYPES[export.kind], _parts(export, snapshot, path, split))


def _chosen(snapshot: Snapshot, format: str) -> Export:
    fitting = {one.name: one for one in exports_of(snapshot)}
    asked = format.strip().lower().replace("-", "_")
    if not asked:
        return next(iter(fitting.values()))
    asked = _OTHER_NAMES.get(asked, asked)
    if asked not in EXPORTS:
        known = ", ".join(fitting)
        raise UserError("unknown_format", f"There is no format {format[:40]!r}. This snapshot has: {known}.", "format")
    if asked not in fitting:
        sentence = _("This snapshot does not hold that kind of data. Choose: %(names)s.")
        if snapshot.task_type == TaskType.PREFERENCE:
            sentence = _(
                "This snapshot holds preference pairs; as single examples the worse answers would be lost. Choose: "
                "%(names)s."
            )
        raise UserError("format_does_not_fit", sentence % {"names": ", ".join(fitting)}, field="format")
    return fitting[asked]


def _check_rows(export: Export, path: Path, split: str) -> None:
    if export.holds == "texts" and (row := first_with_input(path)) is not None:
        raise UserError(
            "format_cannot_hold_rows",
            _(
                "“%(format)s” cannot hold row %(row)s: it has an input as well. Choose another format, for example %(other)s."
            )
            % {"format": export.title, "row": row, "other": EXPORTS["jsonl"].title},
            field="format",
        )
    if export.fits is None:
        return
    rows = export_rows(path, split) if export.is_preference else unusual_rows(path, split)
    refused = next((row for row in rows if not export.fits(row)), None)
    if refused is not None:
        raise UserError(
            "format_cannot_hold_rows",
            _("“%(format)s” cannot hold row %(row)s: %(why)s Choose another format, for example %(other)s.")
            % {
                "format": export.title,
                "row": refused.row,
                "why": _("it has no worse answer, or no verdict.")
                if export.is_preference
                else _("it is a conversation of several turns, or calls a tool."),
                "other": EXPORTS["parquet" if export.is_preference else "jsonl"].title,
            },
            field="format",
        )
    if export.kind == "xlsx":
        writers.check_workbook(path)


def _parts(export: Export, snapshot: Snapshot, path: Path, split: str) -> Iterator[bytes]:
    if export.kind == "parquet":
        return writers.parquet_of_split(path, split) if split else stored_parts(snapshot.storage_name)
    rows = export_rows(path, split)
    with_split = export.tells_split and not split
    if export.shape is None:
        return (writers.csv_parts if export.kind == "csv" else writers.xlsx_parts)(path, rows, with_split)
    lines = (_line(export.shape, row, with_split) for row in rows)
    return writers.jsonl_parts(lines) if export.kind == "jsonl" else writers.json_parts(lines)


def _line(shape: Callable[[ExportRow], dict[str, Any]], row: ExportRow, with_split: bool) -> dict[str, Any]:
    return shape(row) | ({"split": row.split} if with_split else {})
