"""What a training costs."""

from __future__ import annotations

from decimal import Decimal

from finetune_engine.catalogue.catalogue import load_catalogue
from finetune_engine.catalogue.cost import MachineRate, machine_cost, provider_cost
from finetune_engine.catalogue.ranges import Range


def test_a_provider_bills_tokens_times_passes() -> None:
    cost = provider_cost(load_catalogue()["gpt-4o-mini"], 2_000_000, 3)
    assert cost is not None
    assert (cost.expected, cost.currency) == (Decimal("18"), "USD")


def test_a_range_of_tokens_is_a_range_of_money() -> None:
    cost = provider_cost(load_catalogue()["gpt-4o-mini"], Range(1_000_000, 2_000_000, 4_000_000), 1)
    assert cost is not None
    assert (cost.low, cost.expected, cost.high) == (Decimal(3), Decimal(6), Decimal(12))


def test_an_unknown_price_gives_no_cost() -> None:
    assert provider_cost(load_catalogue()["gpt-4.1"], 1_000_000, 1) is None
    assert provider_cost(load_catalogue()["smollm2-135m"], 1_000_000, 1) is None


def test_the_own_machine_costs_hours_and_electricity() -> None:
    rate = MachineRate("EUR", Decimal("0.50"), watts=Decimal(500), per_kilowatt_hour=Decimal("0.40"))
    cost = machine_cost(rate, Range(1800.0, 3600.0, 7200.0))
    assert cost is not None
    assert (cost.low, cost.expected, cost.high) == (Decimal("0.35"), Decimal("0.70"), Decimal("1.40"))


def test_without_a_rate_the_own_machine_has_no_price() -> None:
    assert machine_cost(None, Range(1.0, 2.0, 3.0)) is None
