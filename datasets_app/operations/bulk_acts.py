"""Acts on many rows at once: in batches with a transaction each, so that nobody waits long, and taken back in one go."""

from __future__ import annotations

import time
from collections import Counter

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import chunks
from datasets_app.choices import Act, Decision, Status
from datasets_app.models import BulkAct, Dataset, Example, RowLock
from datasets_app.operations.decisions import check_ready, count_acts, hold_dataset, move_counters
from datasets_app.queries.rows import RowFilters, example_window, visible
from datasets_app.row_messages import checked_messages
from finetune_engine.errors import UserError

BATCH = 1_000  # rows in one transaction
_TARGETS = {"accept": Status.ACCEPTED, "reject": Status.REJECTED}


def decide_rows(
    *,
    actor: Actor,
    dataset: Dataset,
    filters: RowFilters,
    action: str,
    seconds: float | None = None,
    bulk: BulkAct | None = None,
) -> BulkAct:
    """Accept or reject (``accept``, ``reject``) every undecided row that fits the filters. Rows that somebody has on
    screen are left to them, and rows without a question or an answer are never accepted. Raises UserError for filters
    that narrow nothing.

    Stops after about ``seconds`` (None: not before the end); ``reached_row`` then says where: hand the act in again
    as ``bulk`` to go on. What is done is done, also when the process dies in between.
    """
    if action not in _TARGETS:
        raise UserError("unknown_action", _("Many rows can be accepted or rejected at once."), field="action")
    check_ready(dataset)
    if bulk is None:
        bulk = _begin(actor, dataset, filters, action)
    stop_at = None if seconds is None else time.monotonic() + seconds
    cursor: int | None = bulk.reached_row
    while cursor is not None:
        page = example_window(dataset, cursor, filters, size=BATCH)
        with transaction.atomic():
            hold_dataset(dataset)
            still = BulkAct.objects.filter(pk=bulk.pk, reached_row=cursor)
            if not still.update(reached_row=page.end):  # another request goes on with it, or it is being undone
                break
            moved = _decide_batch(actor, dataset, bulk, page.rows)
            BulkAct.objects.filter(pk=bulk.pk).update(rows=F("rows") + moved)
        cursor = page.end
        if stop_at is not None and time.monotonic() >= stop_at:
            break
    bulk.refresh_from_db()
    return bulk


def undo_bulk(*, actor: Actor, bulk: BulkAct, seconds: float | None = None) -> int:
    """Put every row of the act back to what the checks said, but those that somebody has decided on since. Returns how
    many went back; ``rows`` of the act are then those that stay.

    Stops after about ``seconds`` (None: not before the end); the act has no ``undone_at`` then: call it again.
    Raises UserError (409) for an act that was undone already.
    """
    dataset = bulk.dataset
    check_ready(dataset)
    if bulk.undone_at is not None:
        raise UserError("already_undone", _("This was taken back already."), status=409)
    BulkAct.objects.filter(pk=bulk.pk).update(reached_row=None)  # what was not done yet stays undone
    stop_at = None if seconds is None else time.monotonic() + seconds
    back = 0
    while moved := _undo_batch(actor, dataset, bulk):
        back += moved
        if stop_at is not None and time.monotonic() >= stop_at:
            return back
    BulkAct.objects.filter(pk=bulk.pk, undone_at=None).update(undone_at=timezone.now())
    bulk.refresh_from_db()
    return back


def decide_finding(*, actor: Actor, dataset: Dataset, code: str, action: str, status: str = "") -> int:
    """Accept or reject every undecided row with this finding (only those of ``status`` when given). Returns how many
    rows moved."""
    filters = RowFilters.checked(code=code, status=status)
    return decide_rows(actor=actor, dataset=dataset, filters=filters, action=action).rows


