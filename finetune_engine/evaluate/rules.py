"""Acceptance rules: what an expert demands of every answer, whatever model gives it.

Importable in the web process: the form and the API check a rule here, and the engine applies it here.

| kind | ``demand`` | an answer passes when |
|---|---|---|
| contains | texts, all (true), ignore_case (true) | it holds all of the texts (``all`` false: at least one) |
| excludes | texts, ignore_case (true) | it holds none of the texts |
| matches / avoids | pattern, ignore_case (false) | the pattern is found somewhere in it / nowhere in it |
| length | least (1), most (none), unit (characters) | it has that many characters or words |
| if_then | if_mentions, then_mentions, all (true), ignore_case (true) | the question mentions none of the first, or it \
mentions all of the second (``all`` false: at least one) |
| json_schema | schema (an object, or its JSON text) | it is JSON of this shape, alone or in one code fence |
| labels | labels, ignore_case (true) | it is one of the labels (``ignore_case``: but for case and punctuation) |

To contain is to hold the letters anywhere; to mention is to hold them at the beginning of a word ("rent" is mentioned by
"renting", not by "current"). An empty answer passes no contains, matches, json_schema or labels rule, and a length rule
only if ``least`` is 0. Patterns are RE2's: the time they take grows with the text, whatever the pattern.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2

from finetune_engine.errors import Place, UserError
from finetune_engine.evaluate.json_shape import check_shape, shape_of
from finetune_engine.evaluate.texts.words import is_unspaced, normalise, split_words, whole_characters

KINDS = ("contains", "excludes", "matches", "avoids", "length", "if_then", "json_schema", "labels")
LONGEST_PATTERN = 1_000
LONGEST_TEXT = 2_000
MOST_TEXTS = 200
MOST_LABELS = 5_000
LONGEST_LENGTH = 10_000_000
LONGEST_SEARCHED = 100_000
"""Characters of an answer that a pattern looks at; of a longer one it cannot be said that a pattern is nowhere in it."""

_PATTERN_MEMORY = 1 << 18
"""Bytes RE2 may use for one pattern: enough for LONGEST_PATTERN plain letters, too little for a program that crawls."""


@dataclass(frozen=True)
class Rule:
    """A checked rule. ``demand`` holds every key of its kind, defaults filled in."""

    id: str
    name: str
    kind: str
    demand: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; ``rule_of`` reads them back."""
        return {"id": self.id, "name": self.name, "kind": self.kind, "demand": dict(self.demand)}


def rule_of(raw: Mapping[str, Any]) -> Rule:
    """The rule in ``{id, name, kind, demand}``. Raises UserError ``bad_rule``; its field is ``name``, ``kind``,
    ``demand`` or the key of ``demand`` at fault."""
    if not isinstance(raw, Mapping):
        raise _bad("rules", "A rule must be an object with a name, a kind and a demand.")
    name, kind, demand = raw.get("name"), raw.get("kind"), raw.get("demand")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_TEXT:
        raise _bad("name", f"Give the rule a name of at most {LONGEST_TEXT:,} characters.")
    if kind not in KINDS:
        raise _bad("kind", f"There is no kind of rule called {kind!r}.", ", ".join(KINDS))
    if not isinstance(demand, Mapping):
        raise _bad("demand", "Say what the rule demands.")
    unknown = sorted(set(map(str, demand)) - set(_KEYS[kind]))
    if unknown:
        raise _bad("demand", f"A rule of this kind knows no {unknown[0]!r}.", ", ".join(_KEYS[kind]))
    return Rule(str(raw.get("id") or ""), name.strip(), kind, _READERS[kind](demand))


def check(rule: Rule, question: str, answer: str) -> str | None:
    """None when the answer passes; else a plain sentence that says why not."""
    return _CHECKS[rule.kind](rule.demand, question, answer)


def _read_texts(demand: Mapping[str, Any]) -> dict[str, Any]:
    return {"texts": _texts(demand, "texts"), "ignore_case": _flag(demand, "ignore_case", True)}


def _read_contains(demand: Mapping[str, Any]) -> dict[str, Any]:
    return _read_texts(demand) | {"all": _flag(demand, "all", True)}


