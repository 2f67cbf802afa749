"""Checks of single settings: each takes a JSON value and returns it, or raises ValueError with what it must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ALL_LINEAR, WITH_EMBEDDINGS = "all-linear", "all-linear+embeddings"


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from ``low`` to ``high``; 4.0 counts as one."""

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {value!r}")
        return value

    return check


def number(low: float, high: float, *, above: bool = False) -> Callable[[Any], float]:
    """A number from (or above) ``low`` to ``high``."""

    def check(value: Any) -> float:
        bad = isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        if bad or (above and value == low):
            raise ValueError(f"must be a number {'above' if above else 'from'} {low:g} to {high:g}, not {value!r}")
        return float(value)

    return check


def one_of(*allowed: Any) -> Callable[[Any], Any]:
    """One of ``allowed``."""

    def check(value: Any) -> Any:
        # True == 1 in Python: compare kinds as well.
        if not any(value == item and type(value) is type(item) for item in allowed):
            raise ValueError(f"must be one of {', '.join(str(item).lower() for item in allowed)}, not {value!r}")
        return value

    return check


def or_auto(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``auto``, or what ``check`` takes."""
    return lambda value: value if value == "auto" else check(value)


def modules(value: Any) -> str | list[str]:
    """Where adapters sit: in peft's words or by the modules' names."""
    if value in ("auto", ALL_LINEAR, WITH_EMBEDDINGS):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(name, str) and name for name in value):
        return value
    raise ValueError("must be 'auto', 'all-linear', 'all-linear+embeddings' or a list of module names such as q_proj")


def or_null(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Nothing, or what ``check`` takes."""
    return lambda value: None if value is None else check(value)
