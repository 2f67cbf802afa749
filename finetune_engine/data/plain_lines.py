"""JSON lines in the usual shapes, a few thousand at once: columns are filled without an object per row.

A row that is unusual in any way (no valid JSON, other names than its neighbours, a value of another kind, a name
twice, an odd order of turns) is left to the careful reader, row by row. Both ways give the same table and the same
findings; ``tests/finetune_engine/data/test_plain_lines.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl

from finetune_engine.data import batches as _sizes
from finetune_engine.data.batches import SCHEMA, Batch, from_records, subject_of
from finetune_engine.data.canonical import dump, setting_of
from finetune_engine.data.detection import Detected
from finetune_engine.data.formats.row_format import split_name
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.plain_rows import PlainRows, form_of
from finetune_engine.data.readers.lines import Oversized, parse_line, split_lines, too_large
from finetune_engine.data.readers.source import RecordSource
from finetune_engine.data.records import Mapping, RawRecord
from finetune_engine.data.stored_once import BETWEEN, END, QUESTION
from finetune_engine.data.text_bytes import names_written

_MAPPED = {"prompt_completion": False, "input_output": False, "alpaca": False, "text_label": True}
_SCALARS: frozenset[type] = frozenset((str, int, float, bool, type(None)))
_TURN = frozenset(("role", "content"))
_EMPTY: dict[str, Any] = {}


class Lines(NamedTuple):
    """Some lines that are not blank: for each the number of its row, its line number and its bytes."""

    rows: Sequence[int]
    numbers: list[int]
    lines: list[bytes | Oversized]


@dataclass(frozen=True)
class _Table:
    """Values of one shape, and the places of those that have it; ``marks`` is how many names each line must hold."""

    columns: dict[str, Any]
    places: list[int]
    marks: pl.Series | int


def line_batches(source: RecordSource, detected: Detected, options: PrepareOptions) -> Iterator[Batch]:
    """All rows of a file of JSON lines, in batches like those of ``batches.batches``."""
    lines = split_lines(source.bytes.blocks(), source.max_line_bytes)
    for group in _groups(lines, options.max_rows):
        yield _batch(group, detected, source.max_line_bytes)


def _groups(lines: Iterable[tuple[int, bytes | Oversized]], most: int | None) -> Iterator[Lines]:
    row = size = 0
    numbers: list[int] = []
    held: list[bytes | Oversized] = []
    for number, line in lines:
        if type(line) is bytes:
            if not line or line.isspace():
                continue
            size += len(line)
        if most is not None and row >= most:
            break
        row += 1
        numbers.append(number)
        held.append(line)
        if len(held) >= _sizes.BATCH_ROWS or size >= _sizes.BATCH_BYTES:
            yield Lines(range(row - len(held) + 1, row + 1), numbers, held)
            numbers, held, size = [], [], 0
    if held:
        yield Lines(range(row - len(held) + 1, row + 1), numbers, held)


def _batch(group: Lines, detected: Detected, max_bytes: int) -> Batch:
    plain = _plain(group, detected)
    if plain is None:
        return _parsed(group, detected, max_bytes)
    frame, others = plain
    if not others:
        return Batch(frame)
    rest = Lines(
        [group.rows[place] for place in others],
        [group.numbers[place] for place in others],
        [group.lines[place] for place in others],
    )
    parsed = _parsed(rest, detected, max_bytes)
    return Batch(pl.concat([frame, parsed.frame], how="diagonal").sort("row"), parsed.findings)


def _plain(group: Lines, detected: Detected) -> tuple[pl.DataFrame, list[int]] | None:
    """The rows whose lines are alike byte by byte but for their two texts, and the places of the others."""
    name, mapping = detected.format.name, detected.mapping
    if name not in _MAPPED or mapping is None or len(mapping.prompt) != 1 or not _is_simple(mapping, _MAPPED[name]):
        return None
    kept = mapping.metadata or ()
    form = form_of(group.lines, mapping.prompt[0], mapping.completion)
    if form is None or mapping.prompt[0] in kept or mapping.completion in kept:
        return None
    # A line that was too large to be held is an empty one here, which fits no form.
    plain = PlainRows([line if type(line) is bytes else b"" for line in group.lines], form)
    places = np.flatnonzero(plain.fits)
    known = plain.frame()
    columns: dict[str, Any] = dict.fromkeys(SCHEMA)
    columns |= {
        "row": pl.Series(np.array(group.rows)[places]),
        "line": pl.Series(np.array(group.numbers)[places]),
        "messages": pl.repeat(None, len(places), dtype=pl.String, eager=True),
        "prompt": known["prompt"],
        "answer": known["answer"],
        "label": known["answer"] if _MAPPED[name] else None,
        "original": pl.repeat(None, len(places), dtype=pl.String, eager=True),
    }
    frame = _filled(columns, columns["original"]).hstack(known.drop("prompt", "answer").get_columns())
    return frame, np.flatnonzero(~plain.fits).tolist()


def _parsed(group: Lines, detected: Detected, max_bytes: int) -> Batch:
    values = _values(group.lines)
    table = _shape(values, detected)
    if table is None:
        return from_records(_records(group, range(len(values)), max_bytes), detected)
    frame, careful = _frame(group, table)
    if not careful:
        return Batch(frame)
    rest = from_records(_records(group, careful, max_bytes), detected)
    return Batch(pl.concat([frame, rest.frame]).sort("row"), rest.findings)


def _is_simple(mapping: Mapping, is_label: bool) -> bool:
    """Whether input and answer are all that the mapping reads, as they are."""
    others = (mapping.system, mapping.group, mapping.split, None if is_label else mapping.label)
    return not any(others) and mapping.prompt_template is None


def _values(lines: Sequence[bytes | Oversized]) -> list[dict[str, Any]]:
    """What stands on each line; an empty object for whatever is no object."""
    try:
        values = list(map(orjson.loads, lines))  # type: ignore[arg-type]
    except (orjson.JSONDecodeError, TypeError):
        values = [_value(line) for line in lines]
    if set(map(type, values)) != {dict}:
        values = [value if type(value) is dict else _EMPTY for value in values]
    return values


def _value(line: bytes | Oversized) -> Any:
    try:
        return orjson.loads(line) if type(line) is bytes else None
    except orjson.JSONDecodeError:
        return None


def _records(group: Lines, places: Iterable[int], max_bytes: int) -> Iterator[RawRecord]:
    for place in places:
        row, number, line = group.rows[place], group.numbers[place], group.lines[place]
        if isinstance(line, Oversized):
            yield RawRecord(row, number, None, "", [too_large(line.size, max_bytes)])
        else:
            yield parse_line(row, number, line)


def _frame(group: Lines, table: _Table) -> tuple[pl.DataFrame, list[int]]:
    """The rows of the usual shape, and the places of the others."""
    places = table.places
    whole = len(places) == len(group.lines)
    lines = group.lines if whole else [group.lines[place] for place in places]
    original = pl.Series("original", lines, dtype=pl.Binary).cast(pl.String)
    numbers = group.numbers if whole else [group.numbers[place] for place in places]
    columns = {name: table.columns.get(name) for name in SCHEMA}
    columns |= {
        "row": [group.rows[place] for place in places],
        "line": numbers,
        "original": original,
    }
    frame = _filled(columns, original)
    # As many names as the object has: none twice, and none hidden in a text. Others are counted properly.
    sound = names_written(original) == table.marks
    if sound.all():
        return frame, [] if whole else sorted(set(range(len(group.lines))) - set(places))
    kept = set(compress(places, sound.to_list()))
    return frame.filter(sound), [place for place in range(len(group.lines)) if place not in kept]


def _filled(columns: dict[str, Any], original: pl.Series) -> pl.DataFrame:
    """The table; a column that is None gets its usual value."""
    count = len(original)
    prompt = columns["prompt"] = pl.Series(columns["prompt"], dtype=pl.String)
    answer = columns["answer"] = pl.Series(columns["answer"], dtype=pl.String)
    if columns["messages"] is None:
        columns["messages"] = _two_turns(prompt, answer, original)
    if columns["subject"] is None:
        empty = prompt == ""
        columns["subject"] = prompt.zip_with(~empty, answer)
    usual: dict[str, Any] = {"setting": "", "instruction": "", "metadata": "{}", "turns": 2, "usable": True}
    for name, kind in SCHEMA.items():
        value = columns[name]
        if value is None:
            columns[name] = pl.repeat(usual.get(name), count, dtype=kind, eager=True)
        elif not isinstance(value, pl.Series):
            columns[name] = pl.Series(name, value, dtype=kind)
    return pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=SCHEMA)


def _two_turns(prompt: pl.Series, answer: pl.Series, original: pl.Series) -> pl.Series:
    """Question and answer as JSON. A text without a backslash in its line needs no escape in the messages either."""
    whole = pl.concat_str(pl.lit(QUESTION), prompt, pl.lit(BETWEEN), answer, pl.lit(END))
    joined = pl.select(whole.alias("messages")).to_series()
    index = original.str.contains("\\", literal=True).arg_true()
    if index.is_empty():
        return joined
    turns = zip(prompt.gather(index).to_list(), answer.gather(index).to_list(), strict=True)
    written = [
        orjson.dumps([{"role": "user", "content": asked}, {"role": "assistant", "content": said}])
        for asked, said in turns
    ]
    return joined.scatter(index, pl.Series(written, dtype=pl.Binary).cast(pl.String))


def _shape(values: Sequence[dict[str, Any]], detected: Detected) -> _Table | None:
    """The rows that look like the first one, as columns; None when this format or file is no usual one."""
    names = next((tuple(value) for value in values if value), ())
    name, mapping = detected.format.name, detected.mapping
    if name in _MAPPED and mapping is not None:
        return _mapped(values, names, mapping, is_label=_MAPPED[name], is_alpaca=name == "alpaca")
    if name == "messages" and mapping is None:
        return _conversations(values, names)
    return None


def _alike(values: Sequence[dict[str, Any]], names: tuple[str, ...]) -> list[int]:
    """Places of the values with exactly these names, in this order."""
    keys = list(map(tuple, values))
    if keys.count(names) == len(keys):
        return list(range(len(keys)))
    return [place for place, key in enumerate(keys) if key == names]


def _of_kinds(columns: dict[str, list[Any]], kinds: dict[str, frozenset[type]], places: list[int]) -> list[int]:
    """The places (of ``places``) where every column holds a value of its kinds; all columns are cut down to them."""
    sound: list[bool] | None = None
    for name, allowed in kinds.items():
        if not set(map(type, columns[name])) <= allowed:
            fits = [type(value) in allowed for value in columns[name]]
            sound = fits if sound is None else [a and b for a, b in zip(sound, fits, strict=True)]
    if sound is None:
        return places
    for name in columns:
        columns[name] = list(compress(columns[name], sound))
    return list(compress(places, sound))


_TEXT: frozenset[type] = frozenset((str,))


def _mapped(
    values: Sequence[dict[str, Any]], names: tuple[str, ...], mapping: Mapping, *, is_label: bool, is_alpaca: bool
) -> _Table | None:
    """Rows of plain columns, read as ``convert_mapped`` does."""
    texts = [*mapping.prompt, mapping.completion]
    if not _is_simple(mapping, is_label) or not set(texts) <= set(names) or "tools" in names:
        return None
    if is_alpaca and "history" in names:
        return None
    places = _alike(values, names)
    chosen = values if len(places) == len(values) else [values[place] for place in places]
    columns = {name: [value[name] for value in chosen] for name in names}
    used = mapping.used()
    kept = [name for name in names if (name not in used if mapping.metadata is None else name in mapping.metadata)]
    if mapping.metadata is not None:
        kept = [name for name in mapping.metadata if name in names]
    kinds: dict[str, frozenset[type]] = dict.fromkeys(names, _SCALARS) | dict.fromkeys(texts, _TEXT)
    places = _of_kinds(columns, kinds, places)
    out: dict[str, Any] = {"answer": columns[mapping.completion]}
    parts = [columns[name] for name in mapping.prompt]
    if len(parts) == 1:
        out["prompt"] = parts[0]
    else:
        joined = ["\n\n".join([text for text in row if text.strip()]) for row in zip(*parts, strict=True)]
        out["prompt"] = joined
        pairs = list(zip(joined, parts[0], strict=True))
        out["instruction"] = [first if text != first and text.startswith(first) else "" for text, first in pairs]
        rows = zip(joined, out["instruction"], out["answer"], strict=True)
        out["subject"] = [subject_of(*row) for row in rows]
        # The line of a joined prompt may hold no backslash while the prompt does (its line breaks).
        turns = zip(joined, out["answer"], strict=True)
        out["messages"] = [
            dump([{"role": "user", "content": asked}, {"role": "assistant", "content": said}]) for asked, said in turns
        ]
    if is_label:
        out["label"] = out["answer"]
    if kept:
        rows_kept = zip(*(columns[name] for name in kept), strict=True)
        out["metadata"] = [dump(dict(zip(kept, row, strict=True))) for row in rows_kept]
    return _Table(out, places, len(names))


def _conversations(values: Sequence[dict[str, Any]], names: tuple[str, ...]) -> _Table | None:
    """Rows with a list of plain turns: instructions at most once and first, then question and answer in turn."""
    column = next((name for name in names if name == "messages"), None)
    if column is None or "tools" in names:
        return None
    others = [name for name in names if name != column]
    places: list[int] = []
    rows: list[list[dict[str, Any]]] = []
    for place in _alike(values, names):
        turns = values[place][column]
        if _plain_turns(turns) and (not others or all(type(values[place][name]) in _SCALARS for name in others)):
            places.append(place)
            rows.append(turns)
    counts = [len(turns) for turns in rows]
    out: dict[str, Any] = {
        "messages": pl.Series(list(map(orjson.dumps, rows)), dtype=pl.Binary).cast(pl.String),
        "prompt": [turns[-2]["content"] for turns in rows],
        "answer": [turns[-1]["content"] for turns in rows],
        "turns": counts,
        "setting": ["" if len(turns) == 2 else setting_of(turns) for turns in rows],
    }
    if others:
        kept = [{name: values[place][name] for name in others} for place in places]
        out["metadata"] = list(map(dump, kept))
        out["split"] = [split_name(row.get("split")) for row in kept]
        labels = [row.get("label") for row in kept]
        out["label"] = [label if isinstance(label, str) else None for label in labels]
    marks = pl.Series(counts, dtype=pl.UInt32) * 2 + len(names)
    return _Table(out, places, marks)


def _plain_turns(turns: Any) -> bool:
    if type(turns) is not list or len(turns) < 2:
        return False
    wanted = "assistant"
    for at in range(len(turns) - 1, -1, -1):
        turn = turns[at]
        if type(turn) is not dict or turn.keys() != _TURN or type(turn["content"]) is not str:
            return False
        role = turn["role"]
        if role != wanted:
            return at == 0 and wanted == "assistant" and role in ("system", "developer") and len(turns) > 2
        if role == "assistant" and at < len(turns) - 1 and not turn["content"].strip():
            return False
        wanted = "user" if wanted == "assistant" else "assistant"
    return wanted == "assistant"
