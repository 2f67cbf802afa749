"""The way of a complaint: proposed, accepted, frozen, learned, asked again, in use; and its figures."""

# ruff: noqa: F401, F811  # fixtures are imported
from __future__ import annotations

import hashlib

import pytest

from tests.serving_app.complaints import (
    QUESTION,
    accept_waiting,
    clauses,
    complaint,
    dataset_from,
    decide_last,
    first,
    freeze,
    in_use,
    judged,
    quick_jobs,
    stage_of,
    upload_of,
    version,
)

pytestmark = pytest.mark.django_db


def test_the_way_of_a_complaint_from_said_to_in_use(
    actor,
    complaint,
    clauses,
    quick_jobs,
    freeze,
    version,
    judged,
    project,
) -> None:
    from datasets_app.models import Dataset
    from serving_app.operations import deploy_model
    from serving_app.operations.proposals import keep_as_cases, propose_corrections

    given = complaint()
    seen = [stage_of(given)]
    propose_corrections(actor=actor, feedback=[given])
    keep_as_cases(actor=actor, feedback=[given])
    quick_jobs()
    seen.append(stage_of(given))
    decide_last(actor, clauses, "accept")
    seen.append(stage_of(given))
    snapshot = freeze(Dataset.objects.get(pk=clauses.pk), split={"train": 1.0})
    seen.append(stage_of(given))
    model = version("V2", snapshot)
    seen.append(stage_of(given))
    given.refresh_from_db()
    judged(model, snapshot, asked=[given.regression_case], failed=[given.regression_case])
    seen.append(stage_of(given))
    judged(model, snapshot, asked=[given.regression_case])
    seen.append(stage_of(given))
    deploy_model(actor=actor, trained_model=model, sign_off="It learned what people told it.")
    seen.append(stage_of(given))
    assert seen == ["corrected", "proposed", "accepted", "frozen", "trained", "still_wrong", "passed", "in_use"]


def test_a_row_that_a_reviewer_rejects_is_left_out(actor, complaint, clauses, quick_jobs) -> None:
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    decide_last(actor, clauses, "reject")
    assert stage_of(given) == "left_out"


def test_the_same_question_in_an_evaluation_counts_without_a_case(
    actor,
    complaint,
    clauses,
    first,
    judged,
    project,
    freeze,
) -> None:
    import json

    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    given = complaint()
    rows = pl.DataFrame(
        {"row": [7], "prompt": [QUESTION], "reference": ["Termination"], "messages": [json.dumps(given.messages)],
         "tuned_answer": ["Termination"], "tuned_correct": [True]}
    )  # fmt: skip
    name = default_storage.save("evaluations/asked-again.parquet", ContentFile(b""))
    rows.write_parquet(default_storage.path(name))
    judged(first, first.training_job.snapshot, samples_name=name)
    assert stage_of(given) == "in_use", "the deployed version answers it rightly now"


def test_the_newest_version_is_told_what_it_fixed_and_what_it_broke(
    actor, complaint, judged, first, version, project
) -> None:
    from evaluation_app.models import RegressionCase
    from serving_app.operations.proposals import keep_as_cases
    from serving_app.queries.feedback_figures import newest_change

    questions = ("Who pays?", "Who cleans?", "Who paints?")
    keep_as_cases(actor=actor, feedback=[complaint(question) for question in questions])
    a, b, c = RegressionCase.objects.order_by("id")
    snapshot = first.training_job.snapshot
    judged(first, snapshot, asked=[a, b, c], failed=[a])
    judged(version("V2", snapshot), snapshot, asked=[a, b, c], failed=[c])
    change = newest_change(project)
    assert (change.newest, change.before) == ("V2", "V1")
    assert ([entry.case for entry in change.fixed], [entry.case for entry in change.broke]) == ([a], [c])


