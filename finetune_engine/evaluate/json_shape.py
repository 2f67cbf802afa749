"""Is an answer JSON of the shape an expert described? Checked so that no schema, however written, can hang the program.

The schema language is JSON Schema (``jsonschema``), with limits: references point inside the schema, patterns are RE2's, and
a check may take MOST_STEPS steps (a short schema that refers to itself twice would else take 2^n; one with thousands of names,
patterns or values that meets a list of thousands of items would take minutes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from finetune_engine.errors import Place, UserError
from finetune_engine.evaluate.texts.words import whole_characters

LONGEST_SCHEMA = 50_000
DEEPEST_SCHEMA = 40
LONGEST_ANSWER = 200_000
LONGEST_PATTERN = 1_000
MOST_STEPS = 50_000
"""Steps of one check. A keyword is one; so are twenty entries of its list, a fault it finds, two names that a pattern looks at,
and the letters of a long text."""
_ENTRIES_PER_STEP = 20
_NAMES_PER_STEP = 2
_LETTERS_PER_STEP = 1_000
_REFUSED = ("$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems")

Keyword = Callable[[Any, Any, Any, Any], Any]


class TooMuchWork(Exception):
    """A check went over MOST_STEPS."""


def shape_of(raw: Any) -> dict[str, Any]:
    """The schema in an object or its JSON text. Raises UserError ``bad_rule`` (field ``schema``) saying what is wrong."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw[: LONGEST_SCHEMA + 1])
        except (ValueError, RecursionError) as problem:
            raise _bad(f"The schema is not JSON: {problem}.") from problem
    if not isinstance(raw, Mapping):
        raise _bad('The schema must be a JSON object, for example {"type": "object", "required": ["amount"]}.')
    schema = dict(raw)
    try:
        size, depth = len(json.dumps(schema, allow_nan=False)), _depth(schema)
    except (TypeError, ValueError, RecursionError) as problem:
        raise _bad("The schema holds something that JSON has no word for.") from problem
    if size > LONGEST_SCHEMA or depth > DEEPEST_SCHEMA:
        raise _bad(f"The schema is too large: at most {LONGEST_SCHEMA:,} characters, {DEEPEST_SCHEMA} levels deep.")
    _check_parts(schema, schema)
    try:
        Draft202012Validator.check_schema(schema, format_checker=None)
    except SchemaError as problem:
        place = "/".join(map(str, problem.absolute_path))
        raise _bad(f"The schema is not valid{f' at {place}' if place else ''}: {_short(problem.message)}.") from problem
    return schema


def check_shape(schema: Mapping[str, Any], answer: str) -> str | None:
    """None when the answer is JSON of this shape; else a plain sentence why not. ``schema`` comes from ``shape_of``."""
    if len(answer) > LONGEST_ANSWER:
        return f"The answer has more than {LONGEST_ANSWER:,} characters: too long to be checked as JSON."
    try:
        value = read_json(answer)
    except ValueError as problem:
        return f"The answer is not JSON: {_short(str(problem))}."
    token = _steps.set([0])
    try:
        fault = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value), None)
    except OverflowError:
        return "The JSON holds a number that is too large to be checked."
    except (TooMuchWork, RecursionError):
        return (
            "Checking this answer against the schema takes too long: it is very large, or the schema refers to itself."
        )
    except Unresolvable:
        return "The schema refers to a part of itself that does not exist."
    finally:
        _steps.reset(token)
    if fault is None:
        return None
    place = "/".join(map(str, fault.absolute_path))
    return f"The JSON is not as demanded{f' at {place}' if place else ''}: {_short(fault.message)}."


def read_json(answer: str) -> Any:
    """The value of an answer that is JSON, alone or as the only thing in a code fence. Raises ValueError otherwise;
    NaN and Infinity are not JSON."""
    text = answer.strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        opening, _, rest = text[3:-3].partition("\n")
        text = rest if opening.strip().lower() in ("", "json") else text
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bad(sentence: str) -> UserError:
    return UserError("bad_rule", sentence, "schema", place=Place(expected="a JSON Schema"), reason="bad_config")


