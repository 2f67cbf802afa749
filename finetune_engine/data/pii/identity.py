"""Numbers that states give to people: US social security numbers, and the identity, tax and health numbers of others.

A number with a telling form and a check digit is taken as it is; plain digits only where words beside them say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module

# Alone: a longer number in groups has three such groups somewhere, too.
_SSN = re.compile(r"(?<![\w-])(?<![0-9] )[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}(?![\w-]| [0-9])")
_SSN_CONTEXT = re.compile(
    r"\b(?:ssn|social security(?: (?:number|no\.?))?)\b[^0-9\n]{0,20}(?P<value>[0-9]{9})(?![\w-])", re.IGNORECASE
)


def us_ssns(text: str) -> Iterator[tuple[int, int]]:
    """US social security numbers: in three groups, or nine digits after those words."""
    for match in _SSN.finditer(text):
        if _is_ssn(re.sub(r"[^0-9]", "", match.group())):
            yield match.span()
    for match in _SSN_CONTEXT.finditer(text):
        if _is_ssn(match["value"]):
            yield match.span("value")


def _is_ssn(digits: str) -> bool:
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


# Form and check digits tell enough: {module of python-stdnum: pattern}.
_TELLING = {
    "it.codicefiscale": r"[A-Za-z]{6}[0-9]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]",
    "mx.curp": r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9]",
    "es.dni": r"[0-9]{8}-?[A-HJ-NP-TV-Z]",
    "es.nie": r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]",
    "fr.nir": r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
    "be.nn": r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
    "br.cpf": r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",
    "ch.ssn": r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}",
    "cn.ric": r"[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9][0-9]{3}[0-9Xx]",
    "kr.rrn": r"[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9]-[0-9]{7}",
    "se.personnummer": r"(?:19|20)?[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9][-+][0-9]{4}",
    "fi.hetu": r"[0-3][0-9](?:0[1-9]|1[0-2])[0-9]{2}[-+A][0-9]{3}[0-9A-Y]",
}
# Plain digits, or a form that other things have too: {module: (words beside it, pattern)}.
_NAMED = {
    "gb.nhs": (r"nhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}"),
    "gb.nino": (
        r"national insurance|nino|ni (?:number|no)",
        r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
    ),
    "de.idnr": (
        r"steuer-?id(?:entifikationsnummer)?|steuerliche identifikationsnummer|idnr|german tax|tax id",
        r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
    ),
    "nl.bsn": (r"bsn|burgerservicenummer|sofi", r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}|[0-9]{9}"),
    "be.nn": (r"rijksregister\w*|national register|registre national|niss", r"[0-9]{11}"),
    "pl.pesel": (r"pesel", r"[0-9]{11}"),
    "pt.nif": (r"nif|contribuinte", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}"),
    "br.cpf": (r"cpf", r"[0-9]{11}"),
    "in_.aadhaar": (r"aadha+r|uidai", r"[2-9][0-9]{3} ?[0-9]{4} ?[0-9]{4}"),
    "ca.sin": (r"sin|social insurance", r"[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{3}"),
    "au.tfn": (r"tfn|tax file", r"[0-9]{3} ?[0-9]{3} ?[0-9]{2,3}"),
    "at.vnr": (r"sozialversicherungsnummer|svnr|versicherungsnummer", r"[1-9][0-9]{3} ?[0-9]{6}"),
    "dk.cpr": (r"cpr", r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}"),
    "no.fodselsnummer": (r"f[øo]dselsnummer|personnummer|birth number", r"[0-9]{6} ?[0-9]{5}"),
    "za.idnr": (r"south african id|sa id|id number|identity number", r"[0-9]{13}"),
    "ie.pps": (r"ppsn?|personal public service", r"[0-9]{7}[A-Wa-w][A-Ia-i]?"),
    "tr.tckimlik": (r"t\.?c\.? ?kimlik|tckn", r"[1-9][0-9]{10}"),
    "il.idnr": (r"israeli id|teudat zehut", r"[0-9]{9}"),
    "es.dni": (r"dni|nif", r"[0-9]{8}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]"),
    "us.itin": (r"itin|taxpayer", r"9[0-9]{2}[- ]?[0-9]{2}[- ]?[0-9]{4}"),
}  # fmt: skip
_REACH = 45
# A pair-wise written UK number is telling in itself: QQ 12 34 56 C.
_SPACED_NINO = r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] [0-9]{2} [0-9]{2} [0-9]{2} [A-D]"


_TELLING_MODULES = [*_TELLING, "gb.nino"]
_ANY_TELLING = re.compile(
    r"(?<![\w.-])(?:"
    + "|".join(f"({pattern})" for pattern in (*_TELLING.values(), _SPACED_NINO))
    + r")(?![\w-]|\.[0-9])"
)
_NAMED_MODULES = [*_NAMED]
_ANY_WORD = re.compile(r"\b(?:" + "|".join(f"({words})" for words, _ in _NAMED.values()) + r")\b", re.IGNORECASE)


@cache
def _pattern(module: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-])(?:{_NAMED[module][1]})(?![\w-]|\.[0-9])")


# Every one of them has six digits near one another, or begins like Italy's and Mexico's.
NUMBER = re.compile(r"(?:[0-9][ ().\-+\u00a0\u2010-\u2013]{0,3}){5}[0-9]|[A-Za-z]{4}[0-9]{2}[0-9A-Za-z][0-9]{2}")


def national_ids(text: str) -> Iterator[tuple[int, int]]:
    """National identity, tax, social security and health numbers of 27 countries, checked by python-stdnum."""
    for number in NUMBER.finditer(text):
        # Only around digits: the patterns are many, and a text is mostly words.
        for match in _ANY_TELLING.finditer(text, max(0, number.start() - 8), number.end() + 20):
            if _is_valid(_TELLING_MODULES[(match.lastindex or 1) - 1], match.group()):
                yield match.span()
        for word in _ANY_WORD.finditer(text, max(0, number.start() - _REACH - 35), number.start()):
            module = _NAMED_MODULES[(word.lastindex or 1) - 1]
            found = _pattern(module).search(text, word.end(), word.end() + _REACH)
            if found is not None and _is_valid(module, found.group()):
                yield found.span()


def _is_valid(module: str, value: str) -> bool:
    if module == "gb.nino":  # has no check digit
        return not value[:2].upper().startswith(("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"))
    if module == "us.itin":
        return True
    try:
        return bool(import_module(f"stdnum.{module}").is_valid(value))
    except (KeyError, ValueError):  # a county or a date that is in no table of the library
        return False
