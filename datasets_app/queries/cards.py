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

MOST_REASONS = 3


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
class DatasetCard:
    """A dataset in plain words. Lists are empty until it is ready."""

    id: str
    name: str
    state: str
    dataset: Dataset
    headline: str
    details: str
    format_title: str
    task_title: str
    tiles: list[StatusTile]
    findings: list[FindingKind]
    statistics: dict[str, Any]
    error: dict[str, Any]
    usable: int

    @property
    def sentence(self) -> str:
        """Headline and details as one text."""
        return f"{self.headline} {self.details}".strip()

    @property
    def is_ready(self) -> bool:
        """Whether its rows can be looked at."""
        return self.state == DatasetState.READY


def dataset_card(dataset: Dataset) -> DatasetCard:
    """The dataset for its page. No query of its own when ``upload`` and ``job`` were fetched with it."""
    sentences = summary_sentences(dataset)
    return DatasetCard(
        id=dataset.pk,
        name=dataset.name,
        state=dataset.state,
        dataset=dataset,
        headline=sentences[0],
        details=" ".join(sentences[1:]),
        format_title=format_title(dataset.format) if dataset.format else "",
        task_title=str(TaskType(dataset.task_type).label)
        if dataset.task_type in TaskType.values
        else dataset.task_type,
        tiles=_tiles(dataset),
        findings=finding_kinds(dataset),
        statistics=dataset.statistics,
        error=dataset.error,
        usable=dataset.usable,
    )


def summary_sentences(dataset: Dataset) -> list[str]:
    """What a dataset's page is about: how many rows can be used, then how many wait, and why others are rejected."""
    if dataset.state == DatasetState.PROCESSING:
        return [_("The file is being checked row by row. You can leave this page; the work goes on.")]
    if dataset.state == DatasetState.FAILED:
        return [str(dataset.error.get("message") or _("This file could not be used."))]
    one, many = "%(usable)s of %(total)s row can be trained on", "%(usable)s of %(total)s rows can be trained on"
    numbers = {"usable": number_words(dataset.usable), "total": number_words(dataset.total)}
    first = ngettext(one, many, dataset.total) % numbers
    if dataset.flagged:
        first += ": " + _("%(accepted)s accepted and %(flagged)s flagged") % {
            "accepted": number_words(dataset.accepted),
            "flagged": number_words(dataset.flagged),
        }
    sentences = [first + "."]
    if dataset.needs_review:
        waiting = ngettext("%(n)s waits for your decision.", "%(n)s wait for your decision.", dataset.needs_review)
        sentences.append(waiting % {"n": number_words(dataset.needs_review)})
    if dataset.rejected:
        left_out = ngettext("%(n)s is rejected", "%(n)s are rejected", dataset.rejected)
        sentences.append(left_out % {"n": number_words(dataset.rejected)} + _why(dataset) + ".")
    return sentences


def _why(dataset: Dataset) -> str:
    """The most frequent findings that reject a row; empty when people rejected them all."""
    grave = [kind for kind in finding_kinds(dataset) if kind.status == Status.REJECTED][:MOST_REASONS]
    if not grave:
        return ""
    reasons = ", ".join(f"“{kind.title}” ({number_words(kind.count)})" for kind in grave)
    return ", " + _("most often because of %(reasons)s") % {"reasons": reasons}


def finding_kinds(dataset: Dataset) -> list[FindingKind]:
    """What was found how often: the gravest first, then the most frequent."""
    order = {status: rank for rank, status in enumerate(reversed(Status.values))}
    kinds = []
    for code, count in dataset.codes.items():
        status = CODES[code].status if code in CODES else Status.FLAGGED.value
        kinds.append(FindingKind(code, code_title(code), count, status, STATUS_TONES[status]))
    return sorted(kinds, key=lambda kind: (order[kind.status], -kind.count, kind.code))


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
