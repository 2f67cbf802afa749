"""What a page says about a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.models import Project
from datasets_app.choices import STATUS_MEANINGS, STATUS_TONES, DatasetState, Status, TaskType, code_title, format_title
from datasets_app.models import Dataset
from finetune_engine.data.codes import CODES
from web_kit.wording import number_words

MOST_LABELS = 30


@dataclass(frozen=True)
class StatusTile:
    """One of the four counts. ``share`` is 0..1 of all rows."""

    status: str
    label: str
    meaning: str
    tone: str
    count: int
    share: float


@dataclass(frozen=True)
class FindingKind:
    """How often one thing was found. ``status`` is what such rows became by default."""

    code: str
    title: str
    count: int
    status: str
    tone: str


@dataclass(frozen=True)
class LabelShare:
    """How many rows carry a label. ``share`` is of the largest, for the bar."""

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class DatasetCard:
    """A dataset in plain words. Lists are empty until it is ready."""

    id: str
    name: str
    state: str
    dataset: Dataset
    sentence: str
    format_title: str
    task_title: str
    tiles: list[StatusTile]
    findings: list[FindingKind]
    labels: list[LabelShare]
    labels_left_out: int
    statistics: dict[str, Any]
    error: dict[str, Any]
    usable: int

    @property
    def is_ready(self) -> bool:
        """Whether its rows can be looked at."""
        return self.state == DatasetState.READY


def dataset_card(dataset: Dataset) -> DatasetCard:
    """The dataset for its page. No query of its own when ``upload`` and ``job`` were fetched with it."""
    labels = sorted(dataset.labels.items(), key=lambda pair: (-pair[1], pair[0]))
    most = labels[0][1] if labels else 1
    return DatasetCard(
        id=dataset.pk,
        name=dataset.name,
        state=dataset.state,
        dataset=dataset,
        sentence=summary_sentence(dataset),
        format_title=format_title(dataset.format) if dataset.format else "",
        task_title=str(TaskType(dataset.task_type).label)
        if dataset.task_type in TaskType.values
        else dataset.task_type,
        tiles=_tiles(dataset),
        findings=finding_kinds(dataset),
        labels=[LabelShare(name, n, n / most) for name, n in labels[:MOST_LABELS]],
        labels_left_out=max(0, len(labels) - MOST_LABELS),
        statistics=dataset.statistics,
        error=dataset.error,
        usable=dataset.usable,
    )


def summary_sentence(dataset: Dataset) -> str:
    """The one sentence a dataset's page is about."""
    if dataset.state == DatasetState.PROCESSING:
        return _("The file is being checked row by row. You can leave this page; the work goes on.")
    if dataset.state == DatasetState.FAILED:
        return str(dataset.error.get("message") or _("This file could not be used."))
    one, many = "%(usable)s of %(total)s row can be trained on", "%(usable)s of %(total)s rows can be trained on"
    numbers = {"usable": number_words(dataset.usable), "total": number_words(dataset.total)}
    parts = [ngettext(one, many, dataset.total) % numbers]
    if dataset.flagged:
        parts[0] += " " + _("(%(n)s with a warning)") % {"n": number_words(dataset.flagged)}
    if dataset.needs_review:
        parts.append(
            ngettext("%(n)s waits for your decision", "%(n)s wait for your decision", dataset.needs_review)
            % {"n": number_words(dataset.needs_review)}
        )
    if dataset.rejected:
        parts.append(
            ngettext("%(n)s is left out", "%(n)s are left out", dataset.rejected)
            % {"n": number_words(dataset.rejected)}
        )
    return "; ".join(parts) + "."


def finding_kinds(dataset: Dataset) -> list[FindingKind]:
    """What was found how often: the gravest first, then the most frequent."""
    order = {status: rank for rank, status in enumerate(reversed(Status.values))}
    kinds = []
    for code, count in dataset.codes.items():
        status = CODES[code].status if code in CODES else Status.FLAGGED.value
        kinds.append(FindingKind(code, code_title(code), count, status, STATUS_TONES[status]))
    return sorted(kinds, key=lambda kind: (order[kind.status], -kind.count, kind.code))


def dataset_with_key(project: Project, idempotency_key: str | None) -> Dataset | None:
    """The dataset that a request with this key made before; None when there is none (or no key)."""
    if not idempotency_key:
        return None
    return datasets_of(project).filter(job__idempotency_key=idempotency_key, job__kind="datasets.import").first()


def datasets_of(project: Project) -> QuerySet[Dataset]:
    """The project's datasets, newest first."""
    return Dataset.objects.filter(project=project, deleted_at=None).select_related("upload", "job").order_by("-id")


def _tiles(dataset: Dataset) -> list[StatusTile]:
    if dataset.state != DatasetState.READY:
        return []
    total = dataset.total or 1
    return [
        StatusTile(
            status=status.value,
            label=str(status.label),
            meaning=str(STATUS_MEANINGS[status]),
            tone=STATUS_TONES[status],
            count=getattr(dataset, status.value),
            share=getattr(dataset, status.value) / total,
        )
        for status in Status
    ]
