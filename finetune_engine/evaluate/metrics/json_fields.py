"""Answers that should be JSON: whether they are, and which fields and values they got right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from finetune_engine.evaluate.json_shape import read_json
from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured, each, mean_over
from finetune_engine.evaluate.texts.words import normalise

Paths = Counter[tuple[str, ...]]


def json_valid(answer: str) -> bool:
    """Whether the answer is JSON, alone or in one code fence."""
    try:
        read_json(answer)
    except ValueError:
        return False
    return True


def schema_f1(answer: str, reference: str) -> float:
    """F1 over the names and kinds of fields, whatever their values; 0 for an answer that is not JSON."""
    return _f1(answer, reference, with_values=False)


def field_f1(answer: str, reference: str) -> float:
    """F1 over fields with their values (texts but for case and punctuation); 0 for an answer that is not JSON."""
    return _f1(answer, reference, with_values=True)


def _f1(answer: str, reference: str, *, with_values: bool) -> float:
    try:
        said, wanted = (_leaves(read_json(text), with_values) for text in (answer, reference))
    except (ValueError, RecursionError):
        return 0.0
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((said & wanted).values())
    return 2 * shared / (sum(said.values()) + sum(wanted.values()))


def _leaves(value: Any, with_values: bool, path: tuple[str, ...] = ()) -> Paths:
    """Every end of the tree with the way to it; items of a list are alike whatever their order."""
    found: Paths = Counter()
    parts = (
        value.items()
        if isinstance(value, Mapping)
        else (("[]", item) for item in value)
        if isinstance(value, list)
        else None
    )
    if parts is None or not value:
        found[(*path, _leaf(value, with_values))] += 1 if path or with_values else 0
        return +found
    for name, item in parts:
        found.update(_leaves(item, with_values, (*path, name)))
    return found


def _leaf(value: Any, with_values: bool) -> str:
    if isinstance(value, bool) or value is None or not isinstance(value, str | int | float):
        return json.dumps(value) if with_values else type(value).__name__
    if isinstance(value, str):
        return f"text {normalise(value) or value.strip()}" if with_values else "text"
    return f"number {_number(value)!r}" if with_values else "number"


def _number(value: int | float) -> int | float:
    """1 and 1.0 are one number; a whole number too large for a float stays whole."""
    try:
        return float(value)
    except OverflowError:
        return value


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


class _JsonMetric:
    unit = "share"
    higher_is_better = True
    task_types = TEXT_TASKS

    def suits(self, material: Material) -> bool:
        """When every reference is a JSON object."""
        return material.once("json references", lambda: all(map(_is_object, material.references)))


class JsonValid(_JsonMetric):
    """Share of answers that are JSON at all."""

    name = "json_valid"
    is_proportion = True

    def measure(self, material: Material) -> Measured:
        """The share of readable answers."""
        return mean_over([float(json_valid(answer)) for answer in material.answers], "parses as JSON, alone or fenced")


class SchemaF1(_JsonMetric):
    """Mean of ``schema_f1`` over the cases."""

    name = "schema_f1"
    is_proportion = False

    def measure(self, material: Material) -> Measured:
        """The mean over the cases."""
        return mean_over(each(schema_f1, material), "F1 over field paths and kinds; not JSON: 0")


class FieldF1(_JsonMetric):
    """Mean of ``field_f1`` over the cases."""

    name = "field_f1"
    is_proportion = False

    def measure(self, material: Material) -> Measured:
        """The mean over the cases."""
        return mean_over(each(field_f1, material), "F1 over fields with values, texts normalised; not JSON: 0")
