"""Tokens and money of an answer, against sums done by hand."""

from __future__ import annotations

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.evaluate.settings import Alternative, CostSettings, DeviceHour, Endpoint, Price, TrainingCost
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.evaluate.suites.cost import Cost
from tests.finetune_engine.evaluate.suites.conftest import FakeAsker, case, make_bench, run_suite

PRICE = Price(2.0, 10.0, "EUR", "https://example.org/prices", "2026-11-01")
CASES = [case(1, "one two three four", "yes"), case(2, "one two", "no")]  # 3 prompt tokens on average


def run_cost(cost: CostSettings, *, says=lambda _messages: "a b", seconds=None, models=("base", "tuned")):
    """Base answers with 4 words, tuned with what it ``says`` (2 words)."""
    bench = make_bench(CASES, models=models, cost=cost)
    bench.seconds_per_answer.update(seconds or {})
    speakers = {"base": lambda _messages: "a b c d", "tuned": says}
    askers = {model.key: FakeAsker(speakers.get(model.key, says), spec=model) for model in bench.spec.models}
    return run_suite(bench, Cost(), askers)


def test_an_answer_costs_its_tokens_at_their_price():
    line = run_cost(CostSettings(prices={"tuned": PRICE})).section["by_model"]["tuned"]
    # (3 x 2 + 2 x 10) / 1,000,000
    assert line["money_per_answer"] == pytest.approx(26e-6)
    assert (line["prompt_tokens"], line["completion_tokens"], line["currency"]) == (3.0, 2.0, "EUR")
    assert (line["source"], line["at"]) == ("https://example.org/prices", "2026-11-01")


@pytest.mark.parametrize("price", [Price(2.0, 10.0, "EUR", "", "2026-11-01"), Price(2.0, 10.0, "EUR", "a list", "")])
def test_a_price_without_source_or_date_is_not_used(price):
    line = run_cost(CostSettings(prices={"tuned": price})).section["by_model"]["tuned"]
    assert line["money_per_answer"] is None
    assert "no source or no date" in line["reason"]


def test_a_local_model_costs_the_time_of_the_machine():
    line = run_cost(CostSettings(device_hour=DeviceHour(3.6, "EUR")), seconds={"tuned": 2.0}).section["by_model"][
        "tuned"
    ]
    assert line["money_per_answer"] == pytest.approx(0.002)
    assert "one answer at a time" in line["basis"]


def test_without_the_speed_a_local_model_has_no_cost_and_says_what_to_run():
    line = run_cost(CostSettings(device_hour=DeviceHour(3.6, "EUR"))).section["by_model"]["tuned"]
    assert line["money_per_answer"] is None
    assert "run the suite Speed" in line["reason"]


def test_a_model_behind_an_address_without_a_price_has_no_cost():
    far = ModelSpec("far", "Far", None, endpoint=Endpoint("https://example.org/v1", "m", None, ()))
    near = ModelSpec("tuned", "Near", BaseModelRef("fake", path="/nowhere"))
    found = run_cost(CostSettings(device_hour=DeviceHour(1.0, "EUR")), models=(near, far), seconds={"far": 1.0})
    assert found.section["by_model"]["far"]["money_per_answer"] is None


def test_training_costs_device_hours_at_their_rate_and_energy():
    told = TrainingCost(seconds=1800.0, device="H200", device_hours=None, amount=None, currency=None)
    settings = CostSettings(training=told, device_hour=DeviceHour(4.0, "EUR"), watts=700.0)
    training = run_cost(settings).section["training"]
    assert (training["device_hours"], training["amount"], training["currency"]) == (0.5, 2.0, "EUR")
    assert training["energy_kwh"] == pytest.approx(0.35)


def test_a_training_cost_that_is_recorded_is_taken_as_it_is():
    told = TrainingCost(seconds=None, device=None, device_hours=None, amount=12.5, currency="USD")
    training = run_cost(CostSettings(training=told, device_hour=DeviceHour(4.0, "EUR"))).section["training"]
    assert (training["amount"], training["currency"], training["energy_kwh"]) == (12.5, "USD", None)


def test_the_same_traffic_is_priced_on_alternatives():
    dear = Alternative("Big model", Price(20.0, 100.0, "EUR", "a list", "2026-11-01"))
    (line,) = run_cost(CostSettings(prices={"tuned": PRICE}, alternatives=(dear,))).section["alternatives"]
    assert line["money_per_answer"] == pytest.approx(260e-6)


def test_the_score_is_the_cost_of_the_other_over_its_own():
    both = CostSettings(prices={"tuned": Price(4.0, 20.0, "EUR", "a", "b"), "base": PRICE})
    # tuned 3 x 4 + 2 x 20 = 52, base 3 x 2 + 4 x 10 = 46
    assert run_cost(both).score == pytest.approx(46 / 52)


def test_a_model_that_costs_less_has_the_full_score():
    assert run_cost(CostSettings(prices={"tuned": PRICE, "base": PRICE})).score == 1.0


def test_without_prices_the_tokens_are_compared():
    found = run_cost(CostSettings(), says=lambda _messages: "a b c d e f g h i j k")
    assert found.score == pytest.approx(7 / 14)


def test_alone_there_is_nothing_to_compare_with():
    found = run_cost(CostSettings(prices={"tuned": PRICE}), models=("tuned",))
    assert found.score is None
    assert found.reason


def test_a_model_much_dearer_than_the_other_is_warned_about_first():
    both = CostSettings(prices={"tuned": Price(20.0, 100.0, "EUR", "a", "b"), "base": PRICE})
    first = run_cost(both).findings[0]
    assert first["tone"] == "warn"
    assert "5.7 times" in first["text"]
