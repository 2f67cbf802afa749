"""Operations on the answers that are kept so that nothing is asked twice."""

from __future__ import annotations

from accounts_app.models import Project
from evaluation_app.queries.answer_store import files_of, spare_answers
from work_kit.stored_sizes import Size


def forget_answers(project: Project) -> Size:
    """Remove the project's answers on this machine; the next evaluation asks everything again. Nothing goes while an
    evaluation is under way. Returns what went."""
    freed = spare_answers(project)
    if freed.items:
        for path in files_of(project):
            path.unlink(missing_ok=True)
    return freed
