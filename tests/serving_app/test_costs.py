"""What answers cost: here by the hours of the machine, at a provider by its tokens."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db

MILLION = 1_000_000


@pytest.fixture
def asked(project):
    """``asked(deployment)``: a million tokens read in ten minutes of answering, a moment ago."""
    from serving_app.models import TrafficBucket
    from serving_app.operations.prediction_log import bucket_start

    def make(deployment, **counts):
        values = {"requests": 10, "prompt_tokens": MILLION, "latency_sum": 600.0} | counts
        TrafficBucket.objects.create(
            project=project, deployment_ref=deployment.pk, model_name=deployment.model_name,
            start_at=bucket_start(timezone.now()), latency=[10], **values,
        )  # fmt: skip

    return make


@pytest.fixture
def at_provider(actor, project):
    """A base model of OpenAI, put into use with the project's own key there."""
    from jobs_app.models import ProviderConnection
    from serving_app.operations import deploy_model

    ProviderConnection.objects.create(project=project, name="OpenAI", base_url="https://api.openai.com/v1")
    return deploy_model(actor=actor, base_model_key="gpt-4.1-mini")


def used(project):
    from serving_app.queries.usage import usage_of

    now = timezone.now()
    (usage,) = usage_of(project, now - timedelta(days=1), now + timedelta(days=1), "day")
    return usage


def told(project) -> str:
    from serving_app.panels import cost_sentence
    from serving_app.queries.watch import span_of, watch_of

    now = timezone.now()
    return cost_sentence(watch_of(project, span_of(now - timedelta(hours=1), now + timedelta(minutes=5))))


def test_a_deployed_model_of_a_provider_costs_by_its_tokens(project, at_provider, asked, monkeypatch) -> None:
    monkeypatch.setenv("MACHINE_HOUR_COST", "6 EUR")
    asked(at_provider)
    assert used(project).cost == {"USD": Decimal("0.8")}
    assert told(project) == "The provider took about 0.8000 USD."


def test_what_ran_here_costs_the_machines_time_alone(project, actor, at_provider, asked, monkeypatch) -> None:
    from serving_app.operations import deploy_model

    monkeypatch.setenv("MACHINE_HOUR_COST", "6 EUR")
    asked(at_provider)
    asked(deploy_model(actor=actor, base_model_key="demo-base"))
    assert used(project).cost == {"USD": Decimal("0.8"), "EUR": Decimal(1)}
    words = "Answering took 10 min of this machine, about 1.00 EUR. The provider took about 0.8000 USD."
    assert told(project) == words


def test_providers_with_different_currencies_are_not_added_up(project, asked, monkeypatch) -> None:
    from serving_app.models import Deployment
    from serving_app.queries import costs

    prices = {
        key: SimpleNamespace(price=SimpleNamespace(
            currency=currency, input_per_million=Decimal(2), output_per_million=Decimal(0)))
        for key, currency in (("here", "EUR"), ("there", "USD"))
    }  # fmt: skip
    monkeypatch.setattr(costs, "remote_model", prices.get)
    for key in prices:
        asked(Deployment.objects.create(project=project, base_model_key=key, model_name=key, state="retired"))
    assert used(project).cost == {"EUR": Decimal(2), "USD": Decimal(2)}
    assert told(project) == "The provider took about 2.00 EUR and 2.00 USD."


def test_a_fine_tuned_model_of_a_provider_has_no_known_price(project, trained, asked) -> None:
    from jobs_app.models import ProviderConnection, TrainedModel
    from serving_app.models import Deployment

    connection = ProviderConnection.objects.create(project=project, name="O", base_url="https://api.openai.com/v1")
    model = trained()
    TrainedModel.objects.filter(pk=model.pk).update(remote_name="ft:gpt-4.1-mini:acme::1", connection=connection)
    asked(Deployment.objects.create(project=project, trained_model=model, model_name=model.api_name))
    assert (used(project).cost, used(project).is_priced) == ({}, False)
    assert told(project) == "The price of 1,000,000 tokens at a provider is not known."


def test_many_deployments_take_no_query_each(project, asked, django_assert_max_num_queries) -> None:
    from serving_app.models import Deployment

    for number in range(20):
        row = Deployment.objects.create(
            project=project, base_model_key="demo-base", model_name=str(number), state="retired"
        )
        asked(row)
    with django_assert_max_num_queries(4):
        used(project)
