"""Letters for the PDF: DejaVu Sans comes with the product (Latin, Cyrillic, Greek); others are looked for on the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

HERE = Path(__file__).resolve().parent.parent / "fonts"
REGULAR, BOLD = HERE / "DejaVuSans.ttf", HERE / "DejaVuSans-Bold.ttf"
BOX = "\N{WHITE SQUARE}"
"""Stands for a letter that no font here has."""
FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/texmf/fonts/truetype",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
    "~/.fonts",
    "~/.local/share/fonts",
)
MOST_LOOKED_AT = 600
MOST_TAKEN = 4
WIDE_ONES = (
    "cjk",
    "droid",
    "noto",
    "unifont",
    "wqy",
    "arphic",
    "thai",
    "tlwg",
    "loma",
    "arab",
    "gothic",
    "ming",
    "arial",
)
"""Fonts of these names are looked at first: they have many scripts."""


def letters_of(path: Path) -> frozenset[int]:
    """The code points that a font file draws (the first of a collection); empty for one that cannot be used (broken, or
    without outlines of TrueType)."""
    try:
        with TTFont(path, lazy=True, fontNumber=0) as font:
            if "glyf" not in font:
                return frozenset()
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, AssertionError, ValueError):
        return frozenset()


@cache
def own_letters() -> frozenset[int]:
    """What the product's own fonts draw, regular and bold alike."""
    return letters_of(REGULAR) & letters_of(BOLD)


def missing_from(texts: Iterable[str], letters: frozenset[int]) -> set[int]:
    """The code points of ``texts`` that ``letters`` lack; blanks and invisible marks are never missing."""
    found = {ord(letter) for text in texts for letter in text}
    return {point for point in found if point not in letters and not _is_invisible(point)}


def fallbacks_for(missing: set[int], folders: Iterable[str] = FOLDERS) -> list[Path]:
    """The fewest fonts of this machine (at most MOST_TAKEN) that draw most of ``missing``; greedy."""
    wanted = set(missing)
    taken: list[Path] = []
    if not wanted:
        return []
    offers = {path: wanted & letters for path, letters in _machine_letters(tuple(folders)).items()}
    while wanted and len(taken) < MOST_TAKEN and offers:
        best = max(offers, key=lambda path: (len(offers[path] & wanted), -len(path.name), path.name))
        if not offers[best] & wanted:
            break
        taken.append(best)
        wanted -= offers.pop(best)
    return taken


@cache
def _machine_letters(folders: tuple[str, ...]) -> dict[Path, frozenset[int]]:
    paths = sorted(_files(folders), key=_how_soon)[:MOST_LOOKED_AT]
    found = {path: letters_of(path) for path in paths}
    return {path: letters for path, letters in found.items() if letters}


def _files(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        for where, _folders, names in os.walk(Path(folder).expanduser()):
            yield from (Path(where) / name for name in names if name.lower().endswith((".ttf", ".ttc")))


def _how_soon(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    is_wide = any(part in name for part in WIDE_ONES)
    is_plain = "regular" in name or "-" not in name
    return (0 if is_wide else 1, 0 if is_plain else 1, str(path))


def _is_invisible(point: int) -> bool:
    return (
        point < 0x20
        or 0x7F <= point <= 0xA0
        or 0x200B <= point <= 0x200F
        or 0x2028 <= point <= 0x202E
        or point
        in (
            0xAD,
            0xFEFF,
            0xFE0E,
            0xFE0F,
        )
    )