def test_verdicts_are_counted_by_reason_week_and_version_with_wilsons_interval(complaint, project) -> None:
    from serving_app.queries.feedback_figures import feedback_figures

    complaint(reasons=["wrong", "tone"])
    complaint("Two?", reasons=["wrong"])
    complaint("Three?", "")
    complaint("Four?", "", verdict="good")
    figures = feedback_figures(project)
    assert {name: count for name, _words, count in figures.reasons} == {"wrong": 2, "tone": 1, "": 1}
    assert (figures.weeks[-1].good, figures.weeks[-1].bad, len(figures.weeks)) == (1, 3, 12)
    (rate,) = figures.versions
    assert (rate.name, rate.good, rate.bad) == ("V1", 1, 3)
    assert (round(rate.low, 3), round(rate.high, 3)) == (0.046, 0.699)


def test_the_number_of_queries_does_not_grow_with_the_complaints(
    actor,
    complaint,
    project,
    quick_jobs,
    django_assert_max_num_queries,
) -> None:
    from serving_app.operations.proposals import keep_as_cases, propose_corrections
    from serving_app.queries.feedback_figures import feedback_figures, newest_change
    from serving_app.queries.improvement import improvement

    many = [complaint(f"Question {number}?") for number in range(12)]
    propose_corrections(actor=actor, feedback=many)
    keep_as_cases(actor=actor, feedback=many)
    quick_jobs()
    with django_assert_max_num_queries(18):
        assert len(improvement(project).lines) == 12
        feedback_figures(project)
        newest_change(project)


def test_rows_that_are_kept_back_to_judge_are_not_said_to_be_learned(
    actor, complaint, clauses, quick_jobs, freeze, version, project
) -> None:
    from datasets_app.models import Dataset
    from serving_app.operations.proposals import propose_corrections
    from serving_app.queries.improvement import improvement

    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(20)]
    unlike = [" ".join(digest[at : at + 8] for at in range(0, 64, 8)) for digest in digests]
    propose_corrections(actor=actor, feedback=[complaint(question) for question in unlike])
    quick_jobs()
    for _ in range(20):
        accept_waiting(actor, clauses)
    version("V2", freeze(Dataset.objects.get(pk=clauses.pk), split={"train": 0.5, "validation": 0.5}))
    lines = improvement(project).lines
    assert {line.stage for line in lines} == {"trained"}
    assert {(line.split, line.is_learned) for line in lines} == {("train", True), ("validation", False)}


def test_judging_an_old_version_again_does_not_make_it_the_newest(
    actor, complaint, judged, first, version, project
) -> None:
    from evaluation_app.models import RegressionCase
    from serving_app.operations.proposals import keep_as_cases
    from serving_app.queries.feedback_figures import newest_change

    keep_as_cases(actor=actor, feedback=[complaint()])
    case, snapshot = RegressionCase.objects.get(), first.training_job.snapshot
    judged(version("V2", snapshot), snapshot, asked=[case])
    judged(first, snapshot, asked=[case], failed=[case])
    change = newest_change(project)
    assert (change.newest, change.before, change.compared) == ("V2", "V1", 1)
    assert (change.n_fixed, change.n_broke) == (1, 0)


def test_a_row_whose_file_was_taken_out_of_the_data_can_be_proposed_anew(actor, complaint, clauses, quick_jobs) -> None:
    from datasets_app.models import Dataset
    from datasets_app.operations import withdraw_rows
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    dataset = Dataset.objects.get(pk=clauses.pk)
    withdraw_rows(actor=actor, dataset=dataset, source=dataset.sources.order_by("-number")[0])
    quick_jobs()
    assert stage_of(given) == "corrected"
    assert propose_corrections(actor=actor, feedback=[given]).added == 1


def test_a_complaint_whose_data_was_deleted_waits_again(actor, complaint, clauses, quick_jobs) -> None:
    from datasets_app.models import Dataset
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    Dataset.objects.filter(pk=clauses.pk).update(deleted_at=given.at)
    assert stage_of(given) == "corrected"
