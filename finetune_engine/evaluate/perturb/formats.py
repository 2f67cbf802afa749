"""The same content in another form: as a list, in quotation marks, with numbers and dates written another way."""

from __future__ import annotations

import datetime
import random
import re

from finetune_engine.evaluate.perturb.perturbation import Perturbation
from finetune_engine.evaluate.texts.capitals import in_small_letters

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s")
_MONTH = "|".join(MONTHS)
_ISO = re.compile(r"(?<![\w-])(\d{4})-(\d{2})-(\d{2})(?![\w-])")
_DAY_FIRST = re.compile(rf"(?<!\w)(\d{{1,2}})(?:st|nd|rd|th)? ({_MONTH}),? (\d{{4}})(?!\w)", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"(?<!\w)({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})(?!\w)", re.IGNORECASE)
_DATE = re.compile("|".join(pattern.pattern for pattern in (_ISO, _DAY_FIRST, _MONTH_FIRST)), re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.,/:-])\d{1,3}(?:,\d{3})+(?![\w,/:-])")
_UNGROUPED = re.compile(r"(?<![\w.,/:-])\d{4,12}(?![\w,/:-])")
_SMALL = re.compile(r"(?<![\w.,/:$€£#%'-])(?:[2-9]|1[0-2])(?![\w/:%°-]|[.,]\d|\)| ?%)")
_SMALL_WORD = re.compile(r"(?<![\w-])(?:" + "|".join(NUMBER_WORDS[2:]) + r")(?![\w-])", re.IGNORECASE)
_NUMBER = re.compile(
    "|".join(pattern.pattern for pattern in (_GROUPED, _UNGROUPED, _SMALL, _SMALL_WORD)), re.IGNORECASE
)


def bullets(text: str, rng: random.Random) -> str:
    """Each sentence a line of a list. A text that is a list already stays."""
    lines = [line.strip() for line in _SENTENCE_END.split(text) if line.strip()]
    if not lines or any(_BULLET.match(line) for line in text.splitlines()):
        return text
    return "\n".join(f"- {line}" for line in lines)


def quotes(text: str, rng: random.Random) -> str:
    """The whole text in quotation marks. A text that opens with one, or is empty, stays."""
    if not text.strip() or text.strip()[0] in "\"'“‘«„":
        return text
    return f"“{text}”"


def numbers(text: str, rng: random.Random) -> str:
    """1,000 for 1000 and the other way round; 3 for three and the other way round. Years, dates, amounts with units
    attached and numbers inside words stay; so does "one", which is often no number."""
    dated = {position for match in _DATE.finditer(text) for position in range(*match.span())}

    def one(match: re.Match[str]) -> str:
        shown = match.group()
        if match.start() in dated:
            return shown
        if "," in shown:
            return shown.replace(",", "")
        if not shown.isdigit():
            return str(NUMBER_WORDS.index(in_small_letters(shown)))
        if len(shown) < 4:
            return NUMBER_WORDS[int(shown)]
        is_year = len(shown) == 4 and 1900 <= int(shown) <= 2100
        return shown if is_year or shown.startswith("0") else f"{int(shown):,}"

    return _NUMBER.sub(one, text)


def dates(text: str, rng: random.Random) -> str:
    """5 March 2024 for 2024-03-05, and the other way round. 03/05/2024, which has two readings, stays."""

    def one(match: re.Match[str]) -> str:
        shown = match.group()
        if found := _ISO.fullmatch(shown):
            year, month, day = map(int, found.groups())
            return f"{day} {MONTHS[month - 1]} {year}" if _is_date(year, month, day) else shown
        if found := _DAY_FIRST.fullmatch(shown):
            return _iso(found[3], found[2], found[1], shown)
        found = _MONTH_FIRST.fullmatch(shown)
        return _iso(found[3], found[1], found[2], shown) if found else shown

    return _DATE.sub(one, text)


def _iso(year: str, month: str, day: str, shown: str) -> str:
    number = MONTHS.index(in_small_letters(month).capitalize()) + 1
    return f"{year}-{number:02}-{int(day):02}" if _is_date(int(year), number, int(day)) else shown


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


PERTURBATIONS = (
    Perturbation("format", "bullets", "format_flexibility", "When the text comes as a list", bullets),
    Perturbation("format", "quotes", "format_flexibility", "When the text comes in quotation marks", quotes),
    Perturbation("format", "numbers", "format_flexibility", "When numbers are written another way", numbers),
    Perturbation("format", "dates", "format_flexibility", "When dates are written another way", dates),
)
