"""What a project's home says about judging: measure, vote, sign, and then use."""

from __future__ import annotations

import pytest
from django.urls import reverse

from evaluation_app.models import Review, ReviewItem, SignOff, Vote
from finetune_site.journey import journey
from work_kit.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def judge_step(project, owner):
    from accounts_app.permissions import project_for

    def step(person=owner):
        steps = journey(project_for(person, project.slug, "view")).steps
        return next(step for step in steps if step.name == "Judge")

    return step


@pytest.fixture
def review(done, project) -> Review:
    """An open review of two cases for two people, with one vote."""
    review = Review.objects.create(
        project=project,
        evaluation=done,
        name="Lawyers",
        kind="pairs",
        keys=["base", "tuned"],
        raters_per_item=2,
        seed=1,
    )
    items = [ReviewItem.objects.create(review=review, number=n, row=n, messages=[]) for n in range(2)]
    Vote.objects.create(item=items[0], rater="user:1", choice="left", left_key="base")
    return review


def test_a_good_verdict_asks_an_owner_to_sign(judge_step, done) -> None:
    step = judge_step()
    assert (step.state, step.act) == ("now", "Read and sign off")
    assert step.act_url == reverse("evaluation:sign_off", args=[done.project.slug, done.trained_model_id])


def test_somebody_else_is_only_told_the_verdict(judge_step, done, trainer) -> None:
    step = judge_step(trainer)
    assert (step.state, step.act, step.sentence) == ("done", "", done.verdict_sentence)


def test_missing_votes_come_before_the_signature(judge_step, review, reviewer) -> None:
    step = judge_step(reviewer)
    assert step.sentence.startswith("A review waits: 3 votes are missing.")
    assert (step.state, step.act) == ("now", "Judge the answers")
    assert review.pk in step.act_url


def test_a_viewer_is_not_asked_to_vote(judge_step, review, viewer) -> None:
    assert judge_step(viewer).act == ""


def test_a_closed_review_waits_for_nobody(judge_step, review) -> None:
    Review.objects.update(state="closed")
    assert judge_step().act == "Read and sign off"


def test_a_signature_ends_the_step_until_it_is_withdrawn(judge_step, done, project) -> None:
    from django.utils import timezone

    SignOff.objects.create(project=project, trained_model=done.trained_model, evaluation=done)
    assert judge_step().state == "done"
    assert judge_step().sentence.startswith("Signed off.")
    SignOff.objects.update(withdrawn_at=timezone.now())
    assert judge_step().act == "Read and sign off"


def test_a_verdict_against_it_asks_for_no_signature(judge_step, done) -> None:
    done.verdict = "do_not_ship"
    done.save()
    assert (judge_step().state, judge_step().act) == ("warn", "See what would help")


def test_a_model_that_should_not_be_used_is_not_offered_for_use(project, owner, done) -> None:
    from accounts_app.permissions import project_for

    done.verdict = "do_not_ship"
    done.save()
    assert journey(project_for(owner, project.slug, "view")).steps[-1].act == ""


def test_a_signed_model_is_offered_for_use_whatever_the_verdict(project, owner, done) -> None:
    from accounts_app.permissions import project_for

    done.verdict = "more_cases"
    done.save()
    SignOff.objects.create(project=project, trained_model=done.trained_model, evaluation=done)
    assert journey(project_for(owner, project.slug, "view")).steps[-1].act == "Deploy it"


def test_an_evaluation_that_failed_says_so(judge_step, done) -> None:
    Job.objects.filter(pk=done.pk).update(state="failed", failure_reason="internal")
    assert judge_step().act == "See why"


def test_home_asks_the_database_no_more_than_before(
    client_for, owner, project, review, django_assert_max_num_queries
) -> None:
    client = client_for(owner)
    with django_assert_max_num_queries(16):  # four of them are the session, the person, the role and the frame
        assert client.get(f"/p/{project.slug}/").status_code == 200


def test_only_the_verdicts_first_sentence_stands_there(judge_step, done) -> None:
    done.verdict_sentence = "Ship: it answers 33 of 40 (82.5 %, p < 0.001). But a rule is broken by 2 answers."
    done.save()
    assert judge_step().sentence == "Ship: it answers 33 of 40 (82.5 %, p < 0.001)."


def test_a_model_that_its_provider_keeps_is_offered_to_be_judged(judge_step, trained_model) -> None:
    trained_model.remote_name = "ft:gpt-x:clauses"
    trained_model.save()
    assert judge_step().act == "Evaluate it"
