"""What the pages of an evaluation say."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client_for, viewer, project):
    client = client_for(viewer)

    def get(path: str = "") -> str:
        response = client.get(f"/p/{project.slug}/results/{path}")
        assert response.status_code == 200, response.status_code
        return response.content.decode()

    return get


def test_an_empty_project_says_what_goes_here(page) -> None:
    assert "Nothing to judge yet" in page()


def test_a_model_that_was_not_judged_is_offered(client_for, trainer, project, trained_model) -> None:
    text = client_for(trainer).get(f"/p/{project.slug}/results/").content.decode()
    assert "No model has been judged yet" in text
    assert f"/p/{project.slug}/results/new" in text


def test_the_form_says_beforehand_what_the_sample_can_show(client_for, trainer, project, trained_model) -> None:
    text = client_for(trainer).get(f"/p/{project.slug}/results/new?model={trained_model.pk}").content.decode()
    assert "40 cases: a 15-point gain is missed" in text


def test_the_button_on_a_models_page_starts_it_with_nothing_but_the_model(
    client_for, trainer, project, trained_model
) -> None:
    from evaluation_app.models import Evaluation

    client = client_for(trainer)
    response = client.post(f"/p/{project.slug}/results/new", {"trained_model": trained_model.pk})
    evaluation = Evaluation.objects.get()
    assert response["Location"] == f"/p/{project.slug}/results/{evaluation.pk}"
    assert evaluation.created_by == trainer


def test_a_refused_form_is_422_and_keeps_what_was_typed(client_for, trainer, project, trained_model) -> None:
    url = f"/p/{project.slug}/results/new"
    response = client_for(trainer).post(url, {"trained_model": trained_model.pk, "split": "validation", "limit": 7})
    assert response.status_code == 422
    text = response.content.decode()
    assert "has no validation rows" in text
    assert 'value="7"' in text


def test_while_it_runs_the_page_is_live_and_can_be_cancelled(client_for, trainer, project, evaluation) -> None:
    client = client_for(trainer)
    url = f"/p/{project.slug}/results/{evaluation.pk}"
    text = client.get(url).content.decode()
    assert f'data-events-url="{url}/events"' in text
    client.post(f"{url}/stop")
    evaluation.work.refresh_from_db()
    assert evaluation.work.state == "cancelled"
    assert "This evaluation was cancelled" in client.get(url).content.decode()


def test_a_failure_says_what_happened_and_the_way_out(page, evaluation) -> None:
    from work_kit.models import Job

    Job.objects.filter(pk=evaluation.pk).update(
        state="failed", failure_reason="oom_host", failure={"message": "needed 9 GB, had 4 GB"}
    )
    text = page(evaluation.pk)
    assert "The machine ran out of memory." in text
    assert "needed 9 GB, had 4 GB" in text
    assert "free memory on the machine" in text


def test_the_verdict_comes_first_then_figures_in_words(page, done) -> None:
    text = page(done.pk)
    assert text.index("Ship: it answers 33 of 40") < text.index("The figures")
    assert "82.5%" in text
    assert "(68.0% to 91.0%)" in text
    assert (
        "+32.5 points against the base model (+15.0 to +50.0); chance alone does this less than 1 time in 1,000" in text
    )
    assert 'aria-label="Clauses: 82.5% (68.0% to 91.0%)"' in text
    assert "5 times “Term &lt;b&gt;” was answered with “Payment”." in text
    assert "versions.torch" in text


def test_rows_are_never_markup(page, done) -> None:
    text = page(done.pk)
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "Term <b>" not in text


def test_only_an_owner_is_offered_to_sign_and_then_to_put_a_model_into_use(
    page, client_for, owner, project, done, actor
) -> None:
    from evaluation_app.operations import sign_off_model

    assert "Put into use" not in page(done.pk)
    client = client_for(owner)
    text = client.get(f"/p/{project.slug}/results/{done.pk}").content.decode()
    assert "Sign off" in text
    assert "Put into use" not in text
    sign_off_model(actor=actor, trained_model=done.trained_model, evaluation=done)
    assert "Put into use" in client.get(f"/p/{project.slug}/results/{done.pk}").content.decode()


def test_the_report_is_a_file(client_for, viewer, project, done, report) -> None:
    response = client_for(viewer).get(f"/p/{project.slug}/results/{done.pk}/report.json")
    assert response["Content-Disposition"].startswith("attachment")
    assert report.items() <= response.json().items()


def test_another_projects_evaluation_is_like_a_missing_one(client_for, outsider, done) -> None:
    from accounts_app.models import Project

    theirs = Project.objects.get(memberships__user=outsider)
    for rest in ("", "/samples", "/report.json", "/events"):
        assert client_for(outsider).get(f"/p/{theirs.slug}/results/{done.pk}{rest}").status_code == 404


def test_a_viewer_is_told_who_can_judge_a_model(page, trained_model) -> None:
    text = page()
    assert "No model has been judged yet" in text
    assert "can start an evaluation" in text


def test_the_list_and_the_answers_take_at_most_twelve_queries(
    client_for, trainer, project, done, actor, trained_model, django_assert_max_num_queries
) -> None:
    from evaluation_app.operations import start_evaluation

    for n in range(5):
        start_evaluation(actor=actor, trained_model=trained_model, limit=n + 1)
    client = client_for(trainer)
    for path in ("", f"{done.pk}/samples"):
        with django_assert_max_num_queries(12):
            assert client.get(f"/p/{project.slug}/results/{path}").status_code == 200
