"""A project's home says where it stands and what comes next."""

from __future__ import annotations

from django.test import Client


def page(client: Client, project) -> str:
    return client.get(f"/p/{project.slug}/").content.decode()


def test_an_empty_project_offers_the_sample_and_the_upload(project, owner, client_for) -> None:
    text = page(client_for(owner), project)
    assert "Use the sample" in text
    assert "Upload examples" in text


def test_a_viewer_is_offered_nothing_they_may_not_do(project, viewer, client_for) -> None:
    assert "Use the sample" not in page(client_for(viewer), project)


def test_the_sample_becomes_data_and_training_is_next(project, owner, client_for, run_jobs) -> None:
    client = client_for(owner)
    where = client.post(f"/p/{project.slug}/sample").headers["Location"]
    assert "/data/" in where
    run_jobs()
    text = page(client, project)
    assert "2,752 rows" in text
    assert "Train a model" in text
    assert "wait for a decision" in text


def test_a_home_page_asks_no_more_than_a_dozen_questions(
    project, owner, client_for, django_assert_max_num_queries
) -> None:
    client = client_for(owner)
    with django_assert_max_num_queries(16):  # four of them are the session, the person, the role and the frame
        page(client, project)


def test_somebody_without_a_project_is_asked_for_one(db, client_for) -> None:
    from accounts_app.models import User

    person = User.objects.create_user(email="new@example.com", password="correct horse battery")
    client = client_for(person)
    assert client.get("/").headers["Location"] == "/projects/new"
    made = client.post("/projects/new", {"name": "Löschung & Frist"})
    assert made.headers["Location"] == "/p/loschung-frist/"


def test_two_projects_of_one_name_get_two_addresses(owner) -> None:
    from accounts_app.operations import create_project

    assert create_project(user=owner, name="Claims").slug == "claims"
    assert create_project(user=owner, name="Claims").slug == "claims-2"
