"""Reads about frozen snapshots, for this app's pages and for everything that trains or evaluates on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts_app.models import Project
from datasets_app.choices import SPLIT_LABELS, SPLITS, Act, PiiAction, SnapshotState
from datasets_app.models import BulkAct, Dataset, ReviewAct, Snapshot
from datasets_app.queries.policy import kind_title, pii_policy
from finetune_engine.errors import UserError
from web_kit.wording import number_words
from work_kit.files import local_copy

MOST_EARLIER = 20  # snapshots whose test rows are looked for in train
MOST_LABELS = 100  # lines of the table on the snapshot's page


@dataclass(frozen=True)
class SplitPart:
    """One split: how many rows, and how many per label (only for classifications)."""

    name: str
    label: str
    count: int
    share: float
    labels: dict[str, int]


@dataclass(frozen=True)
class LabelLine:
    """One label's rows in each split, in the order of ``SPLITS``."""

    label: str
    counts: list[int]
    total: int


@dataclass(frozen=True)
class PersonalLine:
    """What was done about one kind of personal data. ``action`` is mask, reject or keep; ``rows`` is how many rows."""

    title: str
    action: str
    words: str
    rows: int


@dataclass(frozen=True)
class SnapshotCard:
    """A snapshot in plain words."""

    snapshot: Snapshot
    sentence: str
    parts: list[SplitPart]
    label_lines: list[LabelLine]
    labels_left_out: int
    leaks: int
    error: dict[str, Any]
    leakage_lines: list[str]
    personal_lines: list[PersonalLine]

    @property
    def is_ready(self) -> bool:
        """Whether it can be trained on."""
        return self.snapshot.state == SnapshotState.READY


def snapshot_card(snapshot: Snapshot) -> SnapshotCard:
    """The snapshot for its page."""
    total = snapshot.total
    parts = [
        SplitPart(
            name=name,
            label=str(SPLIT_LABELS[name]),
            count=int(snapshot.counts.get(name, 0)),
            share=int(snapshot.counts.get(name, 0)) / (total or 1),
            labels=snapshot.labels.get(name) or {},
        )
        for name in SPLITS
    ]
    names = sorted({label for part in parts for label in part.labels})
    lines = [LabelLine(n, [p.labels.get(n, 0) for p in parts], sum(p.labels.get(n, 0) for p in parts)) for n in names]
    leaks = leaked_rows(snapshot)
    return SnapshotCard(
        snapshot=snapshot,
        sentence=_sentence(snapshot, parts, leaks),
        parts=parts,
        label_lines=sorted(lines, key=lambda line: -line.total)[:MOST_LABELS],
        labels_left_out=max(0, len(lines) - MOST_LABELS),
        leaks=leaks,
        error=snapshot.error,
        leakage_lines=leakage_lines(snapshot),
        personal_lines=personal_lines(snapshot),
    )


# Older snapshots say "exact" and "near".
_LEAKS = (("exact_across_splits", "exact"), ("near_across_splits", "near"), ("earlier_test_in_train",))
_SEEN_BEFORE = "earlier_train_in_test"


def leaked_rows(snapshot: Snapshot) -> int:
    """How many rows are, or almost are, in two splits, or were test rows of an earlier snapshot and are trained on."""
    return sum(_leak(snapshot, names) or 0 for names in _LEAKS)


def leakage_lines(snapshot: Snapshot) -> list[str]:
    """What was looked for between the splits and with earlier snapshots, and what was found, in words."""
    if snapshot.state != SnapshotState.READY:
        return []
    found = [(names[0], _leak(snapshot, names)) for names in (*_LEAKS, (_SEEN_BEFORE,))]
    return [_leak_words(name, count) for name, count in found if count is not None]


def _leak(snapshot: Snapshot, names: Sequence[str]) -> int | None:
    return next((int(snapshot.leakage[name] or 0) for name in names if name in snapshot.leakage), None)


def _leak_words(name: str, count: int) -> str:
    sentences = {
        "exact_across_splits": ngettext(
            "%(n)s row outside train has the same input as a row in train.",
            "%(n)s rows outside train have the same input as a row in train.",
            count,
        ),
        "near_across_splits": ngettext(
            "%(n)s row outside train is nearly the same as a row in train.",
            "%(n)s rows outside train are nearly the same as a row in train.",
            count,
        ),
        "earlier_test_in_train": ngettext(
            "%(n)s row in train was a test row of an earlier snapshot.",
            "%(n)s rows in train were test rows of an earlier snapshot.",
            count,
        ),
        _SEEN_BEFORE: ngettext(
            "%(n)s test row was a train row of an earlier snapshot: models trained on that one have seen it.",
            "%(n)s test rows were train rows of an earlier snapshot: models trained on that one have seen them.",
            count,
        ),
    }
    return sentences[name] % {"n": number_words(count) if count else _("No")}


