"""Slips of the finger: a neighbouring key, two letters swapped, a letter left out.

Written in the manner of Belinkov and Bisk (2018, "Synthetic and natural noise both break neural machine
translation"). Swapped and missing letters work in any alphabet; neighbouring keys only where the QWERTY map knows the
letter. Ideographs are left alone: nobody types Chinese letter by letter, and a missing character is another word.
"""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from typing import Literal

from finetune_engine.evaluate.perturb.perturbation import Perturbation
from finetune_engine.evaluate.texts.capitals import in_the_case_of

NEIGHBOURS = {
    "q": "wa", "w": "qeas", "e": "wrsd", "r": "etdf", "t": "ryfg", "y": "tugh", "u": "yihj", "i": "uojk", "o": "ipkl",
    "p": "ol", "a": "qwsz", "s": "awedxz", "d": "serfcx", "f": "drtgvc", "g": "ftyhbv", "h": "gyujnb", "j": "huikmn",
    "k": "jiolm", "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk",
}  # fmt: skip


@dataclass(frozen=True)
class Slip:
    """One slip at ``position`` (a letter's place in the text). A swap touches the next letter too."""

    position: int
    how: Literal["neighbour", "swap", "drop"]
    put: str = ""

    @property
    def letters(self) -> int:
        """How many letters of the original it touches."""
        return 2 if self.how == "swap" else 1


def slips(text: str, share: float, rng: random.Random) -> list[Slip]:
    """Slips that touch ``share`` (0..1) of the letters, rounded, at least one; no letter twice.

    Fewer only where the text has not enough letters that can slip (letters that carry a combining mark stay).
    """
    letters = sum(_is_letter(mark) for mark in text)
    wanted = max(1, round(share * letters)) if letters else 0
    free = {position for position in range(len(text)) if _can_slip(text, position)}
    order = sorted(free)
    rng.shuffle(order)
    found: list[Slip] = []
    for position in order:
        if wanted == 0:
            break
        if position not in free or not (options := _options(text, position, free, wanted, rng)):
            continue
        slip = rng.choice(options)
        found.append(slip)
        free -= {position, position + 1} if slip.how == "swap" else {position}
        wanted -= slip.letters
    return sorted(found, key=lambda slip: slip.position)


def with_slips(text: str, found: list[Slip]) -> str:
    """The text with the slips in it."""
    pieces: list[str] = []
    end_before = 0
    for slip in found:
        pieces += [text[end_before : slip.position], slip.put]
        end_before = slip.position + slip.letters
    return "".join([*pieces, text[end_before:]])


def _options(text: str, position: int, free: set[int], wanted: int, rng: random.Random) -> list[Slip]:
    mark = text[position]
    options = []
    if keys := NEIGHBOURS.get(mark.lower()):
        options.append(Slip(position, "neighbour", in_the_case_of(mark, rng.choice(keys))))
    if wanted >= 2 and position + 1 in free and text[position + 1] != mark:
        options.append(Slip(position, "swap", text[position + 1] + mark))
    if text[max(0, position - 1) : position].isalpha() or text[position + 1 : position + 2].isalpha():
        options.append(Slip(position, "drop"))
    return options


def _can_slip(text: str, position: int) -> bool:
    following = text[position + 1 : position + 2]
    return _is_letter(text[position]) and not (following and unicodedata.category(following).startswith("M"))


def _is_letter(mark: str) -> bool:
    code = ord(mark)
    return mark.isalpha() and not (
        0x2E80 <= code <= 0x2FFF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    )


def _typos(share: float, level: str) -> Perturbation:
    def change(text: str, rng: random.Random) -> str:
        return with_slips(text, slips(text, share, rng))

    when = f"When {level} of the letters are mistyped"
    return Perturbation("typos", f"{level} of letters", "typo_resistance", when, change)


PERTURBATIONS = (_typos(0.01, "1 %"), _typos(0.05, "5 %"), _typos(0.10, "10 %"))
