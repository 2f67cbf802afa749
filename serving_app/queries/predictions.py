"""The prediction log, searched and narrowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from accounts_app.models import Project
from finetune_engine.errors import UserError
from serving_app.choices import CacheKind, Door, Verdict
from serving_app.models import LogPolicy, Prediction, TrafficBucket
from web_kit.ids import ID_LENGTH

SEARCHED = 200_000
"""The newest rows that a search for a text looks through; a date narrows it to older ones."""
NONE = "none"
STATUS_GROUPS = {
    "ok": Q(status=200),
    "refused": Q(status__gte=400, status__lt=499),
    "left": Q(status=499),
    "failed": Q(status__gte=500),
}
_BATCH = 500


@dataclass(frozen=True)
class LogFilters:
    """What is wanted of the log; an empty field asks for nothing. ``q``: a text, or a request id. ``verdict``: good, bad or none.
    ``status``: ok, refused, failed, left or a number. ``cached``: yes, no, exact or semantic. ``human``: yes, waiting or
    no. ``below``: a confidence under this (0..1 or percent). ``door``; ``key``: the id of a key; ``since`` and ``until``:
    days or moments, both included."""

    q: str = ""
    model: str = ""
    verdict: str = ""
    status: str = ""
    cached: str = ""
    human: str = ""
    below: str = ""
    door: str = ""
    key: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LogFilters:
        """From a query string; what is unknown there is left alone."""
        return cls(
            **{one.name: str(given.get(one.name) or "").replace("\x00", "").strip()[:300] for one in fields(cls)}
        )

    def given(self) -> dict[str, str]:
        """The fields that ask for something."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name))}


def predictions_matching(project: Project, filters: LogFilters) -> QuerySet[Prediction]:
    """The log as ``filters`` narrow it, the newest first. Raises UserError naming the filter that cannot be read."""
    rows = Prediction.objects.filter(project=project).select_related("api_key", "user")
    rows = _narrowed(rows, filters)
    if filters.q:
        rows = _searched(rows, filters.q)
    return rows.order_by("-id")


def _narrowed(rows: QuerySet[Prediction], wanted: LogFilters) -> QuerySet[Prediction]:
    if wanted.model:
        rows = rows.filter(model_name=wanted.model)
    if wanted.verdict:
        _among("verdict", wanted.verdict, [*Verdict.values, NONE])
        rows = rows.filter(verdict="" if wanted.verdict == NONE else wanted.verdict)
    if wanted.status:
        rows = rows.filter(_status(wanted.status))
    if wanted.cached:
        _among("cached", wanted.cached, ["yes", "no", *CacheKind.values])
        rows = rows.filter(
            **{"cached": wanted.cached == "yes"} if wanted.cached in ("yes", "no") else {"cache_kind": wanted.cached}
        )
    if wanted.human:
        _among("human", wanted.human, ["yes", "no", "waiting"])
        rows = rows.filter(needs_human=wanted.human != "no")
        rows = rows.filter(handled_at=None) if wanted.human == "waiting" else rows
    if wanted.below:
        rows = rows.annotate(sure=Coalesce(F("calibrated"), F("confidence"))).filter(sure__lt=_share(wanted.below))
    if wanted.door:
        _among("door", wanted.door, Door.values)
        rows = rows.filter(door=wanted.door)
    if wanted.key:
        rows = rows.filter(api_key=wanted.key)
    if wanted.since:
        rows = rows.filter(at__gte=moment_of(wanted.since, "since"))
    if wanted.until:
        rows = rows.filter(at__lt=moment_of(wanted.until, "until", is_end=True))
    return rows


def _searched(rows: QuerySet[Prediction], text: str) -> QuerySet[Prediction]:
    """A request id is found at once; a text is looked for in the newest rows."""
    if len(text) == ID_LENGTH and text.isascii() and text.isalnum():
        by_id = rows.filter(request_id=text.lower())
        if by_id.exists():
            return by_id  # else a long word may look like an id
    newest = rows.order_by("-id").values_list("id", flat=True)
    oldest = next(iter(newest[SEARCHED : SEARCHED + 1]), 0)
    found = Q(question_text__icontains=text) | Q(output__icontains=text) | Q(correction__icontains=text)
    return rows.filter(found, id__gt=oldest)


def _among(name: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise UserError("bad_filter", _("%(value)s is not one of: %(known)s.") % {
            "value": value, "known": ", ".join(known)}, field=name)  # fmt: skip


def _status(text: str) -> Q:
    if text in STATUS_GROUPS:
        return STATUS_GROUPS[text]
    if not text.isdecimal() or len(text) != 3:
        _among("status", text, list(STATUS_GROUPS))
    return Q(status=int(text))


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = float("nan")
    value = value / 100 if value > 1 or text.endswith("%") else value
    if not 0 <= value <= 1:
        raise UserError("bad_filter", _("A confidence is between 0 and 100 percent."), field="below")
    return value


def moment_of(text: str, name: str, *, is_end: bool = False) -> datetime:
    """A day or a moment of a filter; the end of a day where ``is_end``. Raises UserError naming the filter."""
    try:
        day: date | None = parse_date(text)
        moment = parse_datetime(text.replace(" ", "+")) if day is None else None
    except ValueError:
        day = moment = None
    found = day or moment
    if found is None or not 2000 <= found.year < 3000:
        raise UserError("bad_filter", _("Write a day as 2026-01-31, or a moment as 2026-01-31T09:30:00Z."), field=name)
    if day is not None:
        start = datetime.combine(day, time(), UTC)
        return start + timedelta(days=1) if is_end else start
    assert moment is not None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def logged_models(project: Project) -> list[str]:
    """Names of models that were asked; from the counts, so that a long log is not read."""
    rows = TrafficBucket.objects.filter(project=project).exclude(model_name="")  # refused before its model was known
    return list(rows.order_by("model_name").values_list("model_name", flat=True).distinct()[:200])


def log_policy(project: Project) -> LogPolicy:
    """How the project keeps its log; one that is not stored yet where nobody decided."""
    return LogPolicy.objects.filter(project=project).first() or LogPolicy(project=project)


def in_batches(rows: QuerySet[Prediction]) -> Iterator[list[Prediction]]:
    """All of the rows, the newest first, some at a time and each time by a query of its own: a slow reader holds nothing open."""
    before: int | None = None
    while True:
        batch = list((rows if before is None else rows.filter(id__lt=before)).order_by("-id")[:_BATCH])
        if not batch:
            return
        yield batch
        before = batch[-1].pk
