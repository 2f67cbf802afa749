"""Evaluations side by side: paired where the cases are the same, and honest where they are not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import polars as pl
import pytest
from django.core.files.storage import default_storage

from datasets_app.models import Snapshot
from evaluation_app.models import Evaluation
from evaluation_app.operations import keep_report, start_evaluation
from evaluation_app.queries.compare import compared_evaluations
from evaluation_app.queries.compare_words import pair_sentences, pair_title
from finetune_engine.errors import UserError
from tests.evaluation_app.conftest import score
from work_kit.models import Job

pytestmark = pytest.mark.django_db
_numbers = itertools.count()


@pytest.fixture
def judged(actor, trained_model, report, tmp_path):
    """``judged(name, right)``: a finished evaluation whose model got these cases right (True) or wrong."""

    def make(
        name: str,
        right: Sequence[bool],
        *,
        snapshot: Snapshot | None = None,
        asked: str = "Q",
        groups: Sequence[str | None] | None = None,
    ) -> Evaluation:
        evaluation = start_evaluation(actor=actor, trained_model=trained_model, snapshot=snapshot)
        frame = pl.DataFrame(
            {
                "row": list(range(len(right))),
                "prompt": [f"{asked}{n}" for n in range(len(right))],
                "reference": ["Payment"] * len(right),
                "tuned_answer": ["Payment" if hit else f"wrong of {name}" for hit in right],
                "tuned_correct": list(right),
            }
        )
        if groups is not None:
            frame = frame.with_columns(group=pl.Series(groups, dtype=pl.String))
        path = tmp_path / f"{next(_numbers)}.parquet"
        frame.write_parquet(path)
        with open(path, "rb") as file:
            stored = default_storage.save(f"evaluations/{evaluation.pk}/samples.parquet", file)
        share = sum(right) / len(right)
        models = [
            {"key": "base", "name": "demo-base", "scores": [score("accuracy", 0.5, 0.35, 0.65)]},
            {"key": "tuned", "name": name, "scores": [score("accuracy", share, share - 0.1, share + 0.1)]},
        ]
        keep_report(
            evaluation_id=evaluation.pk, report=report | {"models": models, "n": len(right)}, samples_name=stored
        )
        Job.objects.filter(pk=evaluation.pk).update(state="succeeded")
        return evaluation

    return make


@pytest.fixture
def newer(snapshot) -> Snapshot:
    """Another frozen snapshot of the same dataset."""
    return Snapshot.objects.create(
        project=snapshot.project, dataset=snapshot.dataset, number=2, state="ready", sha256="2" * 64,
        task_type="classification", counts=snapshot.counts, storage_prefix="snapshots/two",
    )  # fmt: skip


BETTER = [True] * 38 + [False, True]
WORSE = [True] * 20 + [False] * 18 + [True, True]


def pair_of(project, *evaluations: Evaluation):
    return compared_evaluations(project, [evaluation.pk for evaluation in evaluations]).pairs[0]


def test_the_same_cases_are_compared_pair_by_pair(project, judged) -> None:
    found = pair_of(project, judged("One", WORSE), judged("Two", BETTER)).paired
    assert found is not None
    assert (found.n, found.is_same, found.better, found.worse) == (40, True, 18, 1)
    assert found.difference == pytest.approx(17 / 40)
    assert found.ci_low < found.difference < found.ci_high


def test_its_p_value_is_the_exact_mcnemar_test(project, judged) -> None:
    found = pair_of(project, judged("One", WORSE), judged("Two", BETTER)).paired
    # 18 against 1: 2 * (C(19,0) + C(19,1)) / 2^19
    assert found is not None
    assert found.p_value == pytest.approx(2 * 20 / 2**19)


def test_cases_that_share_groups_are_swapped_group_by_group(project, judged) -> None:
    documents = [f"d{n // 10}" for n in range(40)]
    first, second = judged("One", WORSE, groups=documents), judged("Two", BETTER, groups=documents)
    found = pair_of(project, first, second).paired
    assert found.test == "sign flips over 4 groups"
    assert found.p_value == pytest.approx(swapped_by_hand(WORSE, BETTER, documents))


def test_cases_without_a_shared_group_are_independent(project, judged) -> None:
    alone: list[str | None] = [None] * 40
    found = pair_of(project, judged("One", WORSE, groups=alone), judged("Two", BETTER, groups=alone)).paired
    assert found.test == "exact McNemar"


def swapped_by_hand(first: Sequence[bool], second: Sequence[bool], groups: Sequence[str]) -> float:
    """The share of all ways to swap the two, group by group, that differ by at least as much."""
    gaps: dict[str, int] = {}
    for a, b, group in zip(first, second, groups, strict=True):
        gaps[group] = gaps.get(group, 0) + b - a
    steps = [gap for gap in gaps.values() if gap]
    patterns = itertools.product((1, -1), repeat=len(steps))
    ways = [sum(sign * gap for sign, gap in zip(signs, steps, strict=True)) for signs in patterns]
    return sum(abs(way) >= abs(sum(steps)) for way in ways) / len(ways)


def test_a_clear_gain_is_called_better_and_the_reverse_worse(project, judged) -> None:
    one, two = judged("One", WORSE), judged("Two", BETTER)
    assert pair_title(pair_of(project, one, two)) == "“Two” is better than “One”"
    assert pair_title(pair_of(project, two, one)) == "“One” is worse than “Two”"


def test_a_difference_that_may_be_chance_is_not_called_one(project, judged) -> None:
    pair = pair_of(project, judged("One", [True] * 38 + [False] * 2), judged("Two", [True] * 39 + [False]))
    assert "cannot be told apart" in pair_title(pair)


def test_the_cases_lost_are_named_with_both_answers(project, judged) -> None:
    found = pair_of(project, judged("One", WORSE), judged("Two", BETTER)).paired
    assert found is not None
    (lost,) = found.lost
    assert (lost.row, lost.before, lost.after) == (38, "Payment", "wrong of Two")


def test_other_cases_are_never_paired_and_it_says_so(project, judged, newer) -> None:
    pair = pair_of(project, judged("One", WORSE), judged("Two", BETTER, snapshot=newer, asked="Other "))
    assert (pair.paired, pair.is_same) == (None, False)
    assert "were not asked the same cases" in pair_title(pair)
    # Newcombe's method: 55.0 and 97.5 with intervals of 10 points to either side
    assert "+42.5 points (+28.4 to +56.6)" in pair_sentences(pair)[0]


def test_on_a_newer_snapshot_the_cases_that_both_were_asked_are_paired_by_their_words(project, judged, newer) -> None:
    longer = [*BETTER, *[False] * 5]
    pair = pair_of(project, judged("One", WORSE), judged("Two", longer, snapshot=newer))
    assert pair.paired is not None
    assert (pair.paired.n, pair.is_same) == (40, False)
    assert "On the 40 cases that both were asked" in " ".join(pair_sentences(pair))


def test_several_pairs_are_corrected_together(project, judged) -> None:
    evaluations = [
        judged("One", WORSE),
        judged("Two", BETTER),
        judged("Three", [True] * 24 + [False] * 14 + [True] * 2),
    ]
    pairs = compared_evaluations(project, [evaluation.pk for evaluation in evaluations]).pairs
    strongest = pairs[0]
    assert strongest.paired is not None
    assert strongest.p_holm == pytest.approx(2 * strongest.paired.p_value)


def test_only_settings_that_differ_are_listed(project, judged, newer) -> None:
    found = compared_evaluations(
        project, [judged("One", WORSE).pk, judged("Two", BETTER, snapshot=newer, asked="Other ").pk]
    )
    names = {setting.name for setting in found.settings}
    assert "data" in names
    assert not names & {"split", "suites", "headline", "run.seed"}


def test_one_evaluation_alone_is_refused(project, judged) -> None:
    with pytest.raises(UserError, match="two to six"):
        compared_evaluations(project, [judged("One", WORSE).pk])


def test_one_that_still_runs_is_refused_by_name(project, judged, evaluation) -> None:
    with pytest.raises(UserError, match="The evaluation of Clauses has no results yet"):
        compared_evaluations(project, [judged("One", WORSE).pk, evaluation.pk])


def test_another_projects_evaluation_is_like_a_missing_one(project, outsider, judged) -> None:
    from accounts_app.models import Project

    one, two = judged("One", WORSE), judged("Two", BETTER)
    theirs = Project.objects.get(memberships__user=outsider)
    with pytest.raises(UserError) as caught:
        compared_evaluations(theirs, [one.pk, two.pk])
    assert caught.value.status == 404


def test_the_page_shows_the_verdict_the_figures_and_the_cases_lost(client_for, viewer, project, judged) -> None:
    one, two = judged("One", WORSE), judged("<b>Two</b>", BETTER)
    text = client_for(viewer).get(f"/p/{project.slug}/results/compare?e={one.pk}&e={two.pk}").content.decode()
    assert "is better than" in text
    assert "18 cases went from wrong to right, 1 from right to wrong." in text
    assert f"/results/{two.pk}/samples?cursor=37" in text
    assert "<b>Two</b>" not in text


def test_with_nothing_chosen_the_page_lets_one_choose(client_for, viewer, project, judged) -> None:
    one = judged("One", WORSE)
    judged("Two", BETTER)
    text = client_for(viewer).get(f"/p/{project.slug}/results/compare?e={one.pk}").content.decode()
    assert f'value="{one.pk}" checked' in text


def test_the_page_asks_the_database_few_questions(
    client_for, viewer, project, judged, django_assert_max_num_queries
) -> None:
    ids = [judged(str(n), BETTER).pk for n in range(6)]
    client = client_for(viewer)
    with django_assert_max_num_queries(12):
        assert client.get(f"/p/{project.slug}/results/compare", {"e": ids}).status_code == 200


def test_the_api_gives_the_same(client, api_key, judged) -> None:
    one, two = judged("One", WORSE), judged("Two", BETTER)
    head = {"HTTP_AUTHORIZATION": f"Bearer {api_key('read')}"}
    body = client.get(f"/api/v1/evaluations/compare?ids={one.pk},{two.pk}", **head).json()
    assert (body["same_cases"], body["headline"]) == (True, "accuracy")
    assert body["pairs"][0]["paired"]["difference"] == pytest.approx(17 / 40)
    assert body["data"][1]["scores"]["accuracy"]["value"] == pytest.approx(39 / 40)


def test_whoever_judges_blind_does_not_see_it_meanwhile(client_for, reviewer, trainer, project, judged) -> None:
    from evaluation_app.models import Review

    one, two = judged("One", WORSE), judged("Two", BETTER)
    Review.objects.create(project=project, evaluation=two, name="x", kind="pairs", keys=["base", "tuned"], seed=1)
    url = f"/p/{project.slug}/results/compare?e={one.pk}&e={two.pk}"
    assert "wrong of Two" not in client_for(reviewer).get(url).content.decode()
    assert "wrong of Two" in client_for(trainer).get(url).content.decode()


def test_the_page_asks_few_questions_for_a_reviewer_too(
    client_for, reviewer, project, judged, django_assert_max_num_queries
) -> None:
    ids = [judged(str(n), BETTER).pk for n in range(6)]
    client = client_for(reviewer)
    with django_assert_max_num_queries(12):
        assert client.get(f"/p/{project.slug}/results/compare", {"e": ids}).status_code == 200


def test_evaluations_with_different_figures_are_not_said_to_have_other_cases(project, judged) -> None:
    one, two = judged("One", WORSE), judged("Two", BETTER)
    two.refresh_from_db()
    two.report = two.report | {"headline": "f1"}
    two.save()
    pair = pair_of(project, one, two)
    assert pair.hindrance == "figures"
    assert pair_title(pair) == "“Two” and “One” are judged by different figures"


def test_few_cases_are_few_and_not_others(project, judged) -> None:
    pair = pair_of(project, judged("One", WORSE[:10]), judged("Two", BETTER[:10]))
    assert (pair.hindrance, pair.is_same) == ("few", True)
    assert pair_sentences(pair) == ["They were asked the same cases, but fewer than 20: too few to say more."]


def test_lost_answers_are_not_said_to_be_of_other_cases(project, judged) -> None:
    one, two = judged("One", WORSE), judged("Two", BETTER)
    Evaluation.objects.filter(pk=two.pk).update(samples_name="")
    assert pair_of(project, one, two).hindrance == "answers"


def test_a_file_taken_out_of_the_storage_leaves_the_figures_to_compare(client_for, viewer, project, judged) -> None:
    one, two = judged("One", WORSE), judged("Two", BETTER)
    two.refresh_from_db()
    default_storage.delete(two.samples_name)
    answer = client_for(viewer).get(f"/p/{project.slug}/results/compare?e={one.pk}&e={two.pk}")
    assert answer.status_code == 200
    assert "cannot be held against each other case by case" in answer.content.decode()