def _begin(actor: Actor, dataset: Dataset, filters: RowFilters, action: str) -> BulkAct:
    if not filters.any:  # a search for a blank must not mean all rows
        sentence = _("Say which rows: choose a status, a finding, a label, a split or a text to search for.")
        raise UserError("missing_filter", sentence, field="status")
    return BulkAct.objects.create(
        dataset=dataset, user=actor.user, action=Act(action), filters=filters.as_dict(), reached_row=0
    )


def _decide_batch(actor: Actor, dataset: Dataset, bulk: BulkAct, numbers: list[int]) -> int:
    """Decide on those of these rows that are undecided and nobody's at this moment. Inside a transaction."""
    target, now = _TARGETS[bulk.action], timezone.now()
    held = RowLock.objects.filter(dataset=dataset, expires_at__gt=now).exclude(user=actor.user)
    rows = visible(dataset).select_for_update().filter(row__in=numbers, decision=Decision.NONE).exclude(status=target)
    rows = rows.exclude(row__in=list(held.values_list("row", flat=True)))
    found = list(rows.only("pk", "row", "status", "chunk", "offset"))
    if target == Status.ACCEPTED:
        found = _acceptable(dataset, found)
    if not found:
        return 0
    Example.objects.filter(pk__in=[example.pk for example in found]).update(
        status=target,
        decision=Decision(bulk.action),
        decided_by=actor.user,
        decided_at=now,
        bulk_act=bulk,
        assigned_to=None,
    )
    old = Counter(example.status for example in found)
    move_counters(dataset, old, target)
    count_acts(dataset, actor.user, decided=len(found), settled=old[Status.NEEDS_REVIEW])
    _record(actor, dataset, bulk, f"rows.{bulk.action}", len(found))
    return len(found)


def _acceptable(dataset: Dataset, found: list[Example]) -> list[Example]:
    """Without the rejected rows that nobody could learn from: those are read and looked at."""
    doubtful = [example for example in found if example.status == Status.REJECTED]
    if not doubtful:
        return found
    texts = chunks.row_texts(dataset, doubtful)
    unusable = set()
    for example in doubtful:
        try:
            checked_messages(texts[example.row].messages, is_plain_text=dataset.is_plain_text)
        except UserError:
            unusable.add(example.pk)
    return [example for example in found if example.pk not in unusable]


def _undo_batch(actor: Actor, dataset: Dataset, bulk: BulkAct) -> int:
    with transaction.atomic():
        hold_dataset(dataset)
        rows = Example.objects.select_for_update().filter(bulk_act=bulk, import_attempt=dataset.visible_attempt)
        found = list(rows.order_by("row").values_list("pk", "status", "checked_status")[:BATCH])
        if not found:
            return 0
        back: dict[tuple[str, str], list[int]] = {}
        for pk, status, checked in found:
            back.setdefault((status, checked), []).append(pk)
        settled = 0
        for (status, checked), pks in back.items():
            Example.objects.filter(pk__in=pks).update(
                status=checked, decision=Decision.NONE, decided_by=None, decided_at=None, bulk_act=None
            )
            move_counters(dataset, Counter({status: len(pks)}), Status(checked))
            settled += len(pks) if checked == Status.NEEDS_REVIEW else 0
        count_acts(dataset, bulk.user, decided=-len(found), settled=-settled)
        BulkAct.objects.filter(pk=bulk.pk).update(rows=F("rows") - len(found))
        _record(actor, dataset, bulk, "rows.undo", len(found))
    return len(found)


def _record(actor: Actor, dataset: Dataset, bulk: BulkAct, act: str, rows: int) -> None:
    """One entry for each batch, in its transaction: an act that breaks off is in the audit trail as far as it came."""
    record(
        actor=actor,
        project=actor.project,
        act=act,
        subject=f"dataset {dataset.pk}",
        data={
            "bulk": bulk.pk,
            "filters": {name: v for name, v in bulk.filters.items() if name != "q"},
            "rows": rows,
        },
    )
