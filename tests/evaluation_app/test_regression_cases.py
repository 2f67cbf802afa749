"""Cases that no later model may get wrong: where they come from, and who broke them first."""

from __future__ import annotations

import json

import polars as pl
import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.operations import keep_report, start_evaluation
from evaluation_app.operations import regressions as writing
from evaluation_app.operations.regressions import NewCase, add_cases, add_cases_from_rows, remove_case, restore_case
from evaluation_app.queries.regressions import case_lines, kept_count
from evaluation_app.queries.rules import active_cases
from finetune_engine.errors import UserError
from work_kit.models import Job

pytestmark = pytest.mark.django_db


def one(question: str = "May we terminate?", expected: str = "Yes", **more) -> NewCase:
    return NewCase([{"role": "user", "content": question}], expected, **more)


@pytest.fixture
def case(actor) -> RegressionCase:
    return add_cases(actor=actor, cases=[one()]).cases[0]


@pytest.fixture
def judged(actor, trained_model, report):
    """``judged(failed, n=1)``: one more finished evaluation whose model failed these cases."""

    def make(*failed: RegressionCase, n: int = 1) -> Evaluation:
        evaluation = start_evaluation(actor=actor, trained_model=trained_model)
        told = [{"id": case.pk, "prompt": "?", "expected": "Yes", "answer": "Never", "why": "no"} for case in failed]
        regressions = {"n": n, "passed": n - len(told), "failed": told}
        keep_report(evaluation_id=evaluation.pk, report=report | {"regressions": regressions}, samples_name="")
        Job.objects.filter(pk=evaluation.pk).update(state="succeeded")
        return evaluation

    return make


