"""The numbers of a question, whatever way they are written, with their units."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from finetune_engine.serve.semantic.words import words

Amount = tuple[str, str]
"""A value in its shortest form, or a code as it is written, and its unit ("" for none)."""

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: Decimal(value) for value, word in enumerate(_ONES)}
_VALUES |= {word: Decimal(10 * value) for value, word in enumerate(_TENS, 2)}
_VALUES |= {"dozen": Decimal(12), "both": Decimal(2), "once": Decimal(1), "twice": Decimal(2), "thrice": Decimal(3)}
_VALUES |= {"double": Decimal(2), "triple": Decimal(3), "couple": Decimal(2)}
_VALUES |= {"half": Decimal("0.5"), "quarter": Decimal("0.25")}
_ORDINALS = {
    word: Decimal(value)
    for value, word in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        1,
    )
}
_SCALES = {"hundred": Decimal(100), "thousand": Decimal(1000), "million": Decimal(10**6), "billion": Decimal(10**9)}
_SCALES |= {"k": Decimal(1000), "m": Decimal(10**6)}
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "x": 10}
_CALENDAR = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "today",
        "tomorrow",
        "yesterday",
        "weekday",
        "weekend",
    ]
)
_UNITS = {
    word: unit
    for line in [
        "",
        "%: % percent pct",
        "eur: € eur euro euros",
        "usd: $ usd dollar dollars",
        "gbp: £ gbp pounds",
        "chf: chf",
        "cent: cent cents",
        "mg: mg",
        "g: g gram grams",
        "kg: kg kilogram kilograms",
        "lb: lb lbs",
        "mcg: mcg",
        "ml: ml",
        "l: l litre litres liter liters",
        "mm: mm",
        "cm: cm",
        "m: m metre metres meter",
        "km: km",
        "inch: inch inches",
        "ft: feet ft",
        "mile: mile miles",
        "kb: kb",
        "mb: mb",
        "gb: gb",
        "tb: tb",
        "am: am",
        "pm: pm",
        "s: s sec second seconds",
        "min: min minute minutes",
        "h: h hr hour hours",
        "day: day days",
        "week: week weeks",
        "month: month months",
        "quarter: quarters",
        "year: year years",
        "degree: degrees degree",
        "",
    ]
    if line
    for unit, _, written in [line.partition(": ")]
    for word in written.split()
}
_BEFORE_MAY = frozenset({"in", "of", "until", "since", "by"})
_COUNTED = frozenset({"stage", "grade", "type", "part", "phase", "class", "title", "annex", "schedule"})
_LETTERED = frozenset(
    {"schedule", "annex", "exhibit", "appendix", "ward", "vitamin", "hepatitis", "type", "plan", "part"}
)
_SPANS = frozenset({"s", "min", "h", "day", "week", "month", "year"})
_SIGNS = frozenset("€$£")
_CURRENCIES = frozenset({"eur", "usd", "gbp", "chf"})
_CODE = re.compile(r"(?=.*\d)[\w.+:/()-]+$")


@lru_cache(maxsize=4096)
def amounts(text: str) -> tuple[Amount, ...]:
    """Every number, date word, ordinal and code in the order of the text, the day before its month; "one" counts as an
    article. ``$10,000``, ``10000 dollars`` and ``ten thousand dollars`` are one and the same; a code such as ``HR-014``
    or ``2.3.1`` counts as it is written."""
    found: list[Amount] = []
    line = tuple(word for word in _apart(words(text)) if word != "one")
    place = 0
    while place < len(line):
        value, end = _number(line, place)
        if value is None:
            found += _other(line, place)
            place += 1
            continue
        unit = _UNITS.get(line[end], "") if end < len(line) else ""
        if not unit and place and (line[place - 1] in _SIGNS or line[place - 1] in _CURRENCIES):
            unit = _UNITS[line[place - 1]]
        found.append((_shortest(value), unit))
        place = end
    for place in range(1, len(found)):
        is_month_first = found[place - 1][1] == "calendar" and _is_day(found[place])
        if is_month_first and not (place > 1 and _is_day(found[place - 2])):
            found[place - 1], found[place] = found[place], found[place - 1]
    return tuple(found)


def _is_day(amount: Amount) -> bool:
    value, unit = amount
    return unit in ("", "ordinal") and value.isdecimal() and 1 <= int(value) <= 31


def is_numeric(word: str, before: str = "") -> bool:
    """Whether ``amounts`` or ``spans`` reads this word: a number, or a unit behind one."""
    if word == "one":  # more often an article or a pronoun than a count
        return False
    if word[0].isdigit() or word in _VALUES or word in _ORDINALS or word in _SCALES or word in _SIGNS or word == "%":
        return True
    unit = _UNITS.get(word)
    return unit in _SPANS or (unit is not None and bool(before) and is_numeric(before))


def _apart(line: tuple[str, ...]) -> tuple[str, ...]:
    """``500kg`` as two words."""
    out: list[str] = []
    for word in line:
        found = re.fullmatch(r"(\d[\d.,]*)([a-z]+)", word)
        out += [found[1], found[2]] if found and found[2] in _UNITS | _SCALES else [word]
    return tuple(out)


def spans(text: str) -> frozenset[str]:
    """The units of time that stand without a number ("valid for a year")."""
    return frozenset(_UNITS[word] for word in words(text) if word in _UNITS and _UNITS[word] in _SPANS)


def _number(line: tuple[str, ...], place: int) -> tuple[Decimal | None, int]:
    """The value that begins here and the place after it; None when no number begins here."""
    total, current, end = Decimal(0), None, place
    while end < len(line):
        word = line[end]
        value = _plain(word)
        if value is not None and current is None:
            current = value
        elif value is not None and current is not None and word in _ONES[1:10] and line[end - 1] in _TENS:
            current += value
        elif word in _SCALES and current is not None and (word not in _UNITS or line[end - 1][0].isdigit()):
            current *= _SCALES[word]
            if _SCALES[word] >= 1000:
                total, current = total + current, None
                end += 1
                if end >= len(line) or _plain(line[end]) is None or line[end] not in _VALUES:
                    return total, end
                continue
        else:
            break
        end += 1
    return (None, place) if current is None else (total + current, end)


def _plain(word: str) -> Decimal | None:
    if word in _VALUES:
        return _VALUES[word]
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", word):
        word = word.replace(",", "")
    if re.fullmatch(r"\d+,\d{1,2}", word):
        word = word.replace(",", ".")
    try:
        return Decimal(word) if re.fullmatch(r"\d+(\.\d+)?", word) else None
    except InvalidOperation:
        return None


def _other(line: tuple[str, ...], place: int) -> list[Amount]:
    word = line[place]
    if word in _ORDINALS:
        return [(_shortest(_ORDINALS[word]), "ordinal")]
    if found := re.fullmatch(r"(\d+)(st|nd|rd|th)", word):
        return [(found[1], "ordinal")]
    before = line[place - 1] if place else ""
    if word in _CALENDAR or (word == "may" and (before in _BEFORE_MAY or before[:1].isdigit())):
        return [(word[:3], "calendar")]
    if word in _ROMAN and before in _COUNTED:
        return [(str(_ROMAN[word]), "")]
    if len(word) == 1 and before in _LETTERED:
        return [(word, "letter")]
    return [(word, "code")] if _CODE.match(word) else []


def _shortest(value: Decimal) -> str:
    return f"{value.normalize():f}"
