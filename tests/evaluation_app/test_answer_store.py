"""The answers that are kept on this machine: seen, cleared, and never another project's."""

from __future__ import annotations

import pytest

from evaluation_app.queries.answer_store import answer_store
from jobs_app.operations import retention
from work_kit.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(project, settings, tmp_path):
    """A file of answers of this project, with SQLite's own beside it."""
    settings.CACHE_DIR = tmp_path / "cache"
    path = answer_store(str(project.pk))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 2048)
    path.with_name(path.name + "-wal").write_bytes(b"y" * 1024)
    return path


def test_each_project_has_a_file_of_its_own(project, outsider) -> None:
    theirs = outsider.memberships.get().project
    assert answer_store(str(project.pk)) != answer_store(str(theirs.pk))


def test_house_keeping_lists_them_with_their_size(kept, client_for, owner, project, client, api_key) -> None:
    text = client_for(owner).get(f"/p/{project.slug}/train/housekeeping").content.decode()
    assert "Answers of evaluations" in text
    assert "3.0 KB" in text
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    (part,) = [p for p in client.get("/api/v1/housekeeping", headers=headers).json()["data"] if p["kind"] == "answers"]
    assert part == {"kind": "answers", "items": 1, "bytes": 3072, "can_go": {"items": 1, "bytes": 3072}}


def test_an_owner_clears_them(kept, client_for, owner, project) -> None:
    from accounts_app.models import AuditEntry

    response = client_for(owner).post(
        f"/p/{project.slug}/train/housekeeping/clean", {"kind": "answers", "confirm_name": project.name}
    )
    assert response.status_code == 302
    assert list(kept.parent.iterdir()) == []
    assert AuditEntry.objects.filter(act="retention.clean.answers").exists()


def test_nothing_is_cleared_while_an_evaluation_is_under_way(kept, actor, evaluation) -> None:
    assert retention.clean_up(actor=actor, kind="answers").items == 0
    assert kept.is_file()
    Job.objects.filter(pk=evaluation.pk).update(state="succeeded")
    assert retention.clean_up(actor=actor, kind="answers").size == 3072


def test_another_projects_answers_stay(kept, outsider) -> None:
    from accounts_app.permissions import project_for

    theirs = outsider.memberships.get().project
    retention.clean_up(actor=project_for(outsider, theirs.slug, "view"), kind="answers")
    assert kept.is_file()
