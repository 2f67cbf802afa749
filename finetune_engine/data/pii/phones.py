"""Telephone numbers: by their form where that is enough, else by the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

_GAP = "[-. \u00a0\u2010-\u2013]"
_LIKE = re.compile(
    rf"(?<![\w.+/$€£#-])(?:\+|00)?\(?[0-9](?:[()]|{_GAP}|[0-9]){{5,20}}[0-9]"
    rf"(?:\s?(?:x|ext\.?)\s?[0-9]{{1,6}})?(?![\w/%]|-[0-9]|[.,][0-9])"
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}|[0-9]{1,2}[-/. ][0-9]{1,2}[-/. ](?:19|20)[0-9]{2}"
    r"|[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}"
)
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?(?:\([0-9]{3}\)|[2-9][0-9]{2})[-. ]?\s?[0-9]{3}[-. ][0-9]{4}")
# What people write before a number, in the same sentence ...
_BEFORE = re.compile(
    r"\b(?:(?:tele)?phone|tel|call(?:s|ed|ing)?|cell(?:phone|ular)?|mobile|mob|fax|landline|contact|reach(?:ed)?|whatsapp|signal"
    r"|ring|rung|dial(?:l?ed|l?ing)?|sms|text(?:s|ed|ing)?|messages?|voice ?mail|answer(?:s|ed|ing)?|hotline|helpline"
    r"|(?:my|your|his|her|our|their) number|telefon(?:o|e)?|téléphone|teléfono|telefone"
    r"|handy|móvil|portable|mobil|rufnummer|(?:an)?ruf(?:en|e|t)?|erreich(?:en|bar)|appel(?:er|ez|le)?|joindre|llam(?:ar|a|e))\b\.?[^.!?\n]{0,30}$"
    r"|\b(?:office|desk|work|home|direct|extension|büro)\b[ \t]*[:=(-]?[ \t\n]*$",
    re.IGNORECASE,
)
# ... or behind it.
_AFTER = re.compile(
    r"\s?[-,/(\[]?\s?\(?(?:office|fax|mobile|cell|home|work|desk|phone|tel|landline|direct|mobil|handy|büro)\b"
    r"(?=\s*(?:[)\],;:.\\\n]|$))",
    re.IGNORECASE,
)
# Amounts beside such words: "the mobile users grew to 1 500 000", "they call 2 500 000 people".
_AMOUNT = re.compile(r"[0-9]{1,3}(?:[ .\u00a0][0-9]{3})+|[0-9]{7,9}")
_UNIT = re.compile(
    r"\s?(?:shares?|users?|people|persons|customers?|subscribers?|inhabitants|dollars?|euros?|pounds|usd|eur|gbp|chf|million"
    r"|billion|hours?|minutes|units?|copies|rows?|records?|calls?|messages?|words|tokens|pages|items|times|per)\b",
    re.IGNORECASE,
)
# Numbers of other things.
_NOT = re.compile(
    r"(?:\b(?:order|invoice|account|acct|reference|ref|case|ticket|policy|claim|serial|model|isbn|issn|ean|sku|zip|postcode"
    r"|tracking|contract|section|clause|card|version|license|licence|passport|docket|registration|batch|lot|amount|total"
    r"|sum|price|population|patent|application|file|id|vat|tax|part|item|article|customer|member(?:ship)?|year|years"
    r"|ssn|nhs|nin|nino|bsn|tfn|sin|nif|dni|cpf|pesel|imei)"
    r"\b|\bp\.?\s?o\.?\s?box\b|[$€£#])[ \t]*(?:number|no\.?|nr\.?|num|id|code|is|was|of|:|#|-|=)*[ \t:]*"
    r"(?:is|was|:|#)?[ \t]*$",
    re.IGNORECASE,
)
# Where numbers that begin with a 0 are looked up.
_REGIONS = (
    "GB",
    "DE",
    "FR",
    "IT",
    "NL",
    "BE",
    "CH",
    "AT",
    "SE",
    "AU",
    "NZ",
    "ZA",
    "JP",
    "IN",
    "IE",
    "FI",
    "PL",
    "TR",
    "BR",
)
_MOST_DIGITS = 15


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Telephone numbers: international, North American, valid ones that begin with a 0; others where words say so."""
    for match in _LIKE.finditer(text):
        if _is_phone(match.group(), text, match.start(), match.end()):
            yield match.start() + (match.group().startswith("(") and ")" not in match.group()), match.end()


def _is_phone(whole: str, text: str, start: int, end: int) -> bool:
    value = re.split(r"\s?(?:x|ext)", whole)[0]
    digits = re.sub(r"[^0-9]", "", value)
    groups = re.findall(r"[0-9]+", value)
    if not 7 <= len(digits) <= _MOST_DIGITS or _DATE.search(value) or len(set(digits)) < 3:
        return False
    if value.startswith("+"):
        return len(digits) >= 8 and _is_possible(value)
    before = text[max(0, start - 60) : start]
    if _NOT.search(before):
        return False
    if _NORTH_AMERICAN.fullmatch(value):
        return True
    if _BEFORE.search(before) or _AFTER.match(text, end):
        is_amount = _AMOUNT.fullmatch(value) and (digits.endswith("000") or _UNIT.match(text, end))
        return not is_amount and all(len(group) <= 12 for group in groups)
    if value.startswith("00"):
        return len(groups) >= 3 and len(digits) >= 10 and _is_possible("+" + value[2:])
    if not value.startswith(("0", "(0")) or not 9 <= len(digits) <= 12 or len(groups) < 2 or "." in value:
        return False
    if re.search(r"[0-9] $", before):  # the end of a longer number
        return False
    if len(groups) >= 3 and min(map(len, groups)) >= 2:
        return True
    return len(digits) >= 10 and _is_valid_somewhere(value)


def _is_possible(value: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


def _is_valid_somewhere(value: str) -> bool:
    for region in _REGIONS:
        try:
            number = phonenumbers.parse(value, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number_for_region(number, region):
            return True
    return False
