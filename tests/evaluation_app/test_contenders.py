"""Which models an evaluation asks beside the one it is about."""

from __future__ import annotations

import pytest

from evaluation_app.models import Contender, Evaluation
from evaluation_app.operations import ContenderWish, repeat_evaluation, start_evaluation
from evaluation_app.operations.evaluations import EvaluationProblems
from evaluation_app.queries.contenders import contender_cards, contenders_of, reference_key, subject_key
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel

pytestmark = pytest.mark.django_db
ADDRESS = "https://models.example.com/v1"


@pytest.fixture
def start(actor, trained_model):
    return lambda *others, **more: start_evaluation(actor=actor, trained_model=trained_model, others=others, **more)


@pytest.fixture
def second_model(trained_model, project):
    """A saved state of the same training, made a model."""
    return TrainedModel.objects.create(
        project=project,
        training_job=trained_model.training_job,
        checkpoint_step=5,
        name="Clauses, step 5",
        base_model_key="demo-base",
        api_name=f"{trained_model.api_name}:ckpt-step-5",
        storage_prefix="models/step-5",
    )


def test_the_base_model_is_always_asked_and_is_what_the_subject_is_compared_with(start) -> None:
    base, tuned = start().contenders.all()
    assert (base.key, base.kind, base.is_reference, base.base_model_key) == ("base", "base", True, "demo-base")
    assert (tuned.key, tuned.kind, tuned.is_subject) == ("tuned", "trained", True)


def test_further_models_are_numbered_in_their_order(start, second_model, connection) -> None:
    evaluation = start(
        ContenderWish(trained_model=second_model),
        ContenderWish(system="Name the kind of clause.", shots=4),
        ContenderWish(connection=connection, remote_name="their-model"),
        cost_approved=True,
    )
    rest = [(one.key, one.kind) for one in evaluation.contenders.all()][2:]
    assert rest == [("model_2", "trained"), ("model_3", "prompted"), ("model_4", "endpoint")]
    prompted, endpoint = evaluation.contenders.get(key="model_3"), evaluation.contenders.get(key="model_4")
    assert prompted.prompt == {"system": "Name the kind of clause.", "shots": 4}
    assert (endpoint.connection, endpoint.remote_name) == (connection, "their-model")
    assert evaluation.settings["addresses"] == {"model_4": ADDRESS}


def test_naming_a_model_twice_is_harmless(start, trained_model, second_model) -> None:
    again = ContenderWish(trained_model=second_model)
    evaluation = start(
        ContenderWish(trained_model=trained_model), ContenderWish(base_model_key="demo-base"), again, again
    )
    assert [one.key for one in evaluation.contenders.all()] == ["base", "tuned", "model_2"]


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (ContenderWish(), "empty_prompt"),
        (ContenderWish(shots=3), "bad_shots"),
        (ContenderWish(system="x" * 8_001), "long_prompt"),
        (ContenderWish(remote_name="their-model"), "no_connection"),
        (ContenderWish(base_model_key="nothing-like-it"), "unknown_base_model"),
    ],
)
def test_a_wish_that_cannot_be_granted_says_why(start, wish, code) -> None:
    with pytest.raises(UserError) as error:
        start(wish)
    assert error.value.code == code
    assert not Contender.objects.exists()


def test_all_mistakes_are_told_at_once(start) -> None:
    with pytest.raises(EvaluationProblems) as error:
        start(ContenderWish(shots=3), split="train", suites=["beauty"], settings={"weights": {"quality": -1}})
    assert {problem.code for problem in error.value.problems} == {
        "unknown_split", "unknown_suite", "bad_shots", "bad_setting",
    }  # fmt: skip


def test_no_more_than_eight_models(start) -> None:
    with pytest.raises(UserError) as error:
        start(*[ContenderWish(system=f"Wording {n}") for n in range(7)])
    assert error.value.code == "too_many_models"


def test_more_examples_than_there_are_training_rows_are_refused(start, snapshot) -> None:
    snapshot.counts = {"train": 3, "test": 40}
    snapshot.save()
    with pytest.raises(UserError) as error:
        start(ContenderWish(shots=4), snapshot=snapshot)
    assert error.value.code == "few_examples"


