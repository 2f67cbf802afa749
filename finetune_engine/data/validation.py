"""Checks on the text of rows: a batch at a time, or one row after somebody edited it.

Both ways end in ``row_checks``. A batch first asks the Rust engine which rows could have anything; only those are
looked at in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from finetune_engine.data import row_checks
from finetune_engine.data.message_texts import prompt_place
from finetune_engine.data.pii import may_hold_pii, names_are_found
from finetune_engine.data.records import Finding, Message
from finetune_engine.data.stored_once import BETWEEN, END, QUESTION

if TYPE_CHECKING:
    import polars as pl

    from finetune_engine.data.batches import Batch
    from finetune_engine.data.options import PrepareOptions

_CHARS_PER_TOKEN = 4
# Letters that are looked for further ahead in the same answer.
_PROBE = 14


def check_messages(
    messages: Sequence[Message],
    *,
    task_type: str,
    rejected: Sequence[Message] | None = None,
    row: int | None = None,
    line: int | None = None,
    min_prompt_words: int = 0,
    min_completion_words: int = 0,
    pii: bool = True,
    is_plain_text: bool = False,
) -> list[Finding]:
    """Everything that can be said of one row by itself, as after an edit. ``is_plain_text`` rows have no input by nature.

    ``rejected`` holds the worse answer's messages of a preference pair. With ``row`` the sentences begin with the row's
    place; without, they are predicates ("has no answer."). The least numbers of words count for ``completion`` tasks
    only; 0 turns them off.
    """
    from finetune_engine.data.formats.turns import check_turns

    findings: list[Finding] = []
    turns = check_turns(list(messages), "messages", findings)
    if turns:
        is_plain_text = is_plain_text or (len(turns) == 1 and turns[0]["role"] == "assistant")
        if is_plain_text:  # that nobody asked is its nature
            findings = [finding for finding in findings if finding.code != "roles_not_alternating"]
        findings += row_checks.empty_parts(turns, is_plain_text=is_plain_text)
        findings += _of_texts(turns, rejected or (), pii=pii)
        if task_type == "completion":
            for column, place, least in (
                ("prompt", prompt_place(turns), min_prompt_words),
                ("answer", len(turns) - 1, min_completion_words),
            ):
                findings += row_checks.short_text(column, len(_content(turns, place).split()), least)
    return [finding.placed(row, line) for finding in findings] if row is not None else findings


def _of_texts(messages: Sequence[Message], rejected: Sequence[Message], *, pii: bool) -> Iterator[Finding]:
    yield from row_checks.odd_texts(messages)
    yield from row_checks.odd_texts(rejected, "rejected")
    for column, text in row_checks.places(messages):
        yield from row_checks.garbled(column, text)
    yield from row_checks.repetition(_content(messages, len(messages) - 1))
    yield from row_checks.same_answers(messages, rejected)
    if pii:
        yield from row_checks.personal_data(messages, rejected)


def _content(messages: Sequence[Message], place: int | None) -> str:
    return "" if place is None else str(messages[place].get("content") or "")


def check_batch(batch: Batch, options: PrepareOptions, *, is_plain_text: bool) -> list[Finding]:
    """Everything noticed about the texts of a batch. ``is_plain_text`` rows have no input by nature.

    Reads the columns row, line, messages, prompt, answer, their ``_norm`` and ``_words``, usable; also ``rejected`` (JSON
    list of messages) and ``tokens`` where there are such columns.
    """
    import polars as pl

    frame = batch.frame.filter(pl.col("usable"))
    findings: list[Finding] = []
    findings.extend(_empty(frame, is_plain_text))
    findings.extend(_texts(frame, pii=options.pii))
    findings.extend(repetitive(frame))
    if _has_pairs(frame):
        findings.extend(_equal_answers(frame))
    if options.context_tokens:
        findings.extend(_too_long(frame, options.context_tokens))
    return findings


def _rows(frame: pl.DataFrame, wanted: pl.Expr | pl.Series, *columns: str) -> Iterator[tuple[Any, ...]]:
    yield from frame.filter(wanted).select("row", "line", *columns).iter_rows()


def _empty(frame: pl.DataFrame, is_plain_text: bool) -> Iterator[Finding]:
    import polars as pl

    for column in ("answer",) if is_plain_text else ("prompt", "answer"):
        for row, line in _rows(frame, pl.col(f"{column}_norm") == ""):
            yield row_checks.empty(column).placed(row, line)


def _texts(frame: pl.DataFrame, *, pii: bool) -> Iterator[Finding]:
    """What may be anywhere in a row: the search runs over the messages as they are stored."""
    import polars as pl

    from finetune_engine.data.cleaning_steps import may_be_garbled
    from finetune_engine.data.stored_once import filled

    # Rows that were read from their bytes were seen to hold nothing, most of them.
    if "suspect" in frame.columns and not (pii and names_are_found()):
        frame = frame.filter(pl.col("suspect").fill_null(True))
    frame = filled(frame)
    columns = ["messages", "rejected"] if _has_pairs(frame) else ["messages"]
    odd = _any(frame, columns, row_checks.MAY_BE_ODD)
    broken = may_be_garbled(frame["messages"])
    personal = _personal(frame, columns) if pii else pl.repeat(False, frame.height, eager=True)
    wanted = odd | broken | personal
    if not wanted.any():
        return
    names = ("row", "line", "odd", "broken", "personal", *columns)
    hits = frame.with_columns(odd.alias("odd"), broken.alias("broken"), personal.alias("personal")).filter(wanted)
    for row, line, is_odd, is_broken, may_be_personal, *texts in hits.select(names).iter_rows():
        messages, rejected = orjson.loads(texts[0]), orjson.loads(texts[1]) if texts[1:] and texts[1] else []
        found: list[Finding] = []
        if is_odd:
            found += row_checks.odd_texts(messages)
            found += row_checks.odd_texts(rejected, "rejected")
        if is_broken:
            for column, text in row_checks.places(messages):
                found += row_checks.garbled(column, text)
        if may_be_personal:
            found += row_checks.personal_data(messages, rejected)
        for finding in found:
            yield finding.placed(row, line)


def _has_pairs(frame: pl.DataFrame) -> bool:
    return "rejected" in frame.columns and frame["rejected"].null_count() < frame.height


def _personal(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    found = may_hold_pii(frame[columns[0]])
    for name in columns[1:]:
        found |= may_hold_pii(frame[name])
    return found


def _any(frame: pl.DataFrame, columns: Sequence[str], pattern: str) -> pl.Series:
    import polars as pl

    return frame.select(
        pl.any_horizontal(pl.col(name).str.contains(pattern).fill_null(False) for name in columns).alias("hit")
    )["hit"]


def repetitive(frame: pl.DataFrame) -> Iterator[Finding]:
    """Answers that say the same over and over. Reads row, line, answer and ``answer_words``."""
    import polars as pl

    # What is said over and over has been said before: some letters out of the text, and where they first occur.
    long = frame.filter(pl.col("answer_words") >= row_checks.LEAST_WORDS)
    if long.is_empty():
        return
    answer, size = pl.col("answer").str, pl.col("answer").str.len_chars()
    # Asked as "does the text up to there contain it", which is several times as fast as where it is found.
    said_before = pl.any_horizontal(
        answer.head(pl.min_horizontal(place + _PROBE, size) - 1).str.contains(answer.slice(place, _PROBE), literal=True)
        for place in (size * 2 // 3, size * 4 // 5)
    )
    for row, line, text in _rows(long, said_before, "answer"):
        for finding in row_checks.repetition(text):
            yield finding.placed(row, line)


def _equal_answers(frame: pl.DataFrame) -> Iterator[Finding]:
    import polars as pl

    # The better answer is the end of the messages, so equal answers mean that the two end alike, blanks aside.
    pairs = frame.filter(pl.col("rejected").is_not_null() & (pl.col("rejected") != "[]"))
    better, worse = (pl.col(name).str.replace_all(r"\\[nrt]|\s", "") for name in ("messages", "rejected"))
    alike = better.str.ends_with(worse.str.slice(1))
    for row, line, messages, rejected in _rows(pairs, alike, "messages", "rejected"):
        for finding in row_checks.same_answers(orjson.loads(messages), orjson.loads(rejected)):
            yield finding.placed(row, line)


def _too_long(frame: pl.DataFrame, limit: int) -> Iterator[Finding]:
    import polars as pl

    estimated = "tokens" not in frame.columns or frame["tokens"].null_count() == frame.height
    # A message that was left out is plain ASCII, in which a character is a byte.
    plain = pl.col("prompt").str.len_bytes() + pl.col("answer").str.len_bytes() + len(QUESTION + BETWEEN + END)
    about = pl.coalesce(pl.col("messages").str.len_chars(), plain) // _CHARS_PER_TOKEN
    sizes = about if estimated else pl.col("tokens")
    for row, line, size in frame.select("row", "line", sizes.alias("size")).filter(pl.col("size") > limit).iter_rows():
        yield row_checks.too_long(size, limit, estimated=estimated).placed(row, line)


def short_texts(frame: pl.DataFrame, options: PrepareOptions) -> Iterator[Finding]:
    """Inputs and answers below the least number of words. Only for tasks whose answers are not labels."""
    import polars as pl

    for column, least in (("prompt", options.min_prompt_words), ("answer", options.min_completion_words)):
        words = pl.col(f"{column}_words")
        for row, line, count in _rows(frame, pl.col("usable") & (words > 0) & (words < least), f"{column}_words"):
            for finding in row_checks.short_text(column, count, least):
                yield finding.placed(row, line)
