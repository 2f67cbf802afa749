"""One figure over all versions of a project."""

from __future__ import annotations

import pytest

from datasets_app.models import Snapshot
from evaluation_app.models import Evaluation
from evaluation_app.operations import keep_report, start_evaluation
from evaluation_app.queries.history import MOST_VERSIONS, project_history
from tests.evaluation_app.conftest import score
from work_kit.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def judged(actor, trained_model, report):
    def make(accuracy: float, *, snapshot: Snapshot | None = None, **more) -> Evaluation:
        evaluation = start_evaluation(actor=actor, trained_model=trained_model, snapshot=snapshot)
        scores = [score("accuracy", accuracy, accuracy - 0.1, accuracy + 0.1), score("perplexity", 9 - accuracy)]
        told = report | {"models": [{"key": "tuned", "name": "Clauses", "scores": scores}]} | more
        keep_report(evaluation_id=evaluation.pk, report=told, samples_name="")
        Job.objects.filter(pk=evaluation.pk).update(state="succeeded")
        return evaluation

    return make


@pytest.fixture
def newer(snapshot) -> Snapshot:
    return Snapshot.objects.create(
        project=snapshot.project, dataset=snapshot.dataset, number=2, state="ready", sha256="2" * 64,
        task_type="classification", counts=snapshot.counts, storage_prefix="snapshots/two",
    )  # fmt: skip


def test_versions_stand_from_old_to_new_with_their_headline(project, judged) -> None:
    judged(0.6)
    judged(0.7)
    found = project_history(project)
    assert (found.metric, [version.value for version in found.versions]) == ("accuracy", [0.6, 0.7])


def test_another_figure_can_be_chosen(project, judged) -> None:
    judged(0.6)
    found = project_history(project, "perplexity")
    assert found.versions[0].value == pytest.approx(8.4)
    assert [name for name, _words in found.choices] == ["accuracy", "perplexity"]


def test_an_unknown_figure_falls_back_to_the_headline(project, judged) -> None:
    judged(0.6)
    assert project_history(project, "<script>").metric == "accuracy"


def test_other_test_data_is_another_series(project, judged, newer) -> None:
    judged(0.6)
    judged(0.9, snapshot=newer)
    judged(0.7)
    assert [version.series for version in project_history(project).versions] == [1, 2, 1]


def test_the_best_is_the_best_of_its_own_series(project, judged, newer) -> None:
    judged(0.6)
    judged(0.9, snapshot=newer)
    best = judged(0.7)
    first, second = project_history(project).series
    assert first.best
    assert first.best.evaluation_id == best.pk
    assert second.best is None, "a version alone is not the best of anything"


def test_where_less_is_better_the_best_is_the_lowest(project, judged) -> None:
    judged(0.6)
    lowest = judged(0.9)
    best = project_history(project, "perplexity").series[0].best
    assert best
    assert best.evaluation_id == lowest.pk


def test_only_the_newest_versions_are_listed(project, judged) -> None:
    first = judged(0.6)
    for _ in range(MOST_VERSIONS):
        judged(0.7)
    found = project_history(project).versions
    assert len(found) == MOST_VERSIONS
    assert first.pk not in {version.evaluation_id for version in found}


def test_the_dots_lead_to_their_evaluations_and_a_change_of_cases_is_drawn(client_for, viewer, project, judged, newer):
    one, two = judged(0.6), judged(0.9, snapshot=newer)
    text = client_for(viewer).get(f"/p/{project.slug}/results/history").content.decode()
    for evaluation in (one, two):
        assert f'<a href="/p/{project.slug}/results/{evaluation.pk}" aria-label="Clauses, Contract clauses' in text
    assert text.count("svg-interval-reference") == 1
    assert "2 different sets of cases" in text


def test_cases_kept_and_overall_score_stand_beside_it(client_for, viewer, project, judged) -> None:
    judged(0.6, regressions={"n": 5, "passed": 4, "failed": []}, overall_score={"value": 0.71})
    text = client_for(viewer).get(f"/p/{project.slug}/results/history").content.decode()
    assert "4/5" in text
    assert "71 of 100" in text


def test_an_empty_project_says_what_goes_here(client_for, trainer, project) -> None:
    text = client_for(trainer).get(f"/p/{project.slug}/results/history").content.decode()
    assert "Each finished evaluation becomes a dot here." in text


def test_the_page_asks_the_database_few_questions(client_for, viewer, project, judged, django_assert_max_num_queries):
    for _ in range(12):
        judged(0.6)
    client = client_for(viewer)
    with django_assert_max_num_queries(12):
        assert client.get(f"/p/{project.slug}/results/history").status_code == 200


def test_the_api_gives_the_same(client, api_key, judged) -> None:
    judged(0.6, regressions={"n": 5, "passed": 4, "failed": []})
    body = client.get("/api/v1/evaluations/history", HTTP_AUTHORIZATION=f"Bearer {api_key('read')}").json()
    assert (body["metric"], body["metrics"]) == ("accuracy", ["accuracy", "perplexity"])
    assert body["data"][0]["regressions"] == {"passed": 4, "n": 5}
