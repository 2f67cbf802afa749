"""Turning a JSON parser's complaint into a sentence a person can act on."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from finetune_engine.data.records import Finding, kind_of, quoted

_EXPECTED = {
    "Expecting ',' delimiter": "a comma or a closing bracket",
    "Expecting ':' delimiter": "a colon",
    "Expecting value": "a value",
    "Expecting property name enclosed in double quotes": "a name in double quotes",
    "Illegal trailing comma before end of object": "no comma before the closing bracket",
    "Illegal trailing comma before end of array": "no comma before the closing bracket",
    "Invalid control character at": "a visible character (write line breaks as \\n and tabs as \\t)",
    "Invalid \\escape": 'one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u',
    "Invalid \\uXXXX escape": "\\u and four hexadecimal digits",
    "Extra data": "the end of the row",
}
MAX_DEPTH = 100
_FIX = "Mend the line or remove it."


class _Special(ValueError):
    """NaN or Infinity where JSON allows only numbers."""


def _refuse(constant: str) -> Any:
    raise _Special(constant)


def explain(text: str, complaint: str, position: int) -> Finding:
    """The finding for a text that a strict parser refused with ``complaint`` at character ``position``."""
    if "depth" in complaint or "recursion" in complaint.lower():
        return _finding(position, "more than 1,000 brackets inside one another", "a flat object")
    if "surrogate" in complaint:
        return _finding(
            position, "half of a two-part character (a lone \\ud800–\\udfff)", "a whole character", code="encoding"
        )
    try:
        json.loads(text, parse_constant=_refuse)
    except _Special as special:
        match = re.search(rf"(?<![\w\"]){re.escape(str(special))}\b", text)
        return _finding(match.start() if match else position, str(special), "a number, a text or null")
    except json.JSONDecodeError as error:
        return _from_python(text, error)
    except RecursionError:
        return _finding(position, "too many brackets inside one another", "a flat object")
    except ValueError:
        return _finding(position, "a number with too many digits", "a shorter number")
    return _finding(position, _at(text, position), "valid JSON")


def _from_python(text: str, error: json.JSONDecodeError) -> Finding:
    if error.msg.startswith("Unterminated string"):
        return _finding(len(text), "the end of the line", "a closing quote")
    expected = _EXPECTED.get(error.msg, "valid JSON")
    if error.msg.startswith("Invalid control") and text[error.pos] in "\r\n":
        return _finding(error.pos, "a line break", "a closing quote (or \\n inside the text)")
    before = text[: error.pos].rstrip()
    here = text[error.pos : error.pos + 1]
    if here in "]}" and before.endswith(",") and here:
        return _finding(len(before) - 1, f"a comma before {quoted(here)}", "no comma before the closing bracket")
    return _finding(error.pos, _at(text, error.pos), expected)


def _at(text: str, position: int) -> str:
    here = text[position : position + 1]
    if not here.strip() and position >= len(text.rstrip()):
        return "the end of the line"
    if ord(here) < 32:
        return {"\t": "a tab", "\n": "a line break", "\r": "a line break", "\0": "a NUL character"}.get(
            here, "an invisible control character"
        )
    word = re.match(r"\w+", text[position : position + 20])
    return quoted(word.group() if word else here)


def _finding(position: int, found: str, expected: str, code: str = "invalid_json") -> Finding:
    column = position + 1
    return Finding(
        code,
        f"is not valid JSON: found {found} at column {column} where {expected} was expected. {_FIX}",
        column=str(column),
        found=found,
        expected=expected,
        fix=_FIX,
    )


def duplicate_keys(text: str | bytes, parsed: dict[str, Any]) -> list[str]:
    """Names that stand twice in one object of ``text``.

    Counting ``":`` is cheap and never below the truth for ordinary JSON; only a surplus is looked at closely.
    """
    marks = (
        (text.count(b'":') + text.count(b'" :')) if isinstance(text, bytes) else text.count('":') + text.count('" :')
    )
    if marks <= _keys(parsed):
        return []
    twice: list[str] = []

    def watch(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            seen: set[str] = set()
            twice.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return out

    json.loads(text, object_pairs_hook=watch)
    return twice


def _keys(value: Any) -> int:
    """How many names there are in all objects inside ``value``."""
    count = 0
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            count += len(inner)
            waiting.extend(v for v in inner.values() if isinstance(v, dict | list))
        else:
            waiting.extend(v for v in inner if isinstance(v, dict | list))
    return count


def too_deep(text: str | bytes, value: Any) -> Finding | None:
    """A finding when ``value`` has more than ``MAX_DEPTH`` objects or lists inside one another.

    ``text`` is what it was read from: few brackets mean that nothing needs to be looked at.
    """
    brackets = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return None
    waiting = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return Finding(
                "data_type",
                f"has more than {MAX_DEPTH} objects or lists inside one another. Write it flat.",
                found=f"more than {MAX_DEPTH} levels",
                expected="a flat object",
                fix="Write it flat.",
            )
        parts = inner.values() if isinstance(inner, dict) else inner
        waiting.extend((part, depth + 1) for part in parts if isinstance(part, dict | list))
    return None


def duplicate_key_finding(names: list[str]) -> Finding:
    """The finding for names that stand twice."""
    return Finding(
        "duplicate_key",
        f"has the name {quoted(names[0])} twice; the last value was kept. Remove one of the two.",
        column=names[0],
        found=f"{quoted(names[0])} twice",
        expected="each name once",
        fix="Remove one of the two.",
    )


def loads(data: bytes) -> Any:
    """Strict and fast. Raises orjson.JSONDecodeError."""
    return orjson.loads(data)


def not_an_object(value: Any) -> Finding:
    """The finding for a row that is valid JSON but not ``{...}``."""
    kind = "null" if value is None else kind_of(value)
    return Finding(
        "data_type",
        f'is {kind}, not an object with named fields. Write it as {{"name": value, ...}}.',
        found=kind,
        expected="an object with named fields",
        fix='Write it as {"name": value, ...}.',
    )
