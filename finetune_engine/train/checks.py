"""What a single setting may be: functions that give the value as it is used, or raise ValueError with the rest of a
sentence that begins with the setting's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ALL_LINEAR, WITH_EMBEDDINGS = "all-linear", "all-linear+embeddings"


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from ``low`` to ``high``; 3.0 counts as 3."""

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {value!r}")
        return value

    return check


def number(low: float, high: float, *, above: bool = False) -> Callable[[Any], float]:
    """A number from ``low`` (with ``above``: beyond it) to ``high``."""

    def check(value: Any) -> float:
        bad = isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        if bad or (above and value == low):
            raise ValueError(f"must be a number {'above' if above else 'from'} {low:g} to {high:g}, not {value!r}")
        return float(value)

    return check


def one_of(*allowed: Any) -> Callable[[Any], Any]:
    """One of the values themselves."""

    def check(value: Any) -> Any:
        # True == 1 in Python: compare kinds as well.
        if not any(value == item and type(value) is type(item) for item in allowed):
            raise ValueError(f"must be one of {', '.join(str(item).lower() for item in allowed)}, not {value!r}")
        return value

    return check


def or_auto(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What ``check`` allows, or ``auto``."""
    return lambda value: value if value == "auto" else check(value)


def or_null(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What ``check`` allows, or nothing."""
    return lambda value: None if value is None else check(value)


def modules(value: Any) -> str | list[str]:
    """Which layers get adapters: a word for them, or their names."""
    if value in ("auto", ALL_LINEAR, WITH_EMBEDDINGS):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(name, str) and name for name in value):
        return value
    raise ValueError("must be 'auto', 'all-linear', 'all-linear+embeddings' or a list of module names such as q_proj")
