"""Rows that people propose: corrections of a review, feedback on answers in use. They wait in the dataset's review queue.

Each batch is one more small file of the dataset, checked together with all its rows (ADR 0006). Every row of it needs
review, says where it came from, and enters no snapshot before somebody accepts it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.permissions import Actor
from datasets_app.choices import DatasetState, TaskType
from datasets_app.models import Dataset, Source
from datasets_app.operations.rechecks import NewSource, recheck_dataset, remove_file
from datasets_app.operations.uploads import file_digest, fresh_name, record_upload
from datasets_app.row_messages import checked_messages, row_key, storable
from finetune_engine.data.proposed import PROVENANCE
from finetune_engine.errors import UserError
from work_kit.models import Job

MOST_PROPOSED = 5_000


@dataclass(frozen=True)
class ProposedRow:
    """One row: the whole conversation with the proposed answer at its end.

    ``provenance`` says in one sentence who proposed it and on what ground; reviewers read it. ``metadata`` goes along
    as further columns. ``worse`` is the answer that it is better than; only datasets of preferences use and need it.
    """

    messages: Sequence[Mapping[str, Any]]
    provenance: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    worse: str = ""


@dataclass(frozen=True)
class Proposal:
    """What became of proposed rows. ``job`` checks the dataset with them; None when all were there already."""

    job: Job | None
    source: Source | None
    added: int
    known: int


def propose_rows(
    *,
    actor: Actor,
    dataset: Dataset,
    rows: Sequence[ProposedRow],
    origin: Mapping[str, Any],
    name: str = "",
) -> Proposal:
    """Put rows into a dataset's review queue. Needs the right to train.

    ``origin`` is ``{kind, id, ...}`` of what they came from, kept with them; ``name`` is how their file is called. A row
    that was proposed before, from wherever, and is still part of the dataset is not added twice.

    Raises UserError: ``nothing_proposed``, ``too_many_rows``, one that names the row that cannot be trained on,
    ``no_questions`` for a dataset of plain texts, ``no_worse_answer`` for one of preferences, and what
    ``recheck_dataset`` raises (409 while the dataset is being checked).
    """
    actor.require("train")
    _check(dataset, rows, origin)
    lines = {_digest(dataset, row): _line(dataset, number, row) for number, row in enumerate(rows, 1)}
    stored: list[str] = []
    try:
        with transaction.atomic():
            locked = Dataset.objects.select_for_update(of=("self",)).get(pk=dataset.pk)
            known = _known(locked)
            fresh = {key: line for key, line in lines.items() if key not in known}
            if not fresh:
                return Proposal(None, None, 0, len(rows))
            job = _append(actor, locked, fresh, {**origin, "keys": list(fresh)}, name, stored)
    except Exception:
        for storage_name in stored:  # bytes are not part of the transaction that was rolled back
            default_storage.delete(storage_name)
        raise
    dataset.refresh_from_db()
    source = Source.objects.filter(dataset=dataset, number__in=job.params.get("added") or []).first()
    return Proposal(job, source, len(fresh), len(rows) - len(fresh))


def withdraw_rows(*, actor: Actor, dataset: Dataset, source: Source) -> Job:
    """Take a batch of proposals out of the dataset again, with what was decided on it. Its file stays and can be
    restored. Raises UserError as ``remove_file`` does, and ``not_proposed`` for a file that somebody uploaded."""
    actor.require("train")
    if not source.origin or source.dataset_id != dataset.pk:
        raise UserError("not_proposed", _("These rows were not proposed from here."), status=404)
    return remove_file(actor=actor, dataset=dataset, source=source)


def _check(dataset: Dataset, rows: Sequence[ProposedRow], origin: Mapping[str, Any]) -> None:
    if not origin.get("kind") or not origin.get("id"):
        raise ValueError("an origin needs its kind and id")
    if dataset.deleted_at is not None or dataset.state != DatasetState.READY:
        sentence = _("The dataset is gone or its rows are not there yet, so nothing can be added to it.")
        raise UserError("dataset_not_ready", sentence, status=409)
    if not rows:
        raise UserError("nothing_proposed", _("There is no row to add."), status=409)
    if len(rows) > MOST_PROPOSED:
        sentence = _("At most %(n)s rows can be proposed at once.") % {"n": f"{MOST_PROPOSED:,}"}
        raise UserError("too_many_rows", sentence, field="rows")
    if dataset.is_plain_text:
        sentence = _("This dataset holds texts without questions, so a corrected answer has no place in it.")
        raise UserError("no_questions", sentence, status=409)


def _line(dataset: Dataset, number: int, row: ProposedRow) -> str:
    """The row as a line of the file. Its own columns win over ``metadata`` of the same names."""
    try:
        messages = checked_messages([dict(message) for message in row.messages])
    except UserError as error:
        sentence = _("Proposed row %(n)s: %(why)s") % {"n": number, "why": error.sentence}
        raise UserError(error.code, sentence, field="rows") from error
    told = {**storable(dict(row.metadata)), PROVENANCE: storable(" ".join(row.provenance.split()))}
    shape: dict[str, Any]
    if dataset.task_type == TaskType.PREFERENCE:
        if not row.worse.strip():
            sentence = _("This dataset holds pairs of a better and a worse answer; row %(n)s has no worse one.")
            raise UserError("no_worse_answer", sentence % {"n": number}, field="rows")
        worse = [{"role": "assistant", "content": storable(row.worse)}]
        shape = {"input": {"messages": messages[:-1]}, "preferred_output": messages[-1:], "non_preferred_output": worse}
    else:
        shape = {"messages": messages}
    for taken in ("messages", "input", "label", "split", "preferred_output", "non_preferred_output"):
        told.pop(taken, None)
    return json.dumps({**shape, **told}, ensure_ascii=False)


def _digest(dataset: Dataset, row: ProposedRow) -> str:
    return row_key(row.messages, row.worse if dataset.task_type == TaskType.PREFERENCE else "")


def _known(dataset: Dataset) -> set[str]:
    """Digests of the proposed rows that are part of the dataset, or are just being added to it."""
    known: set[str] = set()
    for source in dataset.sources.all():
        is_arriving = source.removed_at is not None and not source.rows
        if source.removed_at is None or is_arriving:
            known.update(source.origin.get("keys") or [])
    return known


def _append(
    actor: Actor,
    dataset: Dataset,
    fresh: Mapping[str, str],
    origin: Mapping[str, Any],
    name: str,
    stored: list[str],
) -> Job:
    file = ContentFile("".join(line + "\n" for line in fresh.values()).encode())
    sha256, size = file_digest(file)
    storage_name = default_storage.save(fresh_name(actor.project), file)
    stored.append(storage_name)
    upload = record_upload(
        actor=actor,
        name=f"{name or _('Proposed rows')}.jsonl",
        size=size,
        sha256=sha256,
        storage_name=storage_name,
        purpose="fine-tune",
        source=f"{origin['kind']} {origin['id']}",
    )
    format_name = "openai_preference" if dataset.task_type == TaskType.PREFERENCE else "messages"
    new = NewSource(upload=upload, format=format_name, origin=origin)
    return recheck_dataset(actor=actor, dataset=dataset, append=[new])