def personal_lines(snapshot: Snapshot) -> list[PersonalLine]:
    """What was masked, left out or kept, the most frequent first; empty when no row held personal data."""
    lines = [
        PersonalLine(kind_title(kind), action, str(_DONE[action]), int(rows))
        for done, action in (("masked", "mask"), ("rejected", "reject"), ("kept", "keep"))
        for kind, rows in ((snapshot.personal or {}).get(done) or {}).items()
        if int(rows)
    ]
    return sorted(lines, key=lambda line: -line.rows)


_DONE: dict[str, object] = {
    PiiAction.MASK: gettext_lazy("replaced by a placeholder such as [EMAIL_1]"),
    PiiAction.REJECT: gettext_lazy("these rows were left out"),
    PiiAction.KEEP: gettext_lazy("kept as it is"),
}


def _sentence(snapshot: Snapshot, parts: list[SplitPart], leaks: int) -> str:
    if snapshot.state == SnapshotState.PROCESSING:
        return _("The rows are being frozen.")
    if snapshot.state == SnapshotState.DELETED:
        return _("The rows of this snapshot were deleted; only its record is left.")
    if snapshot.state == SnapshotState.FAILED:
        return str(snapshot.error.get("message") or _("This snapshot could not be made."))
    counts = {part.name: number_words(part.count) for part in parts}
    sentence = _(
        "%(train)s rows to learn from, %(validation)s to tell when to stop, and %(test)s kept back to judge the model."
    )
    if leaks == 0:
        return f"{sentence % counts} {_('No row occurs in two splits.')}"
    return f"{sentence % counts} {_('%(n)s rows occur in more than one split.') % {'n': leaks}}"


def snapshots_of(project: Project) -> QuerySet[Snapshot]:
    """The project's snapshots whose rows exist or are being made, newest first."""
    return (
        Snapshot.objects.filter(project=project, dataset__deleted_at=None)
        .exclude(state=SnapshotState.DELETED)
        .select_related("dataset", "job")
        .order_by("-id")
    )


def snapshots_of_dataset(dataset: Dataset) -> QuerySet[Snapshot]:
    """The dataset's snapshots, newest first."""
    return Snapshot.objects.filter(dataset=dataset).select_related("dataset", "job").order_by("-number")


def ready_snapshots(project: Project) -> QuerySet[Snapshot]:
    """Snapshots that can be trained on, newest first."""
    return snapshots_of(project).filter(state=SnapshotState.READY)


def latest_snapshot(dataset: Dataset) -> Snapshot | None:
    """The dataset's newest ready snapshot, None when there is none."""
    return snapshots_of_dataset(dataset).filter(state=SnapshotState.READY).first()


def previous_snapshot(snapshot: Snapshot) -> Snapshot | None:
    """The ready snapshot before this one, whose test rows stay test rows. None for the first."""
    return (
        Snapshot.objects.filter(dataset=snapshot.dataset_id, state=SnapshotState.READY, number__lt=snapshot.number)
        .order_by("-number")
        .first()
    )


def is_current(snapshot: Snapshot, dataset: Dataset) -> bool:
    """Whether freezing now would give the same rows: since this snapshot began, no file was added, taken out or read
    again, nobody decided on a row or took a decision back, and the project's decisions on personal data are those of
    the snapshot. Four small queries; ``dataset.job`` should be fetched with it."""
    since = snapshot.created_at
    checked = dataset.job
    if checked is not None and checked.finished_at is not None and checked.finished_at > since:
        return False
    if snapshot.pii and snapshot.pii != pii_policy(dataset.project):
        return False
    later = Q(created_at__gt=since) | Q(undone_at__gt=since)
    return not (
        ReviewAct.objects.filter(later, dataset=dataset).exclude(action=Act.SKIP).exists()
        or BulkAct.objects.filter(later, dataset=dataset).exists()
    )


def earlier_snapshots(snapshot: Snapshot) -> list[Snapshot]:
    """The ready snapshots of the same dataset before this one, newest first: their test rows must not be trained on."""
    before = Snapshot.objects.filter(dataset=snapshot.dataset_id, state=SnapshotState.READY, number__lt=snapshot.number)
    return list(before.select_related("dataset").order_by("-number")[:MOST_EARLIER])


def snapshot_parquet(snapshot: Snapshot) -> Path:
    """The snapshot's Parquet file on this machine. Raises UserError when it is not ready or was deleted."""
    if snapshot.state != SnapshotState.READY:
        raise UserError(
            "snapshot_not_ready",
            f"The snapshot {snapshot} has no rows: it is {SnapshotState(snapshot.state).label.lower()}.",
            status=409,
        )
    return local_copy(snapshot.storage_prefix) / "snapshot.parquet"
