"""Pages by keyset: next and previous stay quick and steady with a million rows and while rows are added."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError

T = TypeVar("T")
MAX_LIMIT = 500


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows and how to go on. A cursor is None where there is nothing more in that direction."""

    items: Sequence[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def paginate(
    rows: QuerySet[Any], *, order: Sequence[str] = ("-pk",), limit: int = 50, cursor: str | None = None
) -> Page[Any]:
    """One page of ``rows`` in ``order``, after (or before) ``cursor``.

    ``order`` names fields of the model, ``-`` for descending; the last must be unique and none may be NULL.
    ``limit`` is held between 1 and 500. One query, no count and no offset.
    Raises UserError ``bad_cursor`` (400) for a cursor that was not made by this function with the same order.
    """
    limit = min(MAX_LIMIT, max(1, limit))
    backwards, after = _read_cursor(cursor, order, rows.model) if cursor else (False, None)
    wanted = [_turned(name) for name in order] if backwards else list(order)
    found = rows.order_by(*wanted)
    if after is not None:
        found = found.filter(_beyond(wanted, after))
    items = list(found[: limit + 1])
    has_more, items = len(items) > limit, items[:limit]
    if backwards:
        items.reverse()
    if not items:
        return Page(items)
    has_next, has_previous = (True, has_more) if backwards else (has_more, after is not None)
    return Page(
        items,
        next_cursor=_write_cursor("n", order, items[-1]) if has_next else None,
        previous_cursor=_write_cursor("p", order, items[0]) if has_previous else None,
    )


def _turned(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows after ``values`` in ``order``: (a > x) or (a = x and b > y) ..., with a bound that an index can use."""
    any_of, same = Q(pk__in=[]), Q()
    for name, value in zip(order, values, strict=True):
        plain = name.lstrip("-")
        any_of |= same & Q(**{f"{plain}__{'lt' if name.startswith('-') else 'gt'}": value})
        same &= Q(**{plain: value})
    first = order[0].lstrip("-")
    return Q(**{f"{first}__{'lte' if order[0].startswith('-') else 'gte'}": values[0]}) & any_of


def _write_cursor(direction: str, order: Sequence[str], row: Any) -> str:
    values = []
    for name in order:
        plain = name.lstrip("-")
        value = row[plain] if isinstance(row, dict) else getattr(row, plain)
        if value is None:
            raise ValueError(f"Cannot page by {plain}: it is NULL in a row.")
        values.append(value.isoformat() if isinstance(value, datetime | date) else value)
    text = json.dumps([direction, ",".join(order), *values], separators=(",", ":"), default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, order: Sequence[str], model: type[Model]) -> tuple[bool, list[Any]]:
    try:
        raw = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        direction, signature, *values = raw
        if direction not in ("n", "p") or signature != ",".join(order) or len(values) != len(order):
            raise ValueError("a cursor of another list")
        return direction == "p", [
            _field(model, name.lstrip("-")).to_python(value) for name, value in zip(order, values, strict=True)
        ]
    except (ValueError, TypeError, binascii.Error, ValidationError, RecursionError) as error:
        raise UserError(
            "bad_cursor",
            _("This page marker does not belong to this list. Start again from the first page."),
            "cursor",
            status=400,
        ) from error


def _field(model: type[Model], name: str) -> Field[Any, Any]:
    if name == "pk":
        return model._meta.pk  # type: ignore[return-value]  # a concrete model always has one
    field = model._meta.get_field(name.removesuffix("_id") if name.endswith("_id") else name)
    target = getattr(field, "target_field", None)
    return target or field  # type: ignore[return-value]
