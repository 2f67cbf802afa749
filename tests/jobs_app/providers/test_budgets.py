"""What a project may spend at providers, and the question before it does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts_app.models import AuditEntry
from accounts_app.operations import record
from finetune_engine.errors import UserError
from jobs_app.models import TrainingJob
from jobs_app.operations import budgets
from jobs_app.queries.connections import spending
from work_kit.models import Job

# 12 rows of about 200 words, 9 passes, 3 USD a million tokens: some 0.1 USD.


def finish(training: TrainingJob, amount: str, **more) -> None:
    Job.objects.filter(pk=training.pk).update(state="succeeded", finished_at=more.get("at") or timezone.now())
    TrainingJob.objects.filter(pk=training.pk).update(cost_amount=Decimal(amount), cost_currency="USD")


def set_budget(actor, limit: str | None, ask_above: str = "0") -> None:
    budgets.set_budget(
        actor=actor, monthly_limit=None if limit is None else Decimal(limit), ask_above=Decimal(ask_above)
    )


def test_a_paid_training_asks_first_and_names_the_figures(send) -> None:
    with pytest.raises(UserError) as asked:
        send(cost_approved=False)
    assert asked.value.code == "cost_not_approved"
    assert "USD" in asked.value.sentence
    assert not Job.objects.exists()


def test_whoever_says_yes_is_remembered(send, owner) -> None:
    training = send()
    assert training.cost_approved_by == owner
    assert Decimal(training.remote["expected_cost"]["expected"]) > 0


def test_a_cheap_training_starts_without_a_question_when_the_budget_says_so(send, actor) -> None:
    set_budget(actor, None, ask_above="5")
    assert send(cost_approved=False).cost_approved_by is None


def test_an_unknown_price_always_asks(send, actor, base_model) -> None:
    set_budget(actor, None, ask_above="5")
    base_model.facts = {}
    base_model.save()
    with pytest.raises(UserError, match="not known"):
        send(cost_approved=False)


def test_over_the_months_limit_is_refused_with_the_figures_even_when_approved(send, actor) -> None:
    finish(send(), "9.95")
    set_budget(actor, "10")
    with pytest.raises(UserError) as refused:
        send()
    assert refused.value.code == "over_budget"
    assert "9.95 USD are spent" in refused.value.sentence


def test_trainings_under_way_count_with_what_they_are_expected_to_cost(send, actor) -> None:
    expected = Decimal(send().remote["expected_cost"]["expected"])
    set_budget(actor, str((expected * Decimal("1.5")).quantize(Decimal("0.01"))))
    with pytest.raises(UserError) as refused:
        send()
    assert refused.value.code == "over_budget"


@pytest.mark.parametrize(("state", "counts"), [({"job": "ftjob-1"}, True), ({}, False)])
def test_a_cancelled_training_counts_as_expected_once_it_had_begun_there(send, actor, state, counts) -> None:
    training = send()
    expected = Decimal(training.remote["expected_cost"]["expected"])
    TrainingJob.objects.filter(pk=training.pk).update(remote=training.remote | {"state": state})
    Job.objects.filter(pk=training.pk).update(state="cancelled", finished_at=timezone.now())
    assert spending(actor.project).expected == (expected if counts else 0)


def test_last_months_money_does_not_count(send, actor) -> None:
    finish(send(), "9.95", at=timezone.now() - timezone.timedelta(days=40))
    set_budget(actor, "10")
    assert spending(actor.project).spent == 0
    assert send().pk


def test_a_limit_in_another_currency_cannot_be_checked_and_says_so(send, actor) -> None:
    budgets.set_budget(actor=actor, monthly_limit=Decimal(10), ask_above=Decimal(0), currency="eur")
    with pytest.raises(UserError, match="EUR"):
        send()


def test_the_limit_is_checked_again_once_the_rows_are_counted(send, actor, rows, tmp_path) -> None:
    from work_kit.kinds import kind_of

    figures, rows.statistics = rows.statistics, {}
    rows.save()
    set_budget(actor, "0.01")
    training = send()  # nobody could know the cost
    rows.statistics = figures
    rows.save()
    with pytest.raises(UserError) as refused:
        kind_of("jobs.train").prepare(training.work, tmp_path)
    assert refused.value.code == "over_budget"


@pytest.mark.parametrize(("field", "value"), [("monthly_limit", "-1"), ("ask_above", "-1"), ("currency", "Euro")])
def test_amounts_below_zero_and_unknown_currencies_are_refused(actor, field, value) -> None:
    values = {"monthly_limit": Decimal(1), "ask_above": Decimal(0), "currency": "USD"}
    with pytest.raises(UserError) as refused:
        budgets.set_budget(actor=actor, **(values | {field: value if field == "currency" else Decimal(value)}))
    assert refused.value.field == field


def test_the_page_shows_what_was_spent_by_training(send, actor, owner, client_for) -> None:
    finish(send(name="Clause sorter"), "1.25")
    text = client_for(owner).get(f"/p/{actor.project.slug}/train/providers").content.decode()
    assert "Clause sorter" in text
    assert "1.25" in text


def test_the_budget_is_set_on_the_page(actor, owner, client_for) -> None:
    form = {"monthly_limit": "20", "ask_above": "0.50", "currency": "USD"}
    answer = client_for(owner).post(f"/p/{actor.project.slug}/train/providers/budget", form)
    assert answer.status_code == 302
    assert spending(actor.project).limit == 20


def test_the_api_sets_and_tells_the_budget(client, api_key, actor, send) -> None:
    send(name="Clause sorter")
    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    values = {"monthly_limit": "20", "ask_above": "0.5"}
    answer = client.put("/api/v1/budget", values, content_type="application/json", headers=headers).json()
    assert (answer["monthly_limit"], answer["spent"]) == ("20.00", "0")
    assert [job["name"] for job in answer["jobs"]] == ["Clause sorter"]


def test_the_api_starts_a_paid_training_only_with_cost_approved(client, api_key, actor, rows, connection) -> None:
    headers = {"Authorization": f"Bearer {api_key('read', 'train')}"}
    values = {"base_model": "tiny-chat", "snapshot": rows.pk}
    asked = client.post("/api/v1/jobs", values, content_type="application/json", headers=headers)
    started = client.post(
        "/api/v1/jobs", values | {"cost_approved": True}, content_type="application/json", headers=headers
    )
    assert (asked.status_code, asked.json()["error"]["code"]) == (402, "cost_not_approved")
    assert started.status_code == 201


def test_starting_a_failed_training_again_asks_on_a_page_of_its_own(send, actor, owner, client_for) -> None:
    training = send()
    Job.objects.filter(pk=training.pk).update(state="failed", failure_reason="provider_error")
    browser, address = client_for(owner), f"/p/{actor.project.slug}/train/{training.pk}/retry"
    asked = browser.post(address)
    started = browser.post(address, {"cost_approved": "1"})
    assert (asked.status_code, started.status_code) == (402, 302)
    assert TrainingJob.objects.count() == 2


def test_a_double_click_on_the_question_starts_one_training(send, actor, owner, client_for) -> None:
    training = send()
    Job.objects.filter(pk=training.pk).update(state="failed", failure_reason="provider_error")
    browser, address = client_for(owner), f"/p/{actor.project.slug}/train/{training.pk}/retry"
    asked = browser.post(address, {"idempotency_key": "click"}).content.decode()
    for _ in range(2):
        browser.post(address, {"cost_approved": "1", "idempotency_key": "click"})
    assert '<input type="hidden" name="idempotency_key" value="click">' in asked
    assert TrainingJob.objects.count() == 2


def test_asking_about_money_keeps_no_other_act_of_the_project_waiting(actor, transactional_db) -> None:
    """Every act writes an audit entry, one at a time; a start that held the project's row against them would deadlock."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one lock for everything")

    def act_elsewhere() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '5s'")
                record(actor=actor, project=actor.project, act="something.else")
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        budgets.require_approval(project=actor.project, model=None, cost=None, approved=True)
        pool.submit(act_elsewhere).result()
    assert AuditEntry.objects.filter(act="something.else").count() == 1