def test_another_projects_model_or_connection_is_not_found(start, second_model, connection, outsider) -> None:
    theirs = outsider.memberships.get().project
    TrainedModel.objects.filter(pk=second_model.pk).update(project=theirs)
    second_model.refresh_from_db()
    connection.project = theirs
    connection.save()
    for wish in (ContenderWish(trained_model=second_model), ContenderWish(connection=connection, remote_name="x")):
        with pytest.raises(UserError) as error:
            start(wish, cost_approved=True)
        assert error.value.status == 404


def test_money_is_asked_about_first_and_nothing_is_queued_without_a_yes(start, connection) -> None:
    wish = ContenderWish(connection=connection, remote_name="their-model")
    with pytest.raises(UserError, match="about 40 questions") as error:
        start(wish)
    assert (error.value.code, error.value.status) == ("cost_not_approved", 402)
    assert not Evaluation.objects.exists()
    assert start(wish, cost_approved=True).settings["expected_cost"]["questions"] == 40


def test_a_known_price_is_held_against_the_months_limit(start, actor, connection, priced) -> None:
    from jobs_app.operations.budgets import set_budget

    set_budget(actor=actor, monthly_limit=1, ask_above=1)
    cheap = start(ContenderWish(connection=connection, remote_name="their-model"), limit=2)
    assert float(cheap.settings["expected_cost"]["amount"]) < 1, "cheaper than what is asked about"
    with pytest.raises(UserError) as error:
        start(
            ContenderWish(connection=connection, remote_name="their-model"), suites=["robustness"], cost_approved=True
        )
    assert error.value.code == "over_budget"


def test_models_that_are_only_looked_at_are_spared_the_long_suites(start, connection) -> None:
    wish = ContenderWish(connection=connection, remote_name="their-model")
    told = start(wish, suites=["robustness", "fairness"], cost_approved=True).settings["expected_cost"]
    assert told["questions"] == 40


def test_what_evaluations_spend_counts_in_the_month(start, actor, connection, priced) -> None:
    from jobs_app.operations.budgets import set_budget
    from jobs_app.queries.connections import spending
    from work_kit.operations import request_stop

    set_budget(actor=actor, monthly_limit=100, ask_above=100)
    before = spending(actor.project).expected
    evaluation = start(ContenderWish(connection=connection, remote_name="their-model"))
    told = float(evaluation.settings["expected_cost"]["amount"])
    assert told > 0
    assert float(spending(actor.project).expected - before) == pytest.approx(told)
    request_stop(actor=actor, job=evaluation.work, action="cancel")
    assert spending(actor.project).expected == before, "it never started"


def test_a_model_that_a_provider_keeps_can_be_judged_and_needs_no_machine(
    actor, trained_model, connection, priced
) -> None:
    training = trained_model.training_job
    training.remote = {"base_url": ADDRESS}
    training.save()
    trained_model.base_model_key, trained_model.connection = "their-base", connection
    trained_model.remote_name, trained_model.storage_prefix = "ft:their-model:abc", ""
    trained_model.save()
    evaluation = start_evaluation(actor=actor, trained_model=trained_model, cost_approved=True)
    assert evaluation.work.queue == "remote"
    assert {one.key: one.remote_name for one in evaluation.contenders.all()} == {
        "base": "their-model", "tuned": "ft:their-model:abc",
    }  # fmt: skip
    assert set(evaluation.settings["addresses"].values()) == {ADDRESS}


def test_an_evaluation_without_contenders_still_names_its_two(done) -> None:
    done.contenders.all().delete()
    assert [(one.key, one.kind) for one in contenders_of(done)] == [("base", "base"), ("tuned", "trained")]
    assert (subject_key(done), reference_key(done)) == ("tuned", "base")
    assert [card.role for card in contender_cards(done)] == ["Base model", "Trained model"]


