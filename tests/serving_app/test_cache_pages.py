"""The page about caches and its twin in the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployment(actor):
    from serving_app.operations import deploy_model

    return deploy_model(actor=actor, base_model_key="demo-base")


@pytest.fixture
def entry(project):
    from finetune_engine.serve.semantic import packed
    from serving_app.models import SemanticEntry

    return SemanticEntry.objects.create(
        project=project, model_identity="base:demo", context_sha256="c" * 64, embedder="embed:minilm",
        question="How do I cancel <b>the policy</b>?", vector=packed([1.0] * 8), request_id="1" * 26,
        answer={"choices": [["Write to us, a month before it ends.", "stop"]]},
        expires_at=timezone.now() + timedelta(days=7),
    )  # fmt: skip


@pytest.fixture
def serving(project, entry):
    from serving_app.models import SemanticServing

    return SemanticServing.objects.create(
        project=project, entry=entry, request_id="2" * 26, asked="How can I cancel the policy?",
        kept_question=entry.question, similarity=0.97,
    )  # fmt: skip


def test_without_a_model_in_use_the_page_says_where_to_go(client_for, viewer, project):
    page = client_for(viewer).get(f"/p/{project.slug}/use/caches").content.decode()
    assert "No model is in use" in page


def test_the_owner_switches_the_semantic_cache_on_and_sets_the_threshold(client_for, owner, project, deployment):
    data = {"uses_exact_cache": "on", "uses_semantic_cache": "on", "threshold": "0.9"}
    client_for(owner).post(f"/p/{project.slug}/use/caches", data)
    deployment.refresh_from_db()
    assert (deployment.uses_exact_cache, deployment.uses_semantic_cache, deployment.semantic_threshold) == (
        True,
        True,
        0.9,
    )


def test_a_threshold_above_one_comes_back_with_its_mistake(client_for, owner, project, deployment):
    response = client_for(owner).post(f"/p/{project.slug}/use/caches", {"threshold": "1.2"})
    assert response.status_code == 422
    deployment.refresh_from_db()
    assert deployment.semantic_threshold is None


def test_told_pairs_are_listed_and_never_markup(client_for, viewer, project, deployment, serving):
    page = client_for(viewer).get(f"/p/{project.slug}/use/caches").content.decode()
    assert "How can I cancel the policy?" in page
    assert "&lt;b&gt;the policy&lt;/b&gt;" in page
    assert "Same meaning" not in page  # a viewer judges nothing


def test_a_different_meaning_denies_the_entry_and_counts(client_for, reviewer, project, deployment, serving, entry):
    client = client_for(reviewer)
    client.post(f"/p/{project.slug}/use/caches/servings/{serving.pk}/judge", {"verdict": "wrong"})
    entry.refresh_from_db()
    assert (entry.denied_at is not None, entry.denied_by) == (True, reviewer)
    page = client.get(f"/p/{project.slug}/use/caches").content.decode()
    assert "100.0%" in page
    assert "of 1 judged" in page


def test_the_same_meaning_leaves_the_entry_and_can_be_taken_back(client_for, reviewer, project, serving, entry):
    url = f"/p/{project.slug}/use/caches/servings/{serving.pk}/judge"
    client = client_for(reviewer)
    client.post(url, {"verdict": "right"})
    serving.refresh_from_db()
    assert (serving.verdict, serving.judged_by) == ("right", reviewer)
    client.post(url, {"verdict": ""})
    serving.refresh_from_db()
    entry.refresh_from_db()
    assert (serving.verdict, serving.judged_by, entry.denied_at) == ("", None, None)


def test_denying_and_allowing_again_keeps_the_record_of_tellings(client_for, owner, project, serving, entry):
    from serving_app.models import SemanticEntry
    from serving_app.queries.caches import live_entries

    client = client_for(owner)
    client.post(f"/p/{project.slug}/use/caches/entries/{entry.pk}/deny")
    assert not live_entries().exists()
    assert "Allow again" in client.get(f"/p/{project.slug}/use/caches/entries").content.decode()
    client.post(f"/p/{project.slug}/use/caches/entries/{entry.pk}/allow")
    serving.refresh_from_db()
    assert live_entries().get() == serving.entry
    assert SemanticEntry.objects.count() == 1


@pytest.mark.parametrize("path", ["entries/{entry}/deny", "entries/{entry}/allow", "clear"])
def test_a_reviewer_neither_denies_nor_clears(client_for, reviewer, project, entry, path):
    url = f"/p/{project.slug}/use/caches/{path.format(entry=entry.pk)}"
    assert client_for(reviewer).post(url).status_code == 403


def test_another_projects_pair_cannot_be_judged_or_denied(client_for, outsider, serving, entry):
    from accounts_app.models import Project

    theirs = Project.objects.get(memberships__user=outsider)
    client = client_for(outsider)
    for path in (f"servings/{serving.pk}/judge", f"entries/{entry.pk}/deny"):
        assert client.post(f"/p/{theirs.slug}/use/caches/{path}", {"verdict": "wrong"}).status_code == 404


def test_the_api_says_what_the_page_says(client, api_key, project, deployment, serving):
    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    json = {"content_type": "application/json", "headers": headers}
    changed = client.patch("/api/v1/caches", {"uses_semantic_cache": True}, **json).json()
    assert (changed["uses_exact_cache"], changed["uses_semantic_cache"], changed["threshold"]) == (True, True, None)
    (told,) = client.get("/api/v1/caches/servings", headers=headers).json()["data"]
    judged = client.post(f"/api/v1/caches/servings/{told['id']}/judge", {"verdict": "wrong"}, **json).json()
    assert judged["verdict"] == "wrong"
    body = client.get("/api/v1/caches", headers=headers).json()
    assert (body["entries"], body["false_hits"]["count"], body["false_hits"]["n"]) == (0, 1, 1)
    assert {row["threshold"] for row in body["thresholds"]["shipped"]} >= {0.86}
    (entry,) = client.get("/api/v1/caches/entries", headers=headers).json()["data"]
    assert entry["denied_at"] is not None
    client.post(f"/api/v1/caches/entries/{entry['id']}/allow", **json)
    assert client.post("/api/v1/caches/clear", **json).json() == {"entries": 1}


def test_a_key_that_may_only_read_changes_nothing(client, api_key, deployment):
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    response = client.patch(
        "/api/v1/caches", {"uses_semantic_cache": True}, content_type="application/json", headers=headers
    )
    assert response.status_code == 403


@pytest.mark.django_db(transaction=True)
def test_the_pages_look_right(browse, live_server, owner, project, deployment, serving):
    from tests.browser import looks_right_everywhere

    page = browse(1280, user=owner)
    page.goto(f"{live_server.url}/p/{project.slug}/use/caches")
    looks_right_everywhere(page, "caches")
    page.goto(f"{live_server.url}/p/{project.slug}/use/caches/entries")
    looks_right_everywhere(page, "caches entries")
