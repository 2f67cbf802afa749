"""Settling groups of rows: which of several answers stays, which near-duplicates, and how a label is written."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.permissions import Actor
from datasets_app.choices import Decision, Status, TaskType
from datasets_app.chunks import row_texts
from datasets_app.models import Dataset, Example
from datasets_app.operations.decisions import check_ready, decide_example, edit_example, undo_decision
from datasets_app.queries.groups import spelling_variants
from datasets_app.queries.rows import visible
from datasets_app.row_messages import storable
from finetune_engine.errors import UserError

ROWS_AT_ONCE = 200  # of one group
SPELLING_BATCH = 100


def settle_group(*, actor: Actor, dataset: Dataset, rows: Collection[int], keep: Collection[int]) -> int:
    """Accept the rows in ``keep`` and reject the others of ``rows``. Returns how many changed: ``ROWS_AT_ONCE`` at most,
    all or none of them; call it again to go on.

    Raises UserError when nothing is kept or a row to keep is not of the group, and as ``decide_example`` does.
    """
    if not keep:
        raise UserError("nothing_kept", _("Choose at least one row to keep."), field="keep")
    if stray := sorted(set(keep) - set(rows)):
        raise UserError("not_of_the_group", _("Row %(n)s is not one of these rows.") % {"n": stray[0]}, field="keep")
    wanted = {row: "accept" if row in keep else "reject" for row in rows}
    found = visible(dataset).filter(row__in=rows).order_by("row")
    changing = [example for example in found if not _says_already(example, wanted[example.row])]
    changing.sort(key=lambda example: wanted[example.row])  # what is kept comes first
    with transaction.atomic():
        for example in changing[:ROWS_AT_ONCE]:
            decide_example(actor=actor, dataset=dataset, example=example, action=wanted[example.row])
    return len(changing[:ROWS_AT_ONCE])


def undo_group(*, actor: Actor, dataset: Dataset, rows: Collection[int]) -> int:
    """Put the decided rows of the group back to what the checks said. Returns how many changed, as ``settle_group``."""
    with transaction.atomic():
        decided = visible(dataset).filter(row__in=rows).exclude(decision=Decision.NONE).order_by("row")
        changing = list(decided[:ROWS_AT_ONCE])
        for example in changing:
            undo_decision(actor=actor, dataset=dataset, example=example)
    return len(changing)


def use_spelling(*, actor: Actor, dataset: Dataset, found: str, seconds: float = 5.0) -> tuple[int, bool]:
    """Write the usual spelling in every undecided row with the label ``found``. Stops after about ``seconds``: returns
    how many rows changed and whether all are done; call it again to go on. Raises UserError for a label that is no
    variant."""
    usual = _usual(dataset, found)
    stop_at, changed = time.monotonic() + seconds, 0
    while True:
        rows = visible(dataset).filter(label=found, decision=Decision.NONE).exclude(status=Status.REJECTED)
        batch = list(rows.order_by("row")[:SPELLING_BATCH])
        with transaction.atomic():
            for example in batch:
                edit_example(actor=actor, dataset=dataset, example=example, answer=usual)
        changed += len(batch)
        if len(batch) < SPELLING_BATCH:
            return changed, True
        if time.monotonic() >= stop_at:
            return changed, False


def undo_spelling(*, actor: Actor, dataset: Dataset, found: str, seconds: float = 5.0) -> tuple[int, bool]:
    """Give the rows that ``use_spelling`` changed their own spelling back; a row in which somebody has changed more than
    the label stays. Returns as it does."""
    usual = _usual(dataset, found)
    stop_at, changed, after = time.monotonic() + seconds, 0, 0
    while True:
        rows = visible(dataset).filter(label=found, decision=Decision.EDIT, edited_label=usual, row__gt=after)
        batch = list(rows.order_by("row")[:SPELLING_BATCH])
        texts = row_texts(dataset, batch)
        with transaction.atomic():
            for example in batch:
                if _is_only_spelling(example, texts[example.row].messages):
                    undo_decision(actor=actor, dataset=dataset, example=example)
                    changed += 1
        if len(batch) < SPELLING_BATCH:
            return changed, True
        after = batch[-1].row
        if time.monotonic() >= stop_at:
            return changed, False


def _is_only_spelling(example: Example, original: list[dict[str, Any]]) -> bool:
    """Whether the edit differs from the uploaded row in nothing but the answer."""
    edited, before = example.edited_messages or [], storable(original)
    return [(m.get("role"), m.get("content")) for m in edited[:-1]] == [
        (m.get("role"), m.get("content")) for m in before[:-1]
    ]


def _usual(dataset: Dataset, found: str) -> str:
    check_ready(dataset)
    if dataset.task_type != TaskType.CLASSIFICATION:
        raise UserError("no_labels", _("These rows have no labels."), field="found")
    usual = next((one.usual for one in spelling_variants(dataset) if one.found == found), None)
    if usual is None:
        raise UserError("no_variant", _("This label is not a rare spelling of another one."), field="found")
    return usual


def _says_already(example: Example, action: str) -> bool:
    if action == "accept":
        return example.status == Status.ACCEPTED and example.decision in {Decision.ACCEPT, Decision.EDIT}
    return example.status == Status.REJECTED and example.decision == Decision.REJECT
