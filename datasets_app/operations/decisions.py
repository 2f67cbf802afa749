"""What people say about single rows. The counters on the dataset move with every decision, and every decision is
kept as an act that can be taken back."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import User
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import chunks
from datasets_app.choices import Act, DatasetState, Decision, Status, TaskType
from datasets_app.models import BulkAct, Dataset, Draft, Example, ReviewAct, ReviewTally, RowLock
from datasets_app.row_messages import checked_messages, with_texts
from finetune_engine.errors import UserError

LONGEST_LEAD_SECONDS = 86_400.0


def decide_example(
    *,
    actor: Actor,
    dataset: Dataset,
    example: Example,
    action: str,
    lead_seconds: float | None = None,
    only_undecided: bool = False,
) -> Example:
    """Accept or reject one row (``accept``, ``reject``). An edit that was made before stays.

    ``only_undecided`` refuses a row that somebody else decided on meanwhile; the same decision of the same person
    again is no mistake and changes nothing. Raises UserError for another action, for accepting a row without a
    question or an answer, and for a row that lies on somebody else's screen.
    """
    statuses = {"accept": Status.ACCEPTED, "reject": Status.REJECTED}
    if action not in statuses:
        raise UserError("unknown_action", _("A row can be accepted, rejected, edited or undone."), field="action")
    check_ready(dataset)
    if action == "accept" and example.checked_status == Status.REJECTED:
        _check_acceptable(dataset, example)
    decision = Decision.EDIT if example.edited_messages is not None and action == "accept" else Decision(action)
    return _change(
        actor,
        dataset,
        example,
        Act(action),
        lead_seconds=lead_seconds,
        only_undecided=only_undecided,
        values={"status": statuses[action], "decision": decision},
    )


def edit_example(
    *,
    actor: Actor,
    dataset: Dataset,
    example: Example,
    messages: list[dict[str, Any]] | None = None,
    prompt: str | None = None,
    answer: str | None = None,
    lead_seconds: float | None = None,
    only_undecided: bool = False,
) -> Example:
    """Give a row another text, and accept it; the original is kept. Either all ``messages``, or ``prompt`` (the last
    question) and/or ``answer``. Of a classification the answer is the label.

    Raises UserError naming the field when the messages cannot be trained on, and as ``decide_example`` does.
    """
    check_ready(dataset)
    if messages is None:
        messages = with_texts(current_messages(dataset, example), prompt, answer)
    clean = checked_messages(messages, is_plain_text=dataset.is_plain_text)
    has_label = dataset.task_type == TaskType.CLASSIFICATION
    values = {
        "status": Status.ACCEPTED,
        "decision": Decision.EDIT,
        "edited_messages": clean,
        "edited_label": str(clean[-1]["content"]) if has_label else None,
    }
    return _change(
        actor, dataset, example, Act.EDIT, lead_seconds=lead_seconds, only_undecided=only_undecided, values=values
    )


def undo_decision(*, actor: Actor, dataset: Dataset, example: Example) -> Example:
    """Put a row back to what the checks said, without its edit."""
    check_ready(dataset)
    values = {
        "status": Status(example.checked_status),
        "decision": Decision.NONE,
        "edited_messages": None,
        "edited_label": None,
    }
    return _change(actor, dataset, example, Act.UNDO, values=values)


def undo_act(*, actor: Actor, dataset: Dataset, act: ReviewAct) -> Example:
    """Take one act back: the row is again what it was before it.

    Raises UserError (409) when the act was taken back already or the row has changed since, and 404 when the row is
    gone.
    """
    check_ready(dataset)
    with transaction.atomic():
        example = _lock_row(dataset, act.row)
        if not ReviewAct.objects.filter(pk=act.pk, undone_at=None).update(undone_at=timezone.now()):
            raise UserError("already_undone", _("This was taken back already."), status=409)
        if act.action == Act.SKIP:
            count_acts(dataset, act.user, skipped=-1)
            return example
        _check_unchanged_since(dataset, example, act)
        old, values = example.status, _values_before(act.before, example)
        Example.objects.filter(pk=example.pk).update(**values)
        move_counters(dataset, Counter({old: 1}), Status(values["status"]))
        count_acts(dataset, act.user, decided=-1, settled=_settled(old, values["status"]))
        _record(actor, dataset, example, "example.undo", old, values["status"])
    example.refresh_from_db()
    return example


def current_messages(dataset: Dataset, example: Example) -> list[dict[str, Any]]:
    """The row as it would be trained on: with its edit, if there is one."""
    if example.edited_messages is not None:
        return list(example.edited_messages)
    return chunks.row_texts(dataset, [example])[example.row].messages


def check_ready(dataset: Dataset) -> None:
    """Raises UserError (409) while the rows are not there yet."""
    if dataset.state != DatasetState.READY:
        raise UserError("dataset_not_ready", _("The rows can be decided on once the check is done."), status=409)


def hold_dataset(dataset: Dataset) -> None:
    """Nobody else changes rows or counters of this dataset before the current transaction ends. Raises UserError (409)
    when it was checked again or deleted since it was read: its rows are others by now."""
    held = Dataset.objects.select_for_update(no_key=True).filter(pk=dataset.pk)
    now = held.values_list("import_attempt", "state", "deleted_at").first()
    if now != (dataset.import_attempt, DatasetState.READY, None):
        sentence = _("The dataset was checked again meanwhile. Load the page again; nothing was changed.")
        raise UserError("checked_again", sentence, status=409)


def move_counters(dataset: Dataset, moved: Counter[str], target: Status) -> None:
    """``moved`` rows, by the status they had, are now ``target``. Inside a transaction."""
    changes: dict[str, Any] = {name: F(name) - n for name, n in moved.items() if name != target and n}
    arrived = sum(n for name, n in moved.items() if name != target)
    if arrived:
        changes[target.value] = F(target.value) + arrived
        Dataset.objects.filter(pk=dataset.pk).update(**changes)
        dataset.refresh_from_db(fields=list(Status.values))


def count_acts(dataset: Dataset, user: User | None, *, decided: int = 0, skipped: int = 0, settled: int = 0) -> None:
    """Add to what this person (None: a key that is nobody's) did today. Inside a transaction."""
    changes = {
        "decided": F("decided") + decided,
        "skipped": F("skipped") + skipped,
        "settled": F("settled") + settled,
    }
    today = ReviewTally.objects.filter(dataset=dataset, user=user, day=timezone.now().date())
    first = today.order_by("pk").values("pk")[:1]
    if ReviewTally.objects.filter(pk__in=list(first.values_list("pk", flat=True))).update(**changes):
        return
    try:
        with transaction.atomic():
            ReviewTally.objects.create(
                dataset=dataset, user=user, day=timezone.now().date(), decided=decided, skipped=skipped, settled=settled
            )
    except IntegrityError:  # the same person's other window was first
        today.update(**changes)


def state_of(example: Example) -> dict[str, Any]:
    """What a row is, for an act's ``before``."""
    return {
        "status": example.status,
        "decision": example.decision,
        "edited_messages": example.edited_messages,
        "edited_label": example.edited_label,
        "assigned_to": example.assigned_to_id,
        "bulk_act": example.bulk_act_id,
        "decided_by": example.decided_by_id,
        "decided_at": example.decided_at.isoformat() if example.decided_at else None,
    }


def checked_lead(lead_seconds: float | None) -> float | None:
    """Seconds that make sense, else None."""
    if lead_seconds is None or not 0 <= lead_seconds <= LONGEST_LEAD_SECONDS:
        return None
    return lead_seconds


def _lock_row(dataset: Dataset, row: int) -> Example:
    hold_dataset(dataset)
    rows = Example.objects.select_for_update().filter(dataset=dataset, import_attempt=dataset.visible_attempt, row=row)
    example = rows.first()
    if example is None:
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": row}, status=404)
    return example


def _check_unchanged_since(dataset: Dataset, example: Example, act: ReviewAct) -> None:
    newer = ReviewAct.objects.filter(dataset=dataset, row=act.row, pk__gt=act.pk, undone_at=None)
    newer = newer.exclude(action=Act.SKIP).select_related("user").order_by("-pk")
    by = newer.first()
    expected = None if act.action == Act.UNDO else act.created_at
    if by is None and example.decided_at == expected:
        return
    if by is not None and by.user is not None:
        sentence = _("%(person)s has changed row %(n)s since. It stays as it is now.")
        raise UserError("changed_since", sentence % {"person": by.user, "n": act.row}, status=409)
    sentence = _("Row %(n)s has changed since. It stays as it is now.") % {"n": act.row}
    raise UserError("changed_since", sentence, status=409)


def _values_before(before: dict[str, Any], example: Example) -> dict[str, Any]:
    """The row's columns as they were; where nobody had decided, what the checks say by now (they may have run again). A
    decision for many rows that was undone meanwhile does not come back."""
    bulk = before.get("bulk_act")
    is_undone = bulk is not None and not BulkAct.objects.filter(pk=bulk, undone_at=None).exists()
    if is_undone or not before.get("decision"):
        before = {"status": example.checked_status, "assigned_to": before.get("assigned_to")}
        bulk = None
    at, person, assigned = before.get("decided_at"), before.get("decided_by"), before.get("assigned_to")
    known = set(User.objects.filter(pk__in=[pk for pk in (person, assigned) if pk]).values_list("pk", flat=True))
    return {
        "status": before["status"],
        "decision": before.get("decision", ""),
        "edited_messages": before.get("edited_messages"),
        "edited_label": before.get("edited_label"),
        "assigned_to_id": assigned if assigned in known else None,
        "bulk_act_id": bulk,
        "decided_by_id": person if person in known else None,
        "decided_at": datetime.fromisoformat(at) if at else None,
    }


def _check_acceptable(dataset: Dataset, example: Example) -> None:
    try:
        checked_messages(current_messages(dataset, example), is_plain_text=dataset.is_plain_text)
    except UserError as error:
        sentence = _(
            "Row %(n)s has no complete question and answer, so there is nothing to accept. Edit it first, or leave it out."
        )
        raise UserError("row_unusable", sentence % {"n": example.row}, field="action") from error


def _check_free(dataset: Dataset, example: Example, user: User | None) -> None:
    held = RowLock.objects.filter(dataset=dataset, row=example.row, expires_at__gt=timezone.now())
    other = held.exclude(user=user).select_related("user").first()
    if other is not None:
        sentence = _(
            "%(person)s has row %(n)s on screen at this moment. Take another one, or try again in some minutes."
        )
        raise UserError("row_held", sentence % {"person": other.user, "n": example.row}, status=409)


def _is_repeated(example: Example, user: User | None, values: dict[str, Any]) -> bool:
    """Whether this person has said just this already: a double click, or a request that was sent again."""
    same = all(getattr(example, name) == value for name, value in values.items())
    return same and user is not None and example.decided_by_id == user.pk


def _check_undecided(example: Example) -> None:
    if example.decision == Decision.NONE:
        return
    by = User.objects.filter(pk=example.decided_by_id).first()
    sentence = _("Row %(n)s was decided on meanwhile, by %(person)s. Nothing was changed.")
    raise UserError("decided_meanwhile", sentence % {"n": example.row, "person": by or _("somebody else")}, status=409)


def _settled(old: str, new: str) -> int:
    """+1 when a row leaves the queue, -1 when it comes back."""
    return int(old == Status.NEEDS_REVIEW) - int(new == Status.NEEDS_REVIEW)


def _change(
    actor: Actor,
    dataset: Dataset,
    example: Example,
    act: Act,
    *,
    values: dict[str, Any],
    lead_seconds: float | None = None,
    only_undecided: bool = False,
) -> Example:
    with transaction.atomic():
        locked = _lock_row(dataset, example.row)
        _check_free(dataset, locked, actor.user)
        if only_undecided and _is_repeated(locked, actor.user, values):
            example.refresh_from_db()
            return example
        if only_undecided:
            _check_undecided(locked)
        now, old = timezone.now(), locked.status
        is_undone = act == Act.UNDO
        Example.objects.filter(pk=locked.pk).update(
            decided_by=None if is_undone else actor.user,
            decided_at=None if is_undone else now,
            bulk_act=None,
            assigned_to=None,
            **values,
        )
        move_counters(dataset, Counter({old: 1}), Status(values["status"]))
        ReviewAct.objects.create(
            dataset=dataset,
            row=locked.row,
            user=actor.user,
            action=act,
            before=state_of(locked),
            lead_seconds=checked_lead(lead_seconds),
            created_at=now,
        )
        count_acts(dataset, actor.user, decided=1, settled=_settled(old, values["status"]))
        if actor.user is not None:
            forgotten = Q(expires_at__lt=now - timedelta(hours=1))  # cards that nobody came back to
            RowLock.objects.filter(Q(user=actor.user) | forgotten, dataset=dataset).delete()
            Draft.objects.filter(dataset=dataset, row=locked.row, user=actor.user).delete()
        _record(actor, dataset, locked, f"example.{act.value}", old, values["status"])
    example.refresh_from_db()
    return example


def _record(actor: Actor, dataset: Dataset, example: Example, act: str, old: str, new: str) -> None:
    record(
        actor=actor,
        project=actor.project,
        act=act,
        subject=f"dataset {dataset.pk} row {example.row}",
        data={"from": old, "to": str(new)},
    )
