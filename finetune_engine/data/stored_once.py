"""A text is stored once: what a chunk can be given back from its other columns is left out of it.

Two columns often repeat the input and the answer letter by letter. ``messages`` is left out (null) where it is one plain
question and one plain answer. ``original``, the line as it was uploaded, is left out where it is the row's
``original_form`` with the input and the answer put in place of two marks. Both are left out only after the very text
was compared with what ``filled`` would give back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

QUESTION, BETWEEN, END = '[{"role":"user","content":"', '"},{"role":"assistant","content":"', '"}]'
# Neither can stand in a form by itself: a line of text holds no such characters.
_PROMPT, _ANSWER = "\x01", "\x02"


def form_around(before: str, between: str, after: str, *, prompt_first: bool) -> str:
    """The ``original_form`` of lines that hold the two texts between these pieces."""
    first, second = (_PROMPT, _ANSWER) if prompt_first else (_ANSWER, _PROMPT)
    return f"{before}{first}{between}{second}{after}"


def compact(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows without what can be given back, and with the column ``original_form``.

    Rows that have an ``original_form`` already were read without those texts.
    """
    import polars as pl

    if "original_form" not in frame.columns:
        return _compact(frame, _form_of(frame))
    index = frame["original_form"].is_null().arg_true()
    if index.is_empty():
        return frame
    forms = frame["original_form"].drop_nulls()
    rest = frame.select("messages", "prompt", "answer", "original").select(pl.all().gather(index))
    rest = _compact(rest, forms[0] if len(forms) else _form_of(rest))
    names = ("messages", "original", "original_form")
    return frame.with_columns(replaced(frame[name], index.to_numpy(), rest[name]) for name in names)


def _compact(frame: pl.DataFrame, form: str | None) -> pl.DataFrame:
    import polars as pl

    plain = pl.concat_str(pl.lit(QUESTION), "prompt", pl.lit(BETWEEN), "answer", pl.lit(END))
    frame = _left_out(frame, "messages", plain)[0]
    if form is None:
        return frame.with_columns(pl.lit(None, pl.String).alias("original_form"))
    frame, given = _left_out(frame, "original", pl.concat_str(_pieces(form)))
    return frame.with_columns(pl.select(pl.when(given).then(pl.lit(form)).alias("original_form")).to_series())


def replaced(column: pl.Series, index: npt.NDArray[np.int64], new: pl.Series) -> pl.Series:
    """The column with other values in some places. (``scatter`` would copy every text of it.)"""
    import numpy as np
    import polars as pl

    pointer = np.arange(len(column))
    pointer[index] = len(column) + np.arange(len(index))
    return pl.concat([column, new.rename(column.name)]).gather(pl.Series(pointer))


def _left_out(frame: pl.DataFrame, name: str, same: pl.Expr) -> tuple[pl.DataFrame, pl.Series]:
    """The frame with the texts of a column left out that are the ``same``, and which those are."""
    import polars as pl

    given = frame.select((pl.col(name) == same).fill_null(False).alias("given")).to_series()
    stays = (~given).arg_true()
    column = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    if not stays.is_empty():  # into a new column: a mask would carry the bytes that nobody sees along
        column = column.scatter(stays, frame[name].gather(stays))
    return frame.with_columns(column.alias(name)), given


def _form_of(frame: pl.DataFrame) -> str | None:
    """How the first row writes its input and its answer into its line."""
    for prompt, answer, original in frame.head(1).select("prompt", "answer", "original").iter_rows():
        if prompt and answer and original.count(prompt) == 1 and original.count(answer) == 1:
            form: str = original.replace(prompt, _PROMPT).replace(answer, _ANSWER)
            if form.count(_PROMPT) == form.count(_ANSWER) == 1:
                return form
    return None


def _pieces(form: str) -> list[pl.Expr]:
    """The parts of a form: fixed texts, and the two columns."""
    import polars as pl

    first, second = sorted((_PROMPT, _ANSWER), key=form.index)
    names = {_PROMPT: "prompt", _ANSWER: "answer"}
    before, rest = form.split(first)
    between, after = rest.split(second)
    return [pl.lit(before), pl.col(names[first]), pl.lit(between), pl.col(names[second]), pl.lit(after)]


def messages_of(frame: pl.DataFrame) -> pl.Series:
    """The column ``messages`` with everything that was left out of it."""
    return filled(frame.select("messages", "prompt", "answer"))["messages"]


def filled(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with everything that ``compact`` left out. Columns that are not there are left alone."""
    import polars as pl

    if "messages" in frame.columns and frame["messages"].null_count():
        plain = pl.concat_str(pl.lit(QUESTION), "prompt", pl.lit(BETWEEN), "answer", pl.lit(END))
        frame = frame.with_columns(pl.coalesce("messages", plain).alias("messages"))
    if "original_form" in frame.columns:
        for form in frame["original_form"].drop_nulls().unique().to_list():
            given = pl.when(pl.col("original_form") == form).then(pl.concat_str(_pieces(form)))
            frame = frame.with_columns(pl.coalesce("original", given).alias("original"))
        frame = frame.drop("original_form")
    return frame


def fill_row(row: dict[str, Any]) -> dict[str, Any]:
    """``filled`` for one row as a dictionary (a new one)."""
    out = dict(row)
    prompt, answer = row.get("prompt") or "", row.get("answer") or ""
    if row.get("messages") is None:
        out["messages"] = f"{QUESTION}{prompt}{BETWEEN}{answer}{END}"
    if row.get("original") is None:
        form = row.get("original_form") or ""
        out["original"] = "".join({_PROMPT: prompt, _ANSWER: answer}.get(letter, letter) for letter in form)
    return out
