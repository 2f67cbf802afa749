"""Payment cards and bank accounts, told by their check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CARD_LIKE = re.compile(r"(?<![\w.-])[0-9](?:[ -]?[0-9]){11,18}(?![\w-]|\.[0-9])")
# Beginnings and lengths that the card companies give out.
_CARD = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|3(?:0[0-5]|[689][0-9])[0-9]{13}|(?:2131|1800)[0-9]{11}"
    r"|352[89][0-9]{12}|35[3-8][0-9]{13}|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12,15}|62[0-9]{14,17}"
    r"|(?:50|5[6-9]|6[0-9])[0-9]{14,17}"
)
_GROUPED = re.compile(r"[0-9]{12,19}|[0-9]{4}([ -])(?:[0-9]{4}\1){2,3}[0-9]{1,4}|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}")
_CARD_CONTEXT = re.compile(
    r"\b(?:cards?|cc|credit|debit|visa|master ?card|maestro|amex|american express|discover|karte|carte|tarjeta|carta)\b"
    r"[^\n]{0,40}$",
    re.IGNORECASE,
)


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number holds. ``digits`` may contain blanks and dashes."""
    numbers = [int(c) for c in digits if c.isdecimal()]
    total = sum(n if i % 2 == 0 else (n * 2 - 9 if n > 4 else n * 2) for i, n in enumerate(reversed(numbers)))
    return total % 10 == 0


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Card numbers of the usual companies; any number of 12 to 19 digits with a check digit where the words say card."""
    for match in _CARD_LIKE.finditer(text):
        digits = re.sub(r"[^0-9]", "", match.group())
        if len(set(digits)) == 1 or not luhn(digits):
            continue
        usual = _CARD.fullmatch(digits) and _GROUPED.fullmatch(match.group())
        if usual or _CARD_CONTEXT.search(text[max(0, match.start() - 60) : match.start()]):
            yield match.span()


# Lengths of the IBAN registry (ISO 13616), by country.
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
_IBAN_START = re.compile(r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """IBANs, in groups or not; the country tells how long one is, so words behind it are left alone."""
    at = 0
    while (match := _IBAN_START.search(text, at)) is not None:
        end = _iban_end(match, text)
        if end is not None:
            yield match.start(), end
        at = end or match.start() + 2


def _iban_end(match: re.Match[str], text: str) -> int | None:
    wanted = _IBAN_LENGTHS.get(match.group()[:2].upper())
    if wanted is None:
        return None
    seen = 0
    for offset, character in enumerate(match.group(), 1):
        seen += character.isalnum()
        if seen == wanted:
            end = match.start() + offset
            value = re.sub(r"[ -]", "", match.group()[:offset]).upper()
            return end if mod97(value) and not text[end : end + 1].isalnum() else None
    return None


def mod97(iban: str) -> bool:
    """Whether the check digits of an IBAN (no blanks, capitals) hold."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1