def _read_pattern(demand: Mapping[str, Any]) -> dict[str, Any]:
    pattern = demand.get("pattern")
    if not isinstance(pattern, str) or not pattern or len(pattern) > LONGEST_PATTERN:
        raise _bad("pattern", f"Give a pattern of 1 to {LONGEST_PATTERN:,} characters.")
    ignore_case = _flag(demand, "ignore_case", False)
    try:
        _compiled(pattern, ignore_case)
    except re2.error as problem:
        raise _bad(
            "pattern",
            f"This pattern cannot be used ({_reason(problem)}). Look-ahead, look-behind and back-references are not "
            "available, nor are repeats so large that checking an answer would take long.",
            "RE2 syntax",
        ) from problem
    return {"pattern": pattern, "ignore_case": ignore_case}


def _read_length(demand: Mapping[str, Any]) -> dict[str, Any]:
    least, most = _count(demand, "least", 1), _count(demand, "most", None)
    unit = demand.get("unit", "characters")
    if unit not in ("characters", "words"):
        raise _bad("unit", "A length is counted in characters or in words.", "characters, words")
    if most is not None and most < (least or 0):
        raise _bad("most", f"The answer cannot have at least {least} and at most {most} {unit}.")
    return {"least": least, "most": most, "unit": unit}


def _read_if_then(demand: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "if_mentions": _texts(demand, "if_mentions"),
        "then_mentions": _texts(demand, "then_mentions"),
        "all": _flag(demand, "all", True),
        "ignore_case": _flag(demand, "ignore_case", True),
    }


