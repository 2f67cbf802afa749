"""Personal data and secrets in text: where, and of which kind. The values are never reported."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = ("email", "phone", "card", "iban", "ip", "us_ssn", "url_credentials", "secret")

# A cheap test that runs over every text (Rust regex: no look-around). It may say yes too often, never too seldom.
MAY_HOLD_PII = (
    r"@|\d[\d\s().\-/+]{5,}\d|\b[A-Za-z]{2}\d{2}[ -]?[A-Za-z0-9]|://[^\s/]*:|:[0-9a-fA-F]{0,4}:"
    r"|(?i:sk-|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abpr]-|akia|asia|aiza|ya29\.|hf_|-----begin|eyj|bearer |"
    r"password|passwd|secret|api[_-]?key|token)"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Personal data of ``kind`` at characters ``start`` to ``end`` (end excluded)."""

    kind: str
    start: int
    end: int


def find_pii(text: str) -> list[Span]:
    """All spans, in order, none overlapping another (the more certain kind wins)."""
    taken: list[Span] = []
    for kind, finder in _FINDERS:
        for start, end in finder(text):
            if all(end <= span.start or start >= span.end for span in taken):
                taken.append(Span(kind, start, end))
    return sorted(taken, key=lambda span: span.start)


def _matches(
    pattern: str, check: Callable[[str], bool] | None = None, flags: int = 0
) -> Callable[[str], Iterator[tuple[int, int]]]:
    compiled = re.compile(pattern, flags)

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in compiled.finditer(text):
            group = "value" if "value" in compiled.groupindex else 0
            if check is None or check(match.group(group)):
                yield match.span(group)

    return find


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number holds. ``digits`` may contain blanks and dashes."""
    numbers = [int(c) for c in digits if c.isdigit()]
    total = sum(n if i % 2 == 0 else (n * 2 - 9 if n > 4 else n * 2) for i, n in enumerate(reversed(numbers)))
    return total % 10 == 0


def _card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return (
        13 <= len(digits) <= 19
        and (digits[0] in "23456" or digits.startswith("1800"))
        and len(set(digits)) > 1
        and luhn(digits)
    )


# Lengths of the IBAN registry (ISO 13616), by country.
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_IBAN_START = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """IBANs, in groups or not; the country tells how long one is, so words behind it are left alone."""
    for match in _IBAN_START.finditer(text):
        wanted = _IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        seen = 0
        for offset, character in enumerate(match.group(), 1):
            seen += character.isalnum()
            if wanted and seen == wanted:
                value = re.sub(r"[ -]", "", match.group()[:offset]).upper()
                follower = text[match.start() + offset : match.start() + offset + 1]
                if mod97(value) and not follower.isalnum():
                    yield match.start(), match.start() + offset
                break


def mod97(iban: str) -> bool:
    """Whether the check digits of an IBAN (no blanks, capitals) hold."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _ssn(value: str) -> bool:
    area, group, serial = re.split(r"[- ]", value)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


_IP_CONTEXT = re.compile(
    r"\b(?:ip|ipv4|ipv6|server|host|address|ping|dns|gateway|from|at)\b\W*(?:\w+\W+){0,2}$", re.IGNORECASE
)


def _ips(text: str) -> Iterator[tuple[int, int]]:
    """Internet addresses. Four small numbers are one only where the words before say so: clauses are numbered 3.4.2.1."""
    for match in _IP_LIKE.finditer(text):
        value = match.group()
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            continue
        if address.is_unspecified:
            continue
        if address.version == 4:
            parts = [int(part) for part in value.split(".")]
            telling = max(parts) > 31 or parts[0] == 10 or len(set(parts)) == 1
            if not telling and not _IP_CONTEXT.search(text[max(0, match.start() - 40) : match.start()]):
                continue
        yield match.span()


_DATE = re.compile(
    r"(?:19|20)\d\d[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d|\d{1,2}/\d{1,2}/\d\d"
)
_PHONE_CONTEXT = re.compile(
    r"\b(?:phone|telephone|tel|call|cell|mobile|fax|contact|reach|whatsapp|ring|dial|sms|text)\b[^.!?\n]{0,30}$",
    re.IGNORECASE,
)
_PHONE_LIKE = re.compile(
    r"(?<![\w.+/$€£-])(?:\+|00)?\(?\d[\d().\- ]{5,18}\d(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?![\w/%-]|[.,]\d)"
)
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?(?:\(\d{3}\)|\d{3})[-. ]?\s?\d{3}[-. ]\d{4}")


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """Telephone numbers: international, North American, in groups after a 0; others where the words before say so."""
    for match in _PHONE_LIKE.finditer(text):
        if _is_phone(match.group(), text, match.start()):
            yield match.span()


def _is_phone(whole: str, text: str, start: int) -> bool:
    value = re.split(r"\s?(?:x|ext)", whole)[0]
    digits = re.sub(r"\D", "", value)
    groups = re.findall(r"\d+", value)
    if not 7 <= len(digits) <= 15 or _DATE.search(value) or len(set(digits)) < 3:
        return False
    if value.startswith("+"):
        return len(digits) >= 9
    if _NORTH_AMERICAN.fullmatch(value):
        return True
    if _PHONE_CONTEXT.search(text[max(0, start - 60) : start]):
        return all(len(group) <= 11 for group in groups)
    if value.startswith("00"):
        return len(groups) >= 3 and len(digits) >= 10
    return value.startswith(("0", "(0")) and len(groups) >= 3 and 9 <= len(digits) <= 12 and min(map(len, groups)) >= 2


def _secret_value(value: str) -> bool:
    return len(set(value)) >= 5 and any(c.isdigit() for c in value) and not value.startswith(("http", "{{", "${", "<"))


_KEY = (
    r"(?:\b(?:sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}|gh[posru]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abpr]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}"
    r"|ya29\.[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----)"
)
_NAMED_KEY = (
    r"(?i:\b(?:password|passwd|api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token)\b[\"']?\s*(?:=|:|\bis\b)\s*"
    r"[\"']?(?P<value>[^\s\"',;]{8,}))"
)
_IP_LIKE = re.compile(
    r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
    r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){2,7}(?::?[0-9a-fA-F]{1,4}){1,6}(?![\w:])"
)

_FINDERS: tuple[tuple[str, Callable[[str], Iterator[tuple[int, int]]]], ...] = (
    ("url_credentials", _matches(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]+:[^\s/@]+@[^\s]+")),
    ("secret", _matches(_KEY)),
    ("secret", _matches(_NAMED_KEY, _secret_value)),
    ("email", _matches(r"(?<![\w.+%-])[\w.+%'-]+@(?:[\w-]+\.)+[^\W\d_]{2,24}\b")),
    ("iban", _ibans),
    ("card", _matches(r"(?<![\d.-])(?:\d[ -]?){12,18}\d(?![\d-])", _card)),
    ("us_ssn", _matches(r"(?<![\d-])\d{3}([- ])\d{2}\1\d{4}(?![\d-])", _ssn)),
    ("ip", _ips),
    ("phone", _phones),
)
