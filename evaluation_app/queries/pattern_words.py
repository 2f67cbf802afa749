"""A pattern (regular expression) in plain words, so that an expert sees what was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

MOST_WORDS = 600
_DEEPEST = 12


class _Unknown(Exception):
    """Something that has no words here."""


def pattern_words(pattern: str) -> str:
    """What the pattern looks for, ``the beginning, then 4 digits, then “-”``; empty when it cannot be said simply."""
    if "[:" in pattern:  # a class such as [[:alpha:]], which RE2 knows and this parser takes for letters
        return ""
    parser: Any = re._parser  # type: ignore[attr-defined]  # the standard library's own reading of a pattern
    try:
        parsed = parser.parse(pattern)
        if parsed.state.flags & ~(re.UNICODE | re.IGNORECASE):
            raise _Unknown
        said = _sequence(list(parsed), 0)
    except (re.error, _Unknown, RecursionError, OverflowError, ValueError):
        return ""
    return said if len(said) <= MOST_WORDS else ""


def _sequence(parts: Sequence[tuple[Any, Any]], depth: int) -> str:
    if depth > _DEEPEST:
        raise _Unknown
    words: list[str] = []
    letters = ""
    for code, value in parts:
        if str(code) == "LITERAL":
            letters += chr(value)
            continue
        if letters:
            words.append(_quoted(letters))
            letters = ""
        words.append(_part(str(code), value, depth))
    if letters:
        words.append(_quoted(letters))
    return _(", then ").join(words) if words else _("nothing")


def _part(code: str, value: Any, depth: int) -> str:
    if code == "ANY":
        return _("any character")
    if code == "NOT_LITERAL":
        return _("any character but %(what)s") % {"what": _quoted(chr(value))}
    if code == "IN":
        return _one_of(value)
    if code in {"MAX_REPEAT", "MIN_REPEAT"}:
        return _repeated(value, depth)
    if code == "SUBPATTERN" and not value[1] and not value[2]:  # no switch such as (?i:...)
        return _sequence(list(value[-1]), depth + 1)
    if code == "BRANCH":
        branches = [_sequence(list(branch), depth + 1) for branch in value[1]]
        return _("either %(branches)s") % {"branches": _(" or ").join(f"({branch})" for branch in branches)}
    if code == "AT" and str(value) in (places := _places()):
        return places[str(value)]
    raise _Unknown


def _places() -> dict[str, str]:
    return {
        "AT_BEGINNING": _("the beginning of the answer"),
        "AT_BEGINNING_STRING": _("the beginning of the answer"),
        "AT_END": _("the end of the answer"),
        "AT_END_STRING": _("the end of the answer"),
        "AT_BOUNDARY": _("the edge of a word"),
        "AT_NON_BOUNDARY": _("the inside of a word"),
    }


def _repeated(value: tuple[int, Any, Any], depth: int) -> str:
    least, most, inner = value
    what = _sequence(list(inner), depth + 1)
    what = f"({what})" if _(", then ") in what else what
    many = len(inner) > 1 or not isinstance(most, int)
    if str(most) == "MAXREPEAT":
        if least == 0:
            return _("%(what)s, any number of times or not at all") % {"what": what}
        return ngettext("%(what)s, once or more", "%(what)s, %(n)s times or more", least) % {"what": what, "n": least}
    if (least, most) == (0, 1):
        return _("perhaps %(what)s") % {"what": what}
    if least == most:
        counted = _counted(inner, least) if not many else ""
        return counted or ngettext("%(what)s once", "%(what)s %(n)s times", least) % {"what": what, "n": least}
    return _("%(what)s, %(least)s to %(most)s times") % {"what": what, "least": least, "most": most}


def _counted(inner: Any, n: int) -> str:
    code, value = next(iter(inner))
    if str(code) == "IN" and [str(part[1]) for part in value] == ["CATEGORY_DIGIT"]:
        return ngettext("%(n)s digit", "%(n)s digits", n) % {"n": n}
    return ""


def _one_of(members: Iterable[tuple[Any, Any]]) -> str:
    categories = {
        "CATEGORY_DIGIT": _("a digit"),
        "CATEGORY_NOT_DIGIT": _("anything but a digit"),
        "CATEGORY_SPACE": _("a blank"),
        "CATEGORY_NOT_SPACE": _("anything but a blank"),
        "CATEGORY_WORD": _("a letter, digit or underscore"),
        "CATEGORY_NOT_WORD": _("anything but a letter or digit"),
    }
    words: list[str] = []
    is_negated = False
    for code, value in members:
        if str(code) == "NEGATE":
            is_negated = True
        elif str(code) == "LITERAL":
            words.append(_quoted(chr(value)))
        elif str(code) == "RANGE":
            words.append(_("%(first)s to %(last)s") % {"first": _quoted(chr(value[0])), "last": _quoted(chr(value[1]))})
        elif str(code) == "CATEGORY" and str(value) in categories:
            words.append(categories[str(value)])
        else:
            raise _Unknown
    said = _(" or ").join(words)
    return _("any character but %(what)s") % {"what": said} if is_negated else said


def _quoted(text: str) -> str:
    shown = text.replace("\n", "↵").replace("\t", "⇥")
    return _("a blank") if shown == " " else f"“{shown}”"
