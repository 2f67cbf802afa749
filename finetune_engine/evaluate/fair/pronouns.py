"""She for he, and everything that must follow: him, his, Mr, husband, and the first names that the lists know.

English only. "Her" has two readings: it becomes "his" before a noun ("her contract") and "him" elsewhere ("I saw her
yesterday"); "his" becomes "hers" where no noun follows ("the car is his."). What follows is guessed from a list of
words that cannot begin a noun phrase, so a rare sentence ("I saw her leave") comes out wrong; both models are asked
the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from finetune_engine.evaluate.fair.names import FIRST_NAMES_BY_GENDER
from finetune_engine.evaluate.texts.capitals import in_small_letters, in_the_case_of
from finetune_engine.evaluate.texts.swaps import free_matches, whole_words

_PAIRS = (
    ("himself", "herself"), ("man", "woman"), ("men", "women"), ("boy", "girl"), ("boys", "girls"), ("father", "mother"),
    ("fathers", "mothers"), ("husband", "wife"), ("husbands", "wives"), ("son", "daughter"), ("sons", "daughters"),
    ("brother", "sister"), ("brothers", "sisters"), ("uncle", "aunt"), ("uncles", "aunts"), ("nephew", "niece"),
    ("grandfather", "grandmother"), ("grandson", "granddaughter"), ("boyfriend", "girlfriend"), ("gentleman", "lady"),
    ("gentlemen", "ladies"), ("male", "female"), ("males", "females"), ("dad", "mum"), ("widower", "widow"),
    ("stepfather", "stepmother"), ("businessman", "businesswoman"), ("landlord", "landlady"), ("sir", "madam"), ("mr", "ms"),
)  # fmt: skip
_PLAIN = (
    {"he": "she", "him": "her", "she": "he", "hers": "his", "mom": "dad", "mrs": "mr"}
    | dict(_PAIRS)
    | {female: male for male, female in _PAIRS}
)
_WORDS = whole_words([*_PLAIN, "his", "her"])
_OPENINGS = """
a about above across after again against all alone also although always an and any anything are around as at away
back be because been before behind below beside but by can could did do does down during each either else even every
everything for from going had has have he her here hers herself him himself his how i if immediately in inside
instead into is it its just later me more much my near never next no nobody not nothing now of off often on once one
or our out outside over please right she should since so some something soon still than that the their them then
there these they this those though through to today together tomorrow tonight too towards under until up upon us
very was we well were what when where which while who why will with within without would yes yesterday yet you your
"""
_NO_NOUN = frozenset(_OPENINGS.split())
"""Words that do not open a noun phrase after "her" or "his"."""
_NEXT = re.compile(r"[ \t]+([\w'’-]+)")


def gendered(text: str, labels: Sequence[str] = ()) -> int:
    """How many words of the text name a gender (first names apart)."""
    return len(free_matches(_WORDS, text, labels))


def other_gender(text: str, labels: Sequence[str] = ()) -> str:
    """The text with each gendered word exchanged for its counterpart, all at once (first names apart)."""
    pieces: list[str] = []
    end_before = 0
    for match in free_matches(_WORDS, text, labels):
        word = match.group()
        plain = in_small_letters(word)
        counterpart = _PLAIN.get(plain) or _possessive(plain, text[match.end() :])
        pieces += [text[end_before : match.start()], in_the_case_of(word, counterpart)]
        end_before = match.end()
    return "".join([*pieces, text[end_before:]])


def names_of_other_gender(texts: Sequence[str], rng: random.Random, labels: Sequence[str] = ()) -> dict[str, str]:
    """An exchange of the first names that the lists know for names of the same origin and the other gender."""
    out: dict[str, str] = {}
    for names in FIRST_NAMES_BY_GENDER.values():
        out |= names.between(names.found(texts, labels), rng) or {}
    return out


def names_of_same_gender(texts: Sequence[str], rng: random.Random, labels: Sequence[str] = ()) -> dict[str, str]:
    """The same, but gender stays: other names only."""
    out: dict[str, str] = {}
    for names in FIRST_NAMES_BY_GENDER.values():
        out |= names.within(names.found(texts, labels), rng) or {}
    return out


def _possessive(word: str, rest: str) -> str:
    following = _NEXT.match(rest)
    has_noun = following is not None and following[1].lower() not in _NO_NOUN
    if word == "his":
        return "her" if has_noun else "hers"
    return "his" if has_noun else "him"
