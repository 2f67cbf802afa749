"""Answers that depart from the form of the rest: JSON among prose, a sentence among lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from finetune_engine.data.records import Finding

if TYPE_CHECKING:
    import polars as pl

# A form is the usual one when nine in ten answers have it, and there are enough of them to say so.
_USUAL_SHARE = 0.9
_LEAST_ROWS = 30
_SHORT_WORDS = 3
_LONG_WORDS = 25

_TITLES = {
    "json": "JSON",
    "markup": "HTML or XML",
    "code": "a block of code",
    "list": "a list",
    "number": "a number",
    "short": "a label or a few words",
    "prose": "running text",
}


def forms_of(frame: pl.DataFrame) -> pl.Series:
    """The form of each ``answer`` (with ``answer_words``): a key of ``_TITLES``; null for an empty one."""
    import polars as pl

    # Trimmed on the left only where needed: most answers begin with a letter, and their first byte says so.
    first = pl.col("answer").str.slice(0, 1)
    special = frame.select(pl.col("answer").str.contains(r"\A\s*[\[{<`\-*+•\d€$£(]")).to_series().fill_null(False)
    base = (
        pl.when(pl.col("answer_words") == 0)
        .then(None)
        .when(pl.col("answer_words") <= _SHORT_WORDS)
        .then(pl.lit("short"))
        .otherwise(pl.lit("prose"))
    )
    forms = frame.select(pl.when(first.is_not_null()).then(base).alias("form")).to_series()
    index = special.arg_true()
    if index.is_empty():
        return forms
    text = pl.col("answer")
    exact = (
        pl.when("is_json")
        .then(pl.lit("json"))
        .when(text.str.contains(r"\A\s*<[A-Za-z!?][^<>]*>[\s\S]*>\s*\z"))
        .then(pl.lit("markup"))
        .when(text.str.contains(r"\A\s*```"))
        .then(pl.lit("code"))
        .when(text.str.contains(r"\A\s*[€$£(\-+]?\s?\d[\d.,\s]*[%€$£)]?\s*\z"))
        .then(pl.lit("number"))
        .when(text.str.contains(r"\A\s*(?:[-*+•]|\d{1,3}[.)])[ \t]\S[^\n]*\n\s*(?:[-*+•]|\d{1,3}[.)])[ \t]"))
        .then(pl.lit("list"))
        .otherwise(base)
    )
    part = frame[index].with_columns(_is_json(frame["answer"].gather(index)))
    return forms.scatter(index, part.select(exact.alias("form")).to_series())


def _is_json(answers: pl.Series) -> pl.Series:
    """Which answers are a JSON object or list. Only those that begin and end like one are read."""
    import polars as pl

    out = pl.repeat(False, len(answers), eager=True)
    index = answers.str.contains(r"\A\s*(?:\{[\s\S]*\}|\[[\s\S]*\])\s*\z").arg_true()
    if index.is_empty():
        return out.rename("is_json")
    read = [_reads_as_json(text) for text in answers.gather(index).to_list()]
    return out.scatter(index, pl.Series(read, dtype=pl.Boolean)).rename("is_json")


def _reads_as_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@dataclass
class Forms:
    """How often each form of answer occurs, gathered batch by batch."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, frame: pl.DataFrame) -> None:
        """Take in rows with ``answer`` and ``answer_words``."""
        self.counts.update(dict(forms_of(frame).drop_nulls().value_counts().iter_rows()))

    @property
    def usual(self) -> str | None:
        """The form of at least nine in ten answers; None when there is none, or too few answers to say."""
        total = self.counts.total()
        if total < _LEAST_ROWS:
            return None
        form, count = self.counts.most_common(1)[0]
        return form if count >= _USUAL_SHARE * total else None


def departures(frame: pl.DataFrame, usual: str | None) -> Iterator[Finding]:
    """A finding for every answer of another form than ``usual``.

    Between prose and a few words only a wide gap counts (a short answer among prose is ``completion_too_short``'s
    business): long text where labels are the rule.
    """

    if usual is None:
        return
    forms = forms_of(frame)
    odd = forms.is_not_null() & (forms != usual)
    if usual == "prose":
        odd &= ~forms.is_in(["short", "number", "list", "code"])
    elif usual == "short":
        odd &= (forms != "number") & ((forms != "prose") | (frame["answer_words"] >= _LONG_WORDS))
    elif usual == "number":
        odd &= (forms != "short") | (frame["answer_words"] > 1)
    part = frame.select("row", "line").with_columns(forms.alias("form")).filter(odd.fill_null(False))
    for row, line, form in part.iter_rows():
        yield Finding(
            "inconsistent_format",
            f"has an answer that is {_TITLES[form]}, while almost all others are {_TITLES[usual]}.",
            column="answer",
            found=_TITLES[form],
            expected=_TITLES[usual],
            fix="Write it like the others, or keep it if the input asks for it.",
        ).placed(row, line)
