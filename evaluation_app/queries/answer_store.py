"""The answers that are kept on this machine so that nothing is asked twice: one file per project, shared with nobody."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from evaluation_app.models import Evaluation
from jobs_app.queries.housekeeping import DiskPart
from work_kit.choices import OPEN
from work_kit.stored_sizes import Size

_BESIDE = ("", "-wal", "-shm", "-journal")  # the files of one SQLite database


def answer_store(project_id: str) -> Path:
    """The project's file, there or not. Evaluations write it on the machine that runs them."""
    return Path(settings.CACHE_DIR) / "answers" / f"{project_id}.sqlite"


def stored_answers(project: Project) -> Size:
    """What the project's answers take up on this machine. One item when there are any."""
    size = sum(_size(path) for path in files_of(project))
    return Size(1 if size else 0, size)


def _size(path: Path) -> int:
    """0 for a file that is not there; SQLite takes some away at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def spare_answers(project: Project) -> Size:
    """What of it can go: all, unless an evaluation is under way."""
    is_used = Evaluation.objects.filter(project=project, work__state__in=OPEN).exists()
    return Size() if is_used else stored_answers(project)


def files_of(project: Project) -> list[Path]:
    """The database and what SQLite keeps beside it."""
    path = answer_store(str(project.pk))
    return [path.with_name(path.name + ending) for ending in _BESIDE]


def answers_part(project: Project) -> DiskPart:
    """The line of the house-keeping page."""
    return DiskPart(
        "answers",
        _("Answers of evaluations"),
        _(
            "Kept on this machine so that no model is asked the same twice. Without them the next evaluation takes longer."
        ),
        stored_answers(project),
        spare_answers(project),
    )
