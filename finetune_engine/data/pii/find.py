"""Personal data and secrets in text: where, and of which kind. The values are never reported."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune_engine.data.pii.identity import NUMBER, national_ids, us_ssns
from finetune_engine.data.pii.money import cards, ibans
from finetune_engine.data.pii.names import installed_recogniser, names
from finetune_engine.data.pii.network import emails, ips, secrets, url_credentials
from finetune_engine.data.pii.phones import phones

if TYPE_CHECKING:
    import polars as pl

# A cheap test that runs over every text, for the Rust engine. It may say yes too often, never too seldom. It also holds
# for texts inside JSON, where a quote has a stroke before it.
_DIGITS = r"[0-9](?:[ ().\-+\x{a0}\x{2010}-\x{2013}]{0,3}[0-9]){6}"
MAY_HOLD_PII = "|".join(
    (
        "@",
        _DIGITS,
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"[0-9a-fA-F]{1,4}:[0-9a-fA-F]{0,4}:",
        r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}",
        r"[A-Za-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
        r"[A-Za-z]{4}[0-9]{2}[0-9A-Za-z][0-9]{2}|[0-9]{6}A[0-9]{3}",
        r"(?:sk-|[sr]k_(?:live|test)_|gh[posru]_|github_pat_|glpat-|xox[abeprs]-|AKIA|ASIA|AIza|ya29\.|GOCSPX-|hf_|npm_|pypi-)",
        r"shp(?:at|ca|pa|ss)_|SG\.[A-Za-z0-9_-]{20}|dop_v1_|\.eyJ|hooks\.slack\.com/|-----BEGIN ",
        r"(?i:(?:password|passwd|passphrase|passcode|pwd|api[_ -]?key|secret(?:[_ -]?key)?|access[_ -]?token|auth[_ -]?token"
        r"|passwort|mot de passe|contraseña)\\?[\x22']?\s{0,3}(?:[=:]|is|est|ist|es)|bearer\s)",
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """Personal data of ``kind`` at characters ``start`` to ``end`` (end excluded)."""

    kind: str
    start: int
    end: int


_Finder = Callable[[str], Iterator[tuple[int, int]]]
# The more certain kind comes first and wins where two overlap.
_FINDERS: tuple[tuple[str, _Finder], ...] = (
    ("url_credentials", url_credentials),
    ("secret", secrets),
    ("email", emails),
    ("iban", ibans),
    ("us_ssn", us_ssns),
    ("national_id", national_ids),
    ("card", cards),
    ("ip", ips),
    ("phone", phones),
    ("name", names),
)

# Looked for only where there are digits enough.
_NUMBERS = frozenset({"iban", "us_ssn", "national_id", "card", "phone"})
_BEFORE_NUMBERS = frozenset({"iban", "national_id", "ip"})


def find_pii(text: str) -> list[Span]:
    """All spans, in order, none overlapping another (the more certain kind wins)."""
    starts: list[int] = []
    taken: list[Span] = []
    has_number = NUMBER.search(text) is not None
    for kind, finder in _FINDERS:
        if kind in _NUMBERS and not has_number:
            continue
        for start, end in finder(text):
            place = bisect(starts, start)
            free = place == 0 or taken[place - 1].end <= start
            if free and (place == len(taken) or end <= starts[place]):
                starts.insert(place, start)
                taken.insert(place, Span(kind, start, end))
        if kind in _BEFORE_NUMBERS:  # so that a number beside a found one is not read as one with it
            text = _without(text, taken)
    return taken


def _without(text: str, spans: list[Span]) -> str:
    """The text with a neutral sign in place of each character of the spans."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += [text[at : span.start], "|" * (span.end - span.start)]
        at = span.end
    return "".join([*parts, text[at:]]) if spans else text


def may_hold_pii(column: pl.Series) -> pl.Series:
    """Which texts (or messages as JSON) may hold personal data; all of them where names are looked for."""
    import polars as pl

    if installed_recogniser() is not None:
        return pl.repeat(True, len(column), eager=True)
    return column.str.contains(MAY_HOLD_PII).fill_null(False)