def _read_schema(demand: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": shape_of(demand.get("schema"))}


def _read_labels(demand: Mapping[str, Any]) -> dict[str, Any]:
    labels = _texts(demand, "labels", MOST_LABELS)
    return {"labels": labels, "ignore_case": _flag(demand, "ignore_case", True)}


def _contains(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    if not answer.strip():
        return "The answer is empty."
    missing = _missing(demand["texts"], answer, _holds, ignore_case=demand["ignore_case"])
    return _lacks(demand["texts"], missing, wants_all=demand["all"], verb="contain")


def _excludes(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    missing = _missing(demand["texts"], answer, _holds, ignore_case=demand["ignore_case"])
    found = [text for text in demand["texts"] if text not in missing]
    return f"The answer contains {_quoted(found)}." if found else None


def _matches(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    if not answer.strip():
        return "The answer is empty."
    if _found(demand, answer):
        return None
    where = "the answer" if len(answer) <= LONGEST_SEARCHED else f"the answer's first {LONGEST_SEARCHED:,} characters"
    return f"Nothing in {where} matches the pattern {demand['pattern']}."


def _avoids(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    if found := _found(demand, answer):
        return f"“{_short(found[0])}” in the answer matches the pattern {demand['pattern']}."
    if len(answer) > LONGEST_SEARCHED:
        return f"The answer has more than {LONGEST_SEARCHED:,} characters: too long to be searched for the pattern."
    return None


def _length(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    bare, unit = unicodedata.normalize("NFC", answer).strip(), demand["unit"]
    size = len(bare) if unit == "characters" else len(split_words(bare))
    if size < demand["least"]:
        return f"The answer has {size} {unit}, at least {demand['least']} are asked for." if size else _EMPTY
    if demand["most"] is not None and size > demand["most"]:
        return f"The answer has {size} {unit}, at most {demand['most']} are allowed."
    return None


def _if_then(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    texts, ignore_case = demand["if_mentions"], demand["ignore_case"]
    unmentioned = _missing(texts, question, _mentions, ignore_case=ignore_case)
    asked = [text for text in texts if text not in unmentioned]
    if not asked:
        return None
    missing = _missing(demand["then_mentions"], answer, _mentions, ignore_case=ignore_case)
    why = _lacks(demand["then_mentions"], missing, wants_all=demand["all"], verb="mention")
    return None if why is None else f"The question mentions {_quoted(asked[:1])}, but {why[0].lower()}{why[1:]}"


def _json_schema(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    return check_shape(demand["schema"], answer) if answer.strip() else _EMPTY


def _labels(demand: Mapping[str, Any], question: str, answer: str) -> str | None:
    bare, labels = answer.strip(), demand["labels"]
    if not bare:
        return _EMPTY
    if bare in labels or (demand["ignore_case"] and normalise(bare) in _normalised(tuple(labels))):
        return None
    return f"“{_short(bare)}” is none of the {len(labels)} labels allowed."


_EMPTY = "The answer is empty."

_KEYS: dict[str, tuple[str, ...]] = {
    "contains": ("texts", "all", "ignore_case"),
    "excludes": ("texts", "ignore_case"),
    "matches": ("pattern", "ignore_case"),
    "avoids": ("pattern", "ignore_case"),
    "length": ("least", "most", "unit"),
    "if_then": ("if_mentions", "then_mentions", "all", "ignore_case"),
    "json_schema": ("schema",),
    "labels": ("labels", "ignore_case"),
}

_READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "contains": _read_contains,
    "excludes": _read_texts,
    "matches": _read_pattern,
    "avoids": _read_pattern,
    "length": _read_length,
    "if_then": _read_if_then,
    "json_schema": _read_schema,
    "labels": _read_labels,
}

_CHECKS: dict[str, Callable[[Mapping[str, Any], str, str], str | None]] = {
    "contains": _contains,
    "excludes": _excludes,
    "matches": _matches,
    "avoids": _avoids,
    "length": _length,
    "if_then": _if_then,
    "json_schema": _json_schema,
    "labels": _labels,
}


def _bad(field: str, sentence: str, expected: str | None = None) -> UserError:
    return UserError("bad_rule", sentence, field, place=Place(expected=expected), reason="bad_config")


def _texts(demand: Mapping[str, Any], name: str, most: int = MOST_TEXTS) -> list[str]:
    texts = demand.get(name)
    if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts or len(texts) > most:
        raise _bad(name, f"Give a list of 1 to {most:,} texts.")
    if any(not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT for text in texts):
        raise _bad(name, f"Each text must have 1 to {LONGEST_TEXT:,} characters.")
    return list(dict.fromkeys(text.strip() for text in texts))


def _flag(demand: Mapping[str, Any], name: str, default: bool) -> bool:
    value = demand.get(name, default)
    if not isinstance(value, bool):
        raise _bad(name, f"{name} is either true or false.")
    return value


def _count(demand: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = demand.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_LENGTH:
        raise _bad(name, f"A length is a whole number from 0 to {LONGEST_LENGTH:,}.")
    return value


@lru_cache(maxsize=256)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    options.case_sensitive = not ignore_case
    return re2.compile(pattern, options)


def _reason(problem: Exception) -> str:
    said = problem.args[0] if problem.args else problem
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _found(demand: Mapping[str, Any], answer: str) -> Any:
    return _compiled(demand["pattern"], demand["ignore_case"]).search(whole_characters(answer[:LONGEST_SEARCHED]))


def _missing(texts: Sequence[str], where: str, holds: Callable[[str, str], bool], *, ignore_case: bool) -> list[str]:
    place = _form(where, ignore_case)
    return [text for text in texts if not holds(place, _form(text, ignore_case))]


def _form(text: str, ignore_case: bool) -> str:
    composed = unicodedata.normalize("NFC", text)
    return composed.casefold() if ignore_case else composed


def _holds(place: str, text: str) -> bool:
    return text in place


def _mentions(place: str, text: str) -> bool:
    """Whether ``text`` stands at the beginning of a word; scripts without spaces have no such beginning."""
    start = place.find(text)
    while start >= 0:
        before = place[start - 1] if start else " "
        if not (before.isalnum() and text[0].isalnum()) or is_unspaced(before) or is_unspaced(text[0]):
            return True
        start = place.find(text, start + 1)
    return False


def _lacks(texts: Sequence[str], missing: Sequence[str], *, wants_all: bool, verb: str) -> str | None:
    if not missing or (not wants_all and len(missing) < len(texts)):
        return None
    if wants_all or len(texts) == 1:
        return f"The answer does not {verb} {_quoted(missing)}."
    return f"The answer {verb}s none of {_quoted(missing)}."


@lru_cache(maxsize=64)
def _normalised(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(normalise(label) for label in labels if normalise(label))


def _quoted(texts: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(f"“{_short(text)}”" for text in texts[:most])
    return shown if len(texts) <= most else f"{shown} and {len(texts) - most} more"


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
