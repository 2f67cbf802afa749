"""The page Improve, its acts, and the same for programs."""

# ruff: noqa: F401, F811  # fixtures are imported
from __future__ import annotations

import pytest

from tests.serving_app.complaints import (
    QUESTION,
    clauses,
    complaint,
    dataset_from,
    decide_last,
    first,
    freeze,
    in_use,
    judged,
    quick_jobs,
    upload_of,
    version,
)

pytestmark = pytest.mark.django_db


def test_the_page_names_the_next_step_and_does_it_in_one_click(
    client_for,
    trainer,
    project,
    complaint,
    clauses,
    quick_jobs,
) -> None:
    client, url = client_for(trainer), f"/p/{project.slug}/use/improve"
    given = [complaint(), complaint("Who pays the heating?", "Confidentiality")]
    assert "2 corrections are not in the data yet." in client.get(url).content.decode()
    sent = client.post(f"{url}/chosen", {"act": "both", "feedback": [one.pk for one in given]})
    assert sent.url == url
    quick_jobs()
    page = client.get(url).content.decode()
    assert "2 corrections wait for review." in page
    assert f"/p/{project.slug}/data/{clauses.pk}/review" in page
    assert "must not be forgotten" in page


def test_the_next_training_is_prefilled_with_the_newest_snapshot(
    client_for,
    trainer,
    project,
    complaint,
    clauses,
    quick_jobs,
    freeze,
    actor,
    first,
) -> None:
    from datasets_app.models import Dataset
    from serving_app.operations.proposals import propose_corrections

    propose_corrections(actor=actor, feedback=[complaint()])
    quick_jobs()
    decide_last(actor, clauses, "accept")
    snapshot = freeze(Dataset.objects.get(pk=clauses.pk), split={"train": 1.0})
    client = client_for(trainer)
    page = client.get(f"/p/{project.slug}/use/improve").content.decode()
    wanted = f"/p/{project.slug}/train/new?clone={first.training_job_id}&amp;snapshot={snapshot.pk}"
    assert "1 correction waits in a snapshot for the next training." in page
    assert wanted in page
    form = client.get(wanted.replace("&amp;", "&")).content.decode()
    assert f'value="snapshot:{snapshot.pk}" selected' in form


def test_a_viewer_reads_where_things_stand_and_changes_nothing(client_for, viewer, project, complaint) -> None:
    given = complaint()
    client = client_for(viewer)
    page = client.get(f"/p/{project.slug}/use/improve").content.decode()
    assert QUESTION in page
    assert "Propose" not in page
    act = {"act": "propose", "feedback": given.pk}
    assert client.post(f"/p/{project.slug}/use/improve/chosen", act).status_code == 403


def test_what_is_set_aside_no_longer_waits_and_comes_back(client_for, reviewer, project, complaint) -> None:
    given = complaint()
    client, url = client_for(reviewer), f"/p/{project.slug}/use/improve"
    client.post(f"{url}/chosen", {"act": "aside", "feedback": given.pk})
    assert "not in the data yet" not in client.get(url).content.decode()
    client.post(f"{url}/chosen", {"act": "put_back", "feedback": given.pk})
    assert "1 correction is not in the data yet." in client.get(url).content.decode()


def test_another_projects_feedback_is_out_of_reach(client, outsider, api_key, complaint, client_for) -> None:
    from accounts_app.models import Project

    given = complaint()
    theirs = Project.objects.get(memberships__user=outsider)
    key = {"Authorization": f"Bearer {api_key('admin', of=theirs)}"}
    assert client.get(f"/api/v1/feedback/{given.pk}", headers=key).status_code == 404
    body = {"feedback": [given.pk]}
    for path in ("proposals", "regression-cases"):
        sent = client.post(f"/api/v1/feedback/{path}", body, content_type="application/json", headers=key)
        assert sent.status_code == 404
    assert client_for(outsider).post(f"/p/{theirs.slug}/use/improve/chosen", {"act": "case", **body}).status_code == 422


def test_programs_walk_the_same_way(client, api_key, complaint, quick_jobs, clauses) -> None:
    given = complaint()
    key = {"Authorization": f"Bearer {api_key('train')}"}

    def post(path, body):
        return client.post(f"/api/v1/{path}", body, content_type="application/json", headers=key)

    assert post("feedback/proposals", {"feedback": [given.pk]}).json() == {
        "added": 1, "known": 0, "datasets": [clauses.pk],
    }  # fmt: skip
    assert post("feedback/regression-cases", {"feedback": [given.pk]}).json() == {"added": 1, "known": 0}
    quick_jobs()
    told = client.get("/api/v1/improvement", headers=key).json()
    assert told["stages"] == {"proposed": 1}
    assert told["next_step"] == {"stage": "proposed", "sentence": "1 correction waits for review."}
    assert told["data"][0]["row"] == 63
    assert client.delete(f"/api/v1/feedback/{given.pk}/proposal", headers=key).json() == {"freed": 1}
    assert client.delete(f"/api/v1/feedback/{given.pk}/regression-case", headers=key).json()["regression_case"] is None


def test_the_home_page_says_that_complaints_wait(client_for, trainer, project, complaint) -> None:
    complaint()
    page = client_for(trainer).get(f"/p/{project.slug}/").content.decode()
    assert "1 complaint waits." in page
    assert f"/p/{project.slug}/use/improve" in page
