"""What changed between two texts, word by word, for people to look at."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

MOST_TOKENS = 800  # compared word by word; longer texts are shown as wholly replaced between what they share
_TOKENS = re.compile(r"\s|[^\W_]+|.", re.DOTALL)
_SHOWN = {" ": "\N{OPEN BOX}", "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n", "\t": "\N{RIGHTWARDS ARROW}"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text: in both (``same``), only before (``del``) or only after (``ins``)."""

    kind: Literal["same", "del", "ins"]
    text: str


def word_diff(before: str, after: str, *, show_blanks: bool = False) -> list[Piece]:
    """The pieces in order. ``show_blanks`` makes changed blanks and invisible characters visible."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    pieces: list[Piece] = []
    _add(pieces, "same", old[:head])
    old_middle, new_middle = old[head : len(old) - tail], new[head : len(new) - tail]
    for tag, i1, i2, j1, j2 in _steps(old_middle, new_middle):
        if tag == "equal":
            _add(pieces, "same", old_middle[i1:i2])
        else:
            _add(pieces, "del", old_middle[i1:i2], show_blanks)
            _add(pieces, "ins", new_middle[j1:j2], show_blanks)
    _add(pieces, "same", old[len(old) - tail :])
    return pieces


def clipped(pieces: list[Piece], around: int = 120) -> list[Piece]:
    """The same with long unchanged stretches cut to ``around`` characters beside a change, an ellipsis in place of
    what was left out."""
    last = len(pieces) - 1
    out: list[Piece] = []
    for number, piece in enumerate(pieces):
        if piece.kind != "same" or len(piece.text) <= 2 * around:
            out.append(piece)
            continue
        begin = piece.text[:around] if number > 0 else ""
        end = piece.text[-around:] if number < last else ""
        if not begin and not end:
            begin = piece.text[: 2 * around]
        out.append(Piece("same", f"{begin} \N{HORIZONTAL ELLIPSIS} {end}"))
    return out


def visible(text: str) -> str:
    """The text with blanks, line ends and invisible characters as marks that can be seen."""
    return "".join(_SHOWN.get(c) or (f"[{_name(c)}]" if _is_invisible(c) else c) for c in text)


def _is_invisible(c: str) -> bool:
    return c not in " \n\t" and (unicodedata.category(c) in {"Cc", "Cf", "Zs", "Zl", "Zp", "Co"})


def _name(c: str) -> str:
    return unicodedata.name(c, f"U+{ord(c):04X}").lower()


def _shared(first: list[str], second: list[str]) -> int:
    n = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        n += 1
    return n


def _steps(old: list[str], new: list[str]) -> list[tuple[str, int, int, int, int]]:
    if len(old) > MOST_TOKENS or len(new) > MOST_TOKENS:
        return [("replace", 0, len(old), 0, len(new))]
    return list(SequenceMatcher(None, old, new, autojunk=len(old) > 300 or len(new) > 300).get_opcodes())


def _add(
    pieces: list[Piece], kind: Literal["same", "del", "ins"], tokens: list[str], show_blanks: bool = False
) -> None:
    if tokens:
        text = "".join(tokens)
        pieces.append(Piece(kind, visible(text) if show_blanks else text))
