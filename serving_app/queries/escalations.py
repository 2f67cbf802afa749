"""The answers that wait for a person."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db.models import F, FloatField, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts_app.models import Project, User
from serving_app.models import Prediction

OLDEST, LEAST_SURE = "oldest", "least_sure"
ORDERS = {OLDEST: ("id",), LEAST_SURE: ("sureness", "id")}
UNKNOWN = -1.0
"""Sorts before every confidence: nobody knows how sure the model was."""
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class QueueCounts:
    """How many answers wait (``is_more``: that many or more), and how many were handled today, by all and by this person."""

    waiting: int
    is_more: bool
    handled_today: int
    mine_today: int


def to_check_of(project: Project, order: str = OLDEST) -> QuerySet[Prediction]:
    """Answers that fell below the threshold and that nobody has handled, in this order (one of ORDERS). ``sureness`` is the
    calibrated confidence, else the model's own, else UNKNOWN."""
    return _with_sureness(Prediction.objects.filter(_waits(), project=project)).order_by(*ORDERS.get(order, ("id",)))


def next_to_check(project: Project, order: str = OLDEST, after: Prediction | None = None) -> Prediction | None:
    """The first that waits behind ``after`` in this order; when there is none behind it, the first of all. None when nothing
    waits."""
    rows = to_check_of(project, order).select_related("deployment", "api_key", "user")
    if after is not None:
        behind = rows.filter(_behind(order, after)).first()
        if behind is not None:
            return behind
    return rows.first()


def last_handled_by(project: Project, user: User | None) -> Prediction | None:
    """The answer that this person decided on last; what undo takes back."""
    if user is None:
        return None
    rows = Prediction.objects.filter(project=project, needs_human=True, handled_by=user).exclude(handled_at=None)
    return rows.order_by("-handled_at").first()


def queue_counts(project: Project, user: User | None) -> QueueCounts:
    """Counts for the head of the page."""
    waiting = Prediction.objects.filter(_waits(), project=project)[: MOST_COUNTED + 1].count()
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    today = Prediction.objects.filter(project=project, needs_human=True, handled_at__gte=midnight)
    mine = today.filter(handled_by=user).count() if user is not None else 0
    return QueueCounts(min(waiting, MOST_COUNTED), waiting > MOST_COUNTED, today.count(), mine)


def _waits() -> Q:
    return Q(needs_human=True, handled_at=None, status=200, shadow_of="")


def _with_sureness(rows: QuerySet[Prediction]) -> QuerySet[Prediction]:
    unknown: Any = Value(UNKNOWN, output_field=FloatField())
    return rows.annotate(sureness=Coalesce(F("calibrated"), F("confidence"), unknown))


def _behind(order: str, after: Prediction) -> Q:
    if order != LEAST_SURE:
        return Q(id__gt=after.pk)
    known = after.calibrated if after.calibrated is not None else after.confidence
    sureness = UNKNOWN if known is None else known
    return Q(sureness__gt=sureness) | Q(sureness=sureness, id__gt=after.pk)


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str


def conversation_of(prediction: Prediction) -> list[Turn]:
    """What came before the answer, in order; empty where the log keeps no texts."""
    told = prediction.input.get("messages")
    if isinstance(told, list):
        return [Turn(str(one.get("role") or ""), _said(one)) for one in told if isinstance(one, dict)]
    asked = next((found for name in ("prompt", "text", "texts") if (found := prediction.input.get(name))), "")
    return [Turn("user", _text(asked))] if asked else []


def _said(message: dict[str, Any]) -> str:
    """A message's text, or the calls of tools that it makes instead."""
    calls = message.get("tool_calls")
    return _text(message.get("content")) or (json.dumps(calls, ensure_ascii=False) if calls else "")


def _text(content: Any) -> str:
    """Plain text of a content, which may be a list of typed parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") if isinstance(part, dict) else str(part) for part in content)
    return str(content or "")