def test_repeating_asks_the_same_models_on_the_newest_snapshot(start, actor, second_model, snapshot) -> None:
    from datasets_app.models import Snapshot

    first = start(
        ContenderWish(trained_model=second_model),
        ContenderWish(system="Name it."),
        suites=["performance"],
        settings={"discordance": 0.3},
        limit=7,
    )
    newer = Snapshot.objects.get(pk=snapshot.pk)
    newer.pk, newer.number, newer.sha256 = "0" * 25 + "9", 2, "2" * 64
    newer.save(force_insert=True)
    again = repeat_evaluation(actor=actor, evaluation=first)
    assert (again.snapshot, again.repeated_from, again.case_limit) == (newer, first, 7)
    assert (again.suites, again.settings) == (first.suites, first.settings)
    told = [list(one.contenders.values_list("key", "kind", "name", "prompt")) for one in (first, again)]
    assert told[0] == told[1]


def test_an_old_evaluation_can_be_repeated(done, actor) -> None:
    done.contenders.all().delete()
    assert [one.key for one in repeat_evaluation(actor=actor, evaluation=done).contenders.all()] == ["base", "tuned"]


def test_repeating_without_a_deleted_model_is_refused(start, actor, second_model) -> None:
    first = start(ContenderWish(trained_model=second_model))
    second_model.delete()
    with pytest.raises(UserError, match="no longer exists") as error:
        repeat_evaluation(actor=actor, evaluation=first)
    assert error.value.status == 409


def test_the_report_fills_the_figures_that_lists_show(evaluation, report) -> None:
    from evaluation_app.operations import keep_report

    report["overall_score"] = {"value": 0.71, "weights": {}}
    keep_report(evaluation_id=evaluation.pk, report=report, samples_name="")
    evaluation.refresh_from_db()
    figures = (evaluation.headline_value, evaluation.headline_low, evaluation.headline_high)
    assert figures == (0.825, 0.68, 0.91)
    assert (evaluation.headline, evaluation.cases, evaluation.overall_score) == ("accuracy", 40, 0.71)


def test_the_figures_are_those_of_the_named_subject(evaluation, report) -> None:
    from evaluation_app.operations import keep_report

    keep_report(evaluation_id=evaluation.pk, report=report | {"subject": "base"}, samples_name="")
    evaluation.refresh_from_db()
    assert evaluation.headline_value == 0.5


def test_a_model_that_is_asked_beside_another_cannot_be_deleted_meanwhile(start, second_model) -> None:
    from jobs_app.uses import use_of
    from work_kit.models import Job

    evaluation = start(ContenderWish(trained_model=second_model))
    assert "being evaluated" in use_of(second_model)
    Job.objects.filter(pk=evaluation.pk).update(state="succeeded")
    assert use_of(second_model) == ""


def test_a_key_that_an_evaluation_needs_is_not_forgotten(start, connection, actor) -> None:
    from jobs_app.operations.connections import delete_connection

    start(ContenderWish(connection=connection, remote_name="their-model"), cost_approved=True)
    with pytest.raises(UserError, match="An evaluation uses this key now") as refused:
        delete_connection(actor=actor, connection=connection)
    assert (refused.value.code, refused.value.status) == ("connection_in_use", 409)


def test_the_key_of_a_judge_is_not_forgotten(start, connection, actor) -> None:
    from jobs_app.operations.connections import delete_connection

    start(settings={"judge": {"connection": connection.pk, "model": "judge-model"}}, cost_approved=True)
    with pytest.raises(UserError, match="An evaluation uses this key now"):
        delete_connection(actor=actor, connection=connection)


def test_the_key_of_an_evaluation_that_is_over_can_go(start, connection, actor) -> None:
    from jobs_app.models import ProviderConnection
    from jobs_app.operations.connections import delete_connection
    from work_kit.models import Job

    over = start(ContenderWish(connection=connection, remote_name="their-model"), cost_approved=True)
    Job.objects.filter(pk=over.pk).update(state="succeeded")
    delete_connection(actor=actor, connection=connection)
    assert not ProviderConnection.objects.exists()
    assert over.contenders.get(key="model_2").connection is None


def test_the_cases_that_must_never_break_are_counted_in_what_leaves(start, connection, project) -> None:
    from evaluation_app.models import RegressionCase

    theirs = ContenderWish(connection=connection, remote_name="their-model")
    before = start(theirs, cost_approved=True).settings["expected_cost"]["questions"]
    RegressionCase.objects.create(project=project, messages=[{"role": "user", "content": "q"}], expected="a")
    assert start(theirs, cost_approved=True).settings["expected_cost"]["questions"] == before + 1
