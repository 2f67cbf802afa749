"""JSON schemas that callers send: those that would take too long to make a grammar of are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

MAX_PROPERTIES = 1000
MAX_ENUM_VALUES = 5000
MAX_MULTIPLE = 1000
"""Grammars of large multiples take seconds and gigabytes to build."""

_JOINING = frozenset({"allOf", "anyOf", "oneOf", "$ref"})


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Why a schema would take too long; None when it would not."""
    properties = values = 0
    multiples: list[int] = []
    are_joined = False
    waiting: list[Any] = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            properties += _size(item.get("properties"))
            values += _size(item.get("enum"))
            multiple = item.get("multipleOf")
            if isinstance(multiple, int | float) and multiple > 0:
                multiples.append(_significant(multiple))
            are_joined = are_joined or not _JOINING.isdisjoint(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    if properties > MAX_PROPERTIES:
        return f"it has {properties} properties, the most is {MAX_PROPERTIES}"
    if values > MAX_ENUM_VALUES:
        return f"it has {values} values in 'enum', the most is {MAX_ENUM_VALUES}"
    # Multiples that meet in one number multiply.
    if multiples and (math.prod(multiples) if are_joined else max(multiples)) > MAX_MULTIPLE:
        return f"'multipleOf' may have at most the digits of {MAX_MULTIPLE}"
    return None


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Mapping | list) else 0


def _significant(value: float) -> int:
    """The digits of a number without its point and the zeros at its end."""
    digits = Decimal(str(value)).normalize().as_tuple().digits
    return int("".join(map(str, digits)))
