"""Models as files: what was made, how it is going, and what it takes up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from jobs_app.queries.housekeeping import DiskPart
from serving_app.choices import ExportKind
from serving_app.models import ModelExport
from work_kit.choices import ADVICE, OPEN, TERMINAL, Reason, State
from work_kit.queries import job_percent
from work_kit.stored_sizes import Size, stored_size

WHAT_FOR = {
    ExportKind.MERGED: _(
        "One folder with the whole model. For any program that reads Hugging Face models, vLLM among them."
    ),
    ExportKind.ADAPTER: _("A small file that needs the base model beside it. For keeping many models of one base."),
    ExportKind.GGUF: _("One file for llama.cpp and Ollama. Needs llama.cpp's converter on the machine that trains."),
}
"""Why somebody would want each kind."""


@dataclass(frozen=True)
class ExportCard:
    """One archive as a page shows it. ``sentence`` says what was checked, or what went wrong and the way out."""

    id: str
    model_name: str
    kind: str
    label: str
    state: str
    percent: float | None
    size_bytes: int | None
    sentence: str
    is_open: bool
    can_download: bool
    export: ModelExport

    def as_dict(self) -> dict[str, Any]:
        """As ``/api/v1`` shows it."""
        row = self.export
        return {
            "id": self.id,
            "model": row.trained_model.api_name,
            "kind": self.kind,
            "status": self.state,
            "percent": self.percent,
            "size_bytes": self.size_bytes,
            "sha256": row.sha256 or None,
            "checks": row.checks or None,
            "sentence": self.sentence,
            "created_at": row.created_at,
        }


def exports_of(project: Project) -> QuerySet[ModelExport]:
    """The project's archives, newest first."""
    rows = ModelExport.objects.filter(project=project).select_related("work", "trained_model", "created_by")
    return rows.order_by("-id")


def export_card(export: ModelExport) -> ExportCard:
    """One archive in words."""
    state = export.work.state
    return ExportCard(
        id=export.pk,
        model_name=export.trained_model.name,
        kind=export.kind,
        label=str(ExportKind(export.kind).label),
        state=state,
        percent=job_percent(export.work),
        size_bytes=export.size_bytes,
        sentence=_sentence(export),
        is_open=state not in TERMINAL,
        can_download=bool(export.storage_name),
        export=export,
    )


def _sentence(export: ModelExport) -> str:
    work = export.work
    if work.state == State.FAILED:
        told = str(work.failure.get("message") or Reason(work.failure_reason).label)
        return f"{told} {ADVICE[Reason(work.failure_reason)]}"
    if work.state == State.SUCCEEDED and not export.storage_name:
        return str(_("The archive was cleaned away. Make it again when you need it."))
    if not export.checks:
        return ""
    words = _("%(same)s of %(n)s questions got the same answer, word for word, as from the model in use.")
    return str(words) % {"same": export.checks.get("same_answers"), "n": export.checks.get("questions")}


def exports_prefix(project: Project) -> str:
    """Where the project's archives lie in the file storage; one folder for each export, by its id."""
    return f"projects/{project.pk}/exports"


def spare_folders(project: Project) -> list[str]:
    """Ids of the exports whose files can go now: all but those being made."""
    try:
        folders, _files = default_storage.listdir(exports_prefix(project))
    except FileNotFoundError:
        return []
    busy = set(ModelExport.objects.filter(project=project, work__state__in=OPEN).values_list("pk", flat=True))
    return [name for name in folders if name not in busy]


def exports_part(project: Project) -> DiskPart:
    """The line of the house-keeping page."""
    held = stored_size(exports_prefix(project))
    spare = sum((stored_size(f"{exports_prefix(project)}/{name}") for name in spare_folders(project)), Size())
    return DiskPart(
        "exports", _("Exported models"), _("Archives to take away. They can be made again at any time."), held, spare
    )
