"""What each cleaning step does to a text, and how the Rust engine sees that it may do something."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ftfy
    import polars as pl

# NUL is not among them: a row with NUL characters was damaged, and is rejected by a check of its own.
_CONTROL = r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\ufeff]"
_BLANKS = r"\u00a0\u2000-\u200a\u202f\u205f"
_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});"
# What a step may change, for the Rust engine: in plain text, inside JSON, and outside ASCII (in both).
_IN_TEXT = {
    "html_entities": _ENTITY,
    "control_characters": r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
    "whitespace": r"\r|[ \t]\n|\n\n\n\n|[ \t\n]\z|\A[ \t\n]",
}
_IN_JSON = {
    "html_entities": _ENTITY,
    "control_characters": r"\\u00|\\b|\\f|\x7f",
    "whitespace": r"\\r| \\n|\\t\\n|\\n\\n\\n\\n| \x22|\\n\x22|\\t\x22|\x22 |\x22\\n|\x22\\t",
}
_FOREIGN = {
    "control_characters": r"[\x{80}-\x{9f}\x{ad}\x{feff}]",
    "whitespace": r"[\x{a0}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}]",
    # Marks that may join the letter before, and letters with another spelling (a superset of what Unicode lists).
    "nfc": r"[\p{M}\x{37e}\x{374}\x{387}\x{958}-\x{95f}\x{9dc}-\x{9df}\x{a33}-\x{a5e}\x{b5c}\x{b5d}\x{f43}-\x{fb9}"
    r"\x{1161}-\x{11ff}\x{1f71}-\x{1ffd}\x{2000}\x{2001}\x{2126}\x{212a}\x{212b}\x{2329}\x{232a}\x{2adc}\x{f900}-\x{fad9}"
    r"\x{fb1d}-\x{fb4e}\x{1d15e}-\x{1d1c0}\x{2f800}-\x{2fa1d}\x{d7b0}-\x{d7fb}\x{113b0}-\x{113ff}]",
}
_TURNS = 4
_control = re.compile(_CONTROL)
_entity = re.compile(_ENTITY)
_odd_blank = re.compile(f"[{_BLANKS}]")
_line_end = re.compile(r"\r\n?|\u2028|\u2029")
_trailing = re.compile(r"(?<![ \t])[ \t]+(?=\n)")
_many_lines = re.compile(r"\n{4,}")
_leading = re.compile(r"\A\n+")


@cache
def _ftfy_config() -> ftfy.TextFixerConfig:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
        uncurl_quotes=False, fix_line_breaks=False, remove_control_chars=False, normalization=None, explain=False,
    )  # fmt: skip


def _repaired(text: str) -> str:
    if text.isascii():
        return text
    import ftfy
    from ftfy.badness import is_bad

    # Asked first, because ftfy would also change stray marks and lone letters of clean text. Text that was misread
    # more than once needs more than one turn.
    for _ in range(_TURNS):
        if not is_bad(text):
            break
        text, before = ftfy.fix_text(text, _ftfy_config()), text
        if text == before:
            break
    return text


def _resolved(text: str) -> str:
    return _entity.sub(lambda match: html.unescape(match.group()), text) if "&" in text else text


def _without_control(text: str) -> str:
    # A page or column break separates words; the other marks are nothing at all.
    return _control.sub(lambda match: "\n" if match.group() in "\x0b\x0c" else "", text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _tidied(text: str) -> str:
    if not text.isascii():
        text = _odd_blank.sub(" ", text)
    text = _line_end.sub("\n", text)
    text = _trailing.sub("", text)
    text = _many_lines.sub("\n\n\n", _leading.sub("", text.rstrip(" \t\n")))
    # The blanks before a single line mean nothing; before several they may be indentation.
    return text if "\n" in text else text.lstrip(" \t")


PLAIN_STEPS: dict[str, Callable[[str], str]] = {
    "repair_unicode": _repaired,
    "html_entities": _resolved,
    "control_characters": _without_control,
    "nfc": _composed,
    "whitespace": _tidied,
}


@cache
def _garbled_pattern() -> str:
    """ftfy's own test for garbled text, written for the Rust engine (which has no blanks-ignored classes)."""
    from ftfy.badness import BADNESS_RE

    out: list[str] = []
    in_class = in_comment = False
    for character in BADNESS_RE.pattern:
        if in_comment:
            in_comment = character != "\n"
        elif in_class:
            in_class = character != "]"
            out.append(f"\\x{{{ord(character):x}}}" if character in "[&~ " else character)
        elif character == "#":
            in_comment = True
        elif not character.isspace():
            in_class = character == "["
            out.append(character)
    # In JSON a line break before a letter is written as an escape.
    return "".join(out).replace(r"\s", r"(?:\s|\\[nrt])")


def may_change(column: pl.Series, steps: Collection[str], *, in_json: bool = False) -> pl.Series:
    """Which texts the named steps may change (those of ``PLAIN_STEPS``). False is certain, and for missing texts."""
    import polars as pl

    needed = pl.repeat(False, len(column), eager=True)
    patterns = [pattern for name, pattern in (_IN_JSON if in_json else _IN_TEXT).items() if name in steps]
    # Those for JSON are a few literals each, found ten times as fast one by one as in one pattern.
    for pattern in patterns if in_json else ["|".join(patterns)] * bool(patterns):
        needed |= column.str.contains(pattern).fill_null(False)
    foreign = [pattern for name, pattern in _FOREIGN.items() if name in steps]
    foreign += [_garbled_pattern()] if "repair_unicode" in steps else []
    return needed | _outside_ascii(column, "|".join(foreign)) if foreign else needed


def may_be_garbled(column: pl.Series) -> pl.Series:
    """Which texts look as if they had been read in the wrong encoding. A missing text does not."""
    return _outside_ascii(column, _garbled_pattern())


def _outside_ascii(column: pl.Series, pattern: str) -> pl.Series:
    """Which texts match a pattern that needs a character outside ASCII."""
    import polars as pl

    found = pl.repeat(False, len(column), eager=True)
    index = (column.str.len_bytes() != column.str.len_chars()).fill_null(False).arg_true()
    return found if index.is_empty() else found.scatter(index, column.gather(index).str.contains(pattern))


@cache
def boilerplate_pattern(lines: tuple[str, ...]) -> str:
    parts = [r".*".join(re.escape(piece) for piece in line.split("*")) for line in lines]
    return rf"(?im)^[ \t]*(?:{'|'.join(parts)})[ \t]*\r?$"


def without_boilerplate(text: str, lines: tuple[str, ...]) -> str:
    # By the Rust engine too: its time grows with the text alone, whatever the stars.
    import polars as pl

    if not (found := pl.Series([text]).str.contains(boilerplate_pattern(lines)).item()):
        return text
    kept = text.split("\n")
    found = pl.Series(kept).str.contains(boilerplate_pattern(lines)).to_list()
    left = "\n".join(line for line, goes in zip(kept, found, strict=True) if not goes).strip("\n")
    return _many_lines.sub("\n\n\n", left)