@pytest.fixture
def sampled(done, tmp_path) -> Evaluation:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is rent due?"}]
    frame = pl.DataFrame(
        {"row": [7, 9], "prompt": ["Is rent due?", "What of notice?"], "reference": ["Yes", "30 days"],
         "messages": [json.dumps(messages), None], "tuned_answer": ["No", "30 days"]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "samples.parquet")
    with open(tmp_path / "samples.parquet", "rb") as file:
        done.samples_name = default_storage.save("evaluations/y/samples.parquet", file)
    done.save()
    return done


def test_a_case_goes_into_the_spec_of_later_evaluations(case, project) -> None:
    messages = [{"role": "user", "content": "May we terminate?"}]
    assert active_cases(project) == [{"id": case.pk, "messages": messages, "expected": "Yes", "note": ""}]


def test_the_same_case_twice_is_one(actor, case) -> None:
    added = add_cases(actor=actor, cases=[one(), one("Another?")])
    assert (len(added.cases), added.known) == (1, 1)


def test_one_bad_case_keeps_all_of_them_out(actor, project) -> None:
    with pytest.raises(UserError, match="which answer is right"):
        add_cases(actor=actor, cases=[one(), one(expected=" ")])
    assert active_cases(project) == []


def test_a_conversation_that_ends_with_an_answer_is_refused(actor) -> None:
    with pytest.raises(UserError, match="must be a question"):
        add_cases(actor=actor, cases=[NewCase([{"role": "assistant", "content": "Hello"}], "Yes")])


def test_more_cases_than_the_limit_are_refused_together(actor, project, monkeypatch) -> None:
    monkeypatch.setattr(writing, "MOST_CASES", 2)
    with pytest.raises(UserError, match="it has 0, and 3 would come on top"):
        add_cases(actor=actor, cases=[one(str(n)) for n in range(3)])
    assert active_cases(project) == []


def test_a_removed_case_is_not_asked_until_it_is_put_back(actor, case, project) -> None:
    remove_case(actor=actor, case=case)
    assert active_cases(project) == []
    restore_case(actor=actor, case=case)
    assert len(active_cases(project)) == 1


def test_a_row_of_an_evaluation_keeps_its_whole_conversation_and_where_it_came_from(actor, sampled) -> None:
    (kept,) = add_cases_from_rows(actor=actor, evaluation=sampled, rows=[7]).cases
    assert [message["role"] for message in kept.messages] == ["system", "user"]
    assert (kept.expected, kept.origin) == ("Yes", {"kind": "evaluation", "id": sampled.pk, "row": 7})


def test_a_row_that_was_not_asked_is_refused(actor, sampled) -> None:
    with pytest.raises(UserError, match="no case of row 8") as caught:
        add_cases_from_rows(actor=actor, evaluation=sampled, rows=[7, 8])
    assert caught.value.status == 404


def test_a_new_case_was_not_asked_yet(case, project) -> None:
    (line,) = case_lines(project, [case])
    assert (line.latest, line.state_words) == (None, "not asked yet")


def test_a_case_names_the_version_that_broke_it_first_and_the_newest_state(case, project, judged) -> None:
    judged()
    first = judged(case)
    judged(case)
    healed = judged()
    (line,) = case_lines(project, [case])
    assert line.first_broken
    assert line.first_broken.evaluation_id == first.pk
    assert line.latest
    assert line.latest.evaluation_id == healed.pk
    assert line.latest.passed


def test_evaluations_from_before_a_case_say_nothing_about_it(actor, project, judged) -> None:
    judged()
    (late,) = add_cases(actor=actor, cases=[one("Later?")]).cases
    RegressionCase.objects.filter(pk=late.pk).update(created_at=timezone.now())
    late.refresh_from_db()
    assert case_lines(project, [late])[0].latest is None


def test_the_count_is_of_cases_that_still_apply(actor, case, project, judged) -> None:
    (other,) = add_cases(actor=actor, cases=[one("Other?")]).cases
    judged(case, other, n=2)
    remove_case(actor=actor, case=other)
    assert kept_count(project) == (0, 1)


def test_the_page_shows_the_answer_that_broke_it(client_for, viewer, project, case, judged) -> None:
    evaluation = judged(case)
    text = client_for(viewer).get(f"/p/{project.slug}/results/cases").content.decode()
    assert "forgotten" in text
    assert "Never" in text
    assert f"/p/{project.slug}/results/{evaluation.pk}" in text
    assert "/remove" not in text, "a viewer is offered no act"


def test_one_case_is_written_in_the_form(client_for, reviewer, project) -> None:
    url = f"/p/{project.slug}/results/cases/new"
    response = client_for(reviewer).post(url, {"act": "one", "question": "Q?", "expected": "A", "note": "why"})
    assert response.status_code == 302
    kept = RegressionCase.objects.get()
    assert (kept.messages, kept.expected, kept.note) == ([{"role": "user", "content": "Q?"}], "A", "why")


def test_many_are_pasted_from_a_table_or_as_json_lines(client_for, reviewer, project) -> None:
    text = 'Q1\tA1\tbecause\n\n{"question": "Q2", "expected": "A2"}\n'
    client_for(reviewer).post(f"/p/{project.slug}/results/cases/new", {"act": "paste", "text": text})
    kept = RegressionCase.objects.values_list("messages__0__content", "expected", "note")
    assert set(kept) == {("Q1", "A1", "because"), ("Q2", "A2", "")}


def test_a_pasted_line_that_cannot_be_read_is_named_and_nothing_is_kept(client_for, reviewer, project) -> None:
    url = f"/p/{project.slug}/results/cases/new"
    response = client_for(reviewer).post(url, {"act": "paste", "text": "Q1\tA1\nonly a question"})
    assert response.status_code == 422
    assert "Line 2 has no question with a right answer" in response.content.decode()
    assert not RegressionCase.objects.exists()


def test_rows_are_kept_from_the_list_of_all_cases(client_for, reviewer, project, sampled) -> None:
    client_for(reviewer).post(f"/p/{project.slug}/results/{sampled.pk}/keep", {"row": ["7", "9"]})
    assert set(RegressionCase.objects.values_list("expected", flat=True)) == {"Yes", "30 days"}


def test_a_case_is_removed_and_put_back_on_the_page(client_for, reviewer, project, case) -> None:
    client = client_for(reviewer)
    client.post(f"/p/{project.slug}/results/cases/{case.pk}/remove")
    assert active_cases(project) == []
    client.post(f"/p/{project.slug}/results/cases/{case.pk}/restore")
    assert len(active_cases(project)) == 1


def test_another_projects_case_is_like_a_missing_one(client_for, outsider, case) -> None:
    from accounts_app.models import Project

    theirs = Project.objects.get(memberships__user=outsider)
    assert client_for(outsider).post(f"/p/{theirs.slug}/results/cases/{case.pk}/remove").status_code == 404


def test_the_api_adds_lists_removes_and_restores(client, api_key, sampled) -> None:
    head = {"HTTP_AUTHORIZATION": f"Bearer {api_key('train')}", "content_type": "application/json"}
    url = "/api/v1/regression-cases"
    made = client.post(url, {"cases": [{"question": "Q?", "expected": "A"}]}, **head)
    assert made.status_code == 201
    (case,) = made.json()["data"]
    again = client.post(url, {"cases": [{"question": "Q?", "expected": "A"}]}, **head).json()
    assert (again["data"], again["known"]) == ([], 1)
    (row,) = client.post(url, {"evaluation": sampled.pk, "rows": [9]}, **head).json()["data"]
    assert (row["expected"], row["origin"]["row"]) == ("30 days", 9)
    assert [found["id"] for found in client.get(url, **head).json()["data"]] == [row["id"], case["id"]]
    assert client.delete(f"{url}/{case['id']}", **head).json()["removed_at"]
    assert client.post(f"{url}/{case['id']}/restore", **head).json()["removed_at"] is None


def test_a_case_that_was_not_asked_is_not_called_kept(actor, project, case, judged) -> None:
    evaluation = judged()
    report = dict(evaluation.report)
    Evaluation.objects.filter(pk=evaluation.pk).update(
        report=report | {"regressions": {"n": 1, "passed": 1, "failed": [], "asked": ["another"]}}
    )
    assert case_lines(project, [case])[0].latest is None
    assert kept_count(project) == (0, 0)
