"""Single values of a request body: each read strictly, each refused by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from finetune_engine.errors import UserError

MAX_DEPTH = 100
"""How deep the lists and objects of a body may lie in each other."""


def checked_body(body: Any) -> Mapping[str, Any]:
    """The body as an object. Raises UserError for anything else, and for what JSON libraries let through but no model can
    read: half characters, numbers that are none, bottomless nesting."""
    if not isinstance(body, Mapping):
        raise UserError("invalid_body", "The request body must be a JSON object.", status=400)
    for name, value in body.items():
        if isinstance(value, dict | list):
            _check_depth(name, value)
    try:
        # Much faster than looking at every value: half characters are refused, numbers that are none become null.
        is_sound = b"null" not in orjson.dumps(body)
    except TypeError:
        is_sound = False
    if not is_sound:
        _check_values(body)
    return body


def _check_depth(name: str, value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for parent in level if isinstance(parent, Mapping | list) for item in _inside(parent)]
        if not level:
            return
    raise bad(_sendable(name), f"'{_sendable(name)}' is nested deeper than {MAX_DEPTH} levels.")


def _inside(parent: Mapping[str, Any] | list[Any]) -> list[Any]:
    items = parent.values() if isinstance(parent, Mapping) else parent
    return [item for item in items if isinstance(item, dict | list)]


def _check_values(body: Mapping[str, Any]) -> None:
    waiting: list[tuple[str, Any]] = [("body", name) for name in body] + list(body.items())
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            _check_text(place, value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise bad(_sendable(place), f"'{_sendable(place)}' is {value}; it must be a finite number.")
        elif isinstance(value, list):
            waiting.extend((f"{place}[{position}]", item) for position, item in enumerate(value))
        elif isinstance(value, Mapping):
            waiting.extend((place, name) for name in value)
            waiting.extend((f"{place}.{name}", item) for name, item in value.items())


def _check_text(place: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        place = _sendable(place)
        sentence = (
            f"'{place}' holds half a character (a lone surrogate) at position {problem.start}. Send whole characters."
        )
        raise bad(place, sentence) from problem


def _sendable(place: str) -> str:
    """A place in words that every encoding and every log can take."""
    return place.encode("ascii", "backslashreplace").decode()[:200]


def bad(field: str, sentence: str, *, missing: bool = False) -> UserError:
    """A value that is not taken."""
    code = "missing_required_parameter" if missing else "invalid_value"
    return UserError(code, sentence, field, reason="bad_config", status=400)


def unsupported(field: str, sentence: str) -> UserError:
    """Something that is understood and cannot be done."""
    return UserError("unsupported_parameter", sentence, field, reason="bad_config", status=400)


def refuse_unsupported(
    values: Mapping[str, Any],
    understood: frozenset[str],
    neutral: Mapping[str, tuple[Any, ...]],
    why: Mapping[str, str],
) -> None:
    """Refuse every parameter that would not be honoured.

    ``neutral`` has the known ones that are not, with the values that ask for nothing; ``why`` a sentence for some of them.
    """
    if values.keys() <= understood:
        return
    for name, value in values.items():
        if name in understood or (name in neutral and (value is None or value in neutral[name])):
            continue
        if name in neutral:
            plain = f"'{name}' is not supported with this value. Leave it out and send again."
            raise unsupported(name, why.get(name, plain))
        sentence = f"Unknown parameter '{name[:64]}'. Check its spelling or leave it out."
        raise UserError("unknown_parameter", sentence, name[:64], reason="bad_config", status=400)


def flag(values: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """True or false."""
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise bad(name, f"'{name}' must be true or false.")
    return value


def integer(values: Mapping[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    """A whole number, or None where there is none."""
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise bad(name, f"'{name}' must be a whole number {span}.")
    return value


def number(values: Mapping[str, Any], name: str, low: float, high: float, default: float) -> float:
    """A number between two bounds, both included."""
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(name, f"'{name}' must be a number.")
    if not low <= value <= high:  # NaN is none either; a whole number may have more digits than a float can hold
        raise bad(name, f"'{name}' must lie between {low:g} and {high:g}; it is {value!s:.24}.")
    return float(value)


def model_name(values: Mapping[str, Any]) -> str:
    """The model that is asked."""
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise bad("model", "'model' must name the model that should answer.", missing="model" not in values)
    return model


def check_text_map(values: Mapping[str, Any], name: str) -> None:
    """``metadata`` as OpenAI takes it: up to 16 short texts by name."""
    value = values.get(name)
    if value is None:
        return
    texts = isinstance(value, Mapping) and all(isinstance(item, str) and len(item) <= 512 for item in value.values())
    if not texts or len(value) > 16 or any(len(key) > 64 for key in value):
        raise bad(name, f"'{name}' must be an object of at most 16 texts (names up to 64 characters, texts up to 512).")


def check_text(values: Mapping[str, Any], name: str) -> None:
    """A text or nothing."""
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise bad(name, f"'{name}' must be a text.")