def _depth(value: Any) -> int:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + max((_depth(part) for part in parts), default=0)


def _check_parts(part: Any, whole: Mapping[str, Any]) -> None:
    """Every pattern is one RE2 takes, every reference leads somewhere inside."""
    if isinstance(part, list):
        for item in part:
            _check_parts(item, whole)
    if not isinstance(part, Mapping):
        return
    for name in _REFUSED:
        if name in part and not isinstance(part.get("type"), Mapping):
            raise _bad(f"{name} is not available here; use $ref, additionalProperties or items instead.")
    if isinstance(reference := part.get("$ref"), str) and not _leads_somewhere(reference, whole):
        raise _bad(f"The reference {_short(reference)} does not lead to a part of this schema (#/$defs/name).")
    if isinstance(part.get("$id"), str) and part is not whole:
        raise _bad("Only the whole schema may have an $id.")
    if isinstance(pattern := part.get("pattern"), str):
        _check_pattern(pattern)
    if isinstance(patterns := part.get("patternProperties"), Mapping):
        for pattern in patterns:
            _check_pattern(str(pattern))
    for value in part.values():
        _check_parts(value, whole)


def _leads_somewhere(reference: str, whole: Any) -> bool:
    if not reference.startswith("#/"):
        return reference == "#"
    place = whole
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdigit() and int(name) < len(place):
            place = place[int(name)]
        else:
            return False
    return isinstance(place, Mapping | bool)


def _check_pattern(pattern: str) -> None:
    try:
        _pattern(pattern)
    except re2.error as problem:
        raise _bad(f"The pattern {_short(pattern)} cannot be used: no look-ahead, no back-references.") from problem


@lru_cache(maxsize=4_096)
def _pattern(pattern: str) -> Any:
    if len(pattern) > LONGEST_PATTERN:
        raise re2.error("too long")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 18
    return re2.compile(pattern, options)


_steps: ContextVar[list[int]] = ContextVar("steps of the check going on")


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _spend(1 + (len(value) // _ENTRIES_PER_STEP if isinstance(value, Mapping | list) else 0))
        for fault in keyword(validator, value, instance, schema) or ():
            _spend(1)
            yield fault

    return counted


def _spend(steps: int) -> None:
    spent = _steps.get()
    spent[0] += steps
    if spent[0] > MOST_STEPS:
        raise TooMuchWork


def _is_found(pattern: str, text: str) -> bool:
    _spend(len(text) // _LETTERS_PER_STEP)
    return bool(_pattern(pattern).search(whole_characters(text)))


def _check_text(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _is_found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _check_pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        _spend(len(instance) // _NAMES_PER_STEP)
        for name, value in instance.items():
            if _is_found(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _check_additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    patterns, known = schema.get("patternProperties", {}), schema.get("properties", {})
    extras = []
    for name in instance:
        if name not in known:
            _spend(len(patterns) // _NAMES_PER_STEP)
            if not any(_is_found(pattern, name) for pattern in patterns):
                extras.append(name)
    if isinstance(allowed, Mapping):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        yield ValidationError(f"{', '.join(map(repr, extras[:3]))} is not among the properties allowed")


def _check_unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array"):
        seen = set()
        for item in instance:
            seen.add(written := json.dumps(_plain_number(item), sort_keys=True))
            _spend(len(written) // _LETTERS_PER_STEP)
        if len(seen) < len(instance):
            yield ValidationError("two items of a list are the same")


def _plain_number(value: Any) -> Any:
    # 1 and 1.0 are the same number in JSON Schema.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain_number(item) for name, item in value.items()}
    return [_plain_number(item) for item in value] if isinstance(value, list) else value


_OWN: dict[str, Keyword] = {
    "pattern": _check_text,
    "patternProperties": _check_pattern_properties,
    "additionalProperties": _check_additional,
    "uniqueItems": _check_unique,
}
_Counting = extend(
    Draft202012Validator,
    {name: _counted(keyword) for name, keyword in (dict(Draft202012Validator.VALIDATORS) | _OWN).items()},
)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    return _Counting(json.loads(schema), registry=Registry())


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
