"""The pages about use: what each person sees and may do."""

from __future__ import annotations

import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployed(actor, trained):
    from serving_app.operations import deploy_model

    return deploy_model(actor=actor, trained_model=trained("Clause sorter"), sign_off="Tried by hand; good enough.")


@pytest.fixture
def prediction(project):
    from serving_app.models import Prediction

    return Prediction.objects.create(
        request_id="0" * 26,
        project=project,
        door="predict",
        model_name="demo-base",
        input={"messages": [{"role": "user", "content": "<script>alert(1)</script> asked"}]},
        output="<b>Termination</b>",
        latency_seconds=0.2,
        confidence=0.87,
        at=timezone.now(),
    )


def test_an_empty_project_says_what_goes_here(client_for, owner, project) -> None:
    page = client_for(owner).get(f"/p/{project.slug}/use/").content.decode()
    assert "There is no trained model yet" in page


def test_the_owner_sees_health_snippets_and_the_playground(client_for, owner, project, deployed) -> None:
    page = client_for(owner).get(f"/p/{project.slug}/use/").content.decode()
    assert "Clause sorter" in page
    assert "No model server is running" in page
    assert "curl http://testserver/predict" in page
    assert "data-playground" in page
    assert "Take out of use" in page


def test_a_viewer_sees_no_buttons_and_no_playground(client_for, viewer, project, deployed) -> None:
    page = client_for(viewer).get(f"/p/{project.slug}/use/").content.decode()
    assert "data-playground" not in page
    assert "Take out of use" not in page


def test_putting_into_use_rolling_back_and_retiring_by_the_buttons(
    client_for, owner, project, trained, deployed
) -> None:
    from serving_app.queries import current_deployment

    client = client_for(owner)
    second = trained("Second")
    client.post(f"/p/{project.slug}/use/deploy", {"model": second.pk, "statement": "Tried by hand; good enough."})
    current = current_deployment(project)
    assert current.trained_model == second
    client.post(f"/p/{project.slug}/use/deployments/{current.pk}/rollback")
    current = current_deployment(project)
    assert current.trained_model == deployed.trained_model
    url = f"/p/{project.slug}/use/deployments/{current.pk}/retire"
    assert client.post(url, {"confirm_name": "wrong"}).status_code == 422
    assert current_deployment(project) == current
    client.post(url, {"confirm_name": "production"})
    assert current_deployment(project) is None


def test_the_page_of_a_model_leads_to_that_model_first(client_for, owner, project, trained) -> None:
    first = trained("First")
    trained("Second")
    page = client_for(owner).get(f"/p/{project.slug}/use/?model={first.pk}").content.decode()
    assert page.index("First") < page.index("Second")


def test_what_people_wrote_is_never_markup(client_for, owner, project, prediction) -> None:
    page = client_for(owner).get(f"/p/{project.slug}/use/predictions").content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "87%" in page


def test_feedback_is_kept_with_the_answer(client_for, reviewer, project, prediction, client, api_key) -> None:
    url = f"/p/{project.slug}/use/predictions/{prediction.request_id}/feedback"
    client_for(reviewer).post(url, {"verdict": "bad", "correction": "Payment"})
    prediction.refresh_from_db()
    assert (prediction.verdict, prediction.correction, prediction.feedback_by) == ("bad", "Payment", reviewer)
    response = client.post(
        f"/api/v1/predictions/{prediction.request_id}/feedback",
        {"verdict": "good"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {api_key('predict')}"},
    )
    assert response.json()["verdict"] == "good"
    prediction.refresh_from_db()
    assert (prediction.verdict, prediction.correction) == ("good", "")


def test_another_projects_prediction_cannot_be_judged(client_for, outsider, client, api_key, prediction) -> None:
    from accounts_app.models import Project

    theirs = Project.objects.get(memberships__user=outsider)
    url = f"/p/{theirs.slug}/use/predictions/{prediction.request_id}/feedback"
    assert client_for(outsider).post(url, {"verdict": "bad"}).status_code == 404
    headers = {"Authorization": f"Bearer {api_key('predict', of=theirs)}"}
    response = client.post(
        f"/api/v1/predictions/{prediction.request_id}/feedback",
        {"verdict": "bad"},
        content_type="application/json",
        headers=headers,
    )
    assert response.status_code == 404


def test_the_log_is_paged_by_keyset(client, project, api_key) -> None:
    from serving_app.models import Prediction

    Prediction.objects.bulk_create(
        Prediction(
            request_id=f"{n:026d}",
            project=project,
            door="chat",
            model_name="m",
            latency_seconds=0.1,
            at=timezone.now(),
            output=str(n),
        )
        for n in range(5)
    )
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        body = client.get("/api/v1/predictions", query, headers=headers).json()
        seen += [entry["output"] for entry in body["data"]]
        cursor = body["next_cursor"]
    assert seen == ["4", "3", "2", "1", "0"]
