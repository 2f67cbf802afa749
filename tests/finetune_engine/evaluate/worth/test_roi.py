"""Figures for a manager, against sums done by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.worth.assumptions import Assumptions, Spread, assumptions_of
from finetune_engine.evaluate.worth.roi import kpis


def score(metric: str, value: float, low: float, high: float) -> dict:
    return {"metric": metric, "value": value, "ci_low": low, "ci_high": high, "n": 200, "higher_is_better": True}


@pytest.fixture
def report() -> dict:
    """Accuracy 0.8 against 0.5, 2 s against 4 s, 0.002 EUR against 0.01 EUR an answer, training for 30 EUR."""
    classes = [
        {"label": "rent", "precision": 0.9, "recall": 0.7, "f1": 0.7875, "support": 100},
        {"label": "sale", "precision": 0.7, "recall": 0.9, "f1": 0.7875, "support": 100},
    ]
    tuned = [score("accuracy", 0.8, 0.74, 0.85), score("macro_f1", 0.79, 0.73, 0.84)]
    return {
        "headline": "accuracy",
        "subject": "tuned",
        "against": "base",
        "models": [
            {"key": "tuned", "name": "Sorter", "scores": tuned, "per_class": classes},
            {"key": "base", "name": "demo-base", "scores": [score("accuracy", 0.5, 0.43, 0.57)]},
        ],
        "comparisons": [{"metric": "accuracy", "against": "base", "difference": 0.3, "ci_low": 0.2, "ci_high": 0.4}],
        "performance": {"by_model": {"tuned": {"avg_latency": 2.0}, "base": {"avg_latency": 4.0}}},
        "cost": {
            "by_model": {
                "tuned": {"money_per_answer": 0.002, "currency": "EUR"},
                "base": {"money_per_answer": 0.01, "currency": "EUR"},
            },
            "training": {"amount": 30, "currency": "EUR"},
        },
    }


@pytest.fixture
def manual() -> Assumptions:
    """1,000 cases a month, 30 an hour, 10 minutes a case, 6 of them saved, data prepared for 570."""
    return Assumptions(
        monthly_volume=Spread.of(500, 1000, 1500),
        hourly_rate=Spread.of(30),
        minutes_today=Spread.of(10),
        minutes_saved=Spread.of(4, 6, 8),
        data_preparation_cost=Spread.of(570),
    )


def ends(figure) -> tuple:
    return tuple(None if end is None else round(end, 6) for end in (figure.low, figure.expected, figure.high))


def test_accuracy_improvement_is_relative_to_the_baseline_with_the_paired_ends(report, manual):
    assert ends(kpis(report, manual).accuracy_improvement) == (0.4, 0.6, 0.8)


def test_accuracy_improvement_against_zero_is_null_with_a_reason(report, manual):
    report["models"][1]["scores"][0]["value"] = 0.0
    found = kpis(report, manual).accuracy_improvement
    assert found.expected is None
    assert "0" in found.reason


def test_another_baseline_without_a_paired_comparison_has_no_ends(report, manual):
    from dataclasses import replace

    report["models"].append({"key": "big", "name": "Big", "scores": [score("accuracy", 0.64, 0.6, 0.7)]})
    assert ends(kpis(report, replace(manual, baseline="big")).accuracy_improvement) == (None, 0.25, None)


def test_speed_improvement_is_the_share_of_waiting_that_falls_away(report, manual):
    assert kpis(report, manual).speed_improvement.expected == 0.5


def test_a_slower_model_has_a_negative_speed_improvement(report, manual):
    report["performance"]["by_model"]["tuned"]["avg_latency"] = 6.0
    assert kpis(report, manual).speed_improvement.expected == -0.5


def test_speed_of_reports_of_the_first_version_is_found(report, manual):
    del report["performance"]
    report["models"][0]["performance"] = {"avg_latency": 1.0}
    report["models"][1]["performance"] = {"avg_latency": 4.0}
    assert kpis(report, manual).speed_improvement.expected == 0.75


def test_speed_that_was_not_measured_is_null_with_a_reason(report, manual):
    del report["performance"]
    found = kpis(report, manual).speed_improvement
    assert found.expected is None
    assert "run the suite Speed" in found.reason


def test_monthly_savings_of_work_done_by_hand(report, manual):
    # expected: 1000 x (30/60 x 6 x 0.8 - 0.002) = 1000 x 2.398 = 2398
    # low: 500 x (30/60 x 4 x 0.74 - 0.002) = 500 x 1.478 = 739; high: 1500 x (30/60 x 8 x 0.85 - 0.002) = 5097
    assert ends(kpis(report, manual).monthly_savings) == (739.0, 2398.0, 5097.0)


def test_what_runs_every_month_is_taken_off(report, manual):
    from dataclasses import replace

    dear = replace(manual, running_cost_per_month=Spread.of(200, 300, 400))
    assert ends(kpis(report, dear).monthly_savings) == (339.0, 2098.0, 4897.0)


def test_monthly_savings_against_a_model_in_use_count_only_what_is_better(report):
    given = Assumptions(
        today="model",
        monthly_volume=Spread.of(1000),
        hourly_rate=Spread.of(30),
        minutes_saved=Spread.of(6),
        share_unchanged=Spread.of("0.8"),
        running_cost_per_answer=Spread.of("0.002"),
        baseline_cost_per_answer=Spread.of("0.010"),
    )
    # 1000 x (30/60 x 6 x (0.8 - 0.5) + 0.010 - 0.002) = 1000 x 0.908
    assert kpis(report, given).monthly_savings.expected == 908.0


def test_payback_is_the_one_off_cost_over_the_savings(report, manual):
    # 30 + 570 = 600; 600 / 5097, 600 / 2398, 600 / 739
    assert ends(kpis(report, manual).payback_months) == (0.117716, 0.250209, 0.811908)


def test_without_savings_it_never_pays_back_and_says_so(report, manual):
    from dataclasses import replace

    found = kpis(report, replace(manual, running_cost_per_month=Spread.of(5000))).payback_months
    assert (found.low, found.expected, found.high) == (None, None, None)
    assert "never pays back" in found.reason


def test_a_cautious_case_without_savings_has_no_high_end(report, manual):
    from dataclasses import replace

    found = kpis(report, replace(manual, running_cost_per_month=Spread.of(1000))).payback_months
    assert found.high is None
    assert found.expected == pytest.approx(600 / 1398)
    assert "cautious" in found.reason


def test_net_and_return_over_the_horizon(report, manual):
    found = kpis(report, manual)
    assert found.net_over_horizon.expected == 12 * 2398 - 600
    assert found.return_on_investment.expected == pytest.approx(12 * 2398 / 600 - 1)


def test_cost_reduction_of_work_done_by_hand(report, manual):
    # today 30/60 x 10 = 5.00 a case; with it 0.002 + 30/60 x (10 - 6 x 0.8) = 2.602; 1 - 2.602 / 5 = 0.4796
    assert kpis(report, manual).cost_reduction.expected == pytest.approx(0.4796)


def test_cost_reduction_against_a_model_is_by_answer(report):
    assert kpis(report, Assumptions(today="model")).cost_reduction.expected == pytest.approx(0.8)


def test_cost_reduction_from_nothing_is_null_with_a_reason(report):
    report["cost"]["by_model"]["base"]["money_per_answer"] = 0
    found = kpis(report, Assumptions(today="model")).cost_reduction
    assert found.expected is None
    assert "in relation to 0" in found.reason


def test_domain_performance_is_the_plain_mean_over_classes(report, manual):
    found = kpis(report, manual).domain_performance
    assert found["precision"].expected == pytest.approx(0.8)
    assert found["recall"].expected == pytest.approx(0.8)
    assert ends(found["f1"]) == (0.73, 0.79, 0.84)


def test_domain_performance_without_labels_has_f1_alone(report, manual):
    report["models"][0] |= {"per_class": [], "scores": [score("f1", 0.6, 0.5, 0.7)]}
    found = kpis(report, manual).domain_performance
    assert found["precision"].expected is None
    assert found["precision"].reason
    assert found["f1"].expected == 0.6


def test_a_price_that_nobody_knows_makes_the_savings_unknown_and_says_what_to_type(report, manual):
    report["cost"]["by_model"]["tuned"] = {"money_per_answer": None, "reason": "No price is recorded."}
    found = kpis(report, manual).monthly_savings
    assert found.expected is None
    assert "the running cost per answer" in found.reason


def test_a_price_in_another_currency_is_not_taken(report, manual):
    from dataclasses import replace

    assert kpis(report, replace(manual, currency="USD")).cost_per_answer.expected is None


def test_the_share_can_come_from_people(report, manual):
    from dataclasses import replace

    human = {"unchanged": {"value": 0.6, "ci_low": 0.5, "ci_high": 0.7, "n": 50}}
    found = kpis(report, replace(manual, share_source="human"), human)
    assert ends(found.share_unchanged) == (0.5, 0.6, 0.7)
    assert "50 answers judged by people" in found.share_unchanged.basis


def test_without_a_review_the_share_of_people_is_not_known(report, manual):
    from dataclasses import replace

    assert kpis(report, replace(manual, share_source="human")).share_unchanged.expected is None


def test_a_typed_share_wins_over_the_report(report, manual):
    from dataclasses import replace

    assert kpis(report, replace(manual, share_unchanged=Spread.of("0.1"))).share_unchanged.expected == 0.1


def test_an_empty_report_says_why_each_figure_is_missing():
    found = kpis({}, Assumptions()).as_dict()
    for name in ("accuracy_improvement", "speed_improvement", "cost_reduction", "monthly_savings", "payback_months"):
        assert found[name]["expected"] is None
        assert found[name]["reason"]


def test_products_of_spreads_that_cross_zero_have_the_right_ends():
    found = Spread.of(-2, 1, 3) * Spread.of(-1, 2, 4)
    assert (found.low, found.expected, found.high) == (Decimal(-8), Decimal(2), Decimal(12))


def test_a_spread_out_of_order_is_refused():
    with pytest.raises(ValueError, match="in order"):
        Spread.of(3, 2, 1)


def test_assumptions_survive_being_stored(manual):
    assert assumptions_of(manual.as_dict()) == manual


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"monthly_volume": {"low": 5, "expected": 4, "high": 6}}, "monthly_volume"),
        ({"hourly_rate": "a lot"}, "hourly_rate"),
        ({"share_unchanged": 1.2}, "share_unchanged"),
        ({"minutes_saved": -1}, "minutes_saved"),
        ({"minutes_saved": "NaN"}, "minutes_saved"),
        ({"minutes_saved": 12, "minutes_today": 10}, "minutes_saved"),
        ({"monthly_volume": "1e40"}, "monthly_volume"),
        ({"horizon_months": 0}, "horizon_months"),
        ({"today": "magic"}, "today"),
        ({"share_source": "stars"}, "share_source"),
        ({"currency": "Euros, please"}, "currency"),
        ({"wishes": 3}, "wishes"),
    ],
)
def test_a_bad_assumption_is_refused_by_name(raw, field):
    with pytest.raises(UserError) as refused:
        assumptions_of(raw)
    assert refused.value.field == field


def test_a_model_in_use_that_was_never_measured_is_not_taken_for_one_that_is_always_wrong(report, manual):
    from dataclasses import replace

    report["models"][1]["scores"] = []
    given = replace(manual, today="model", baseline_cost_per_answer=Spread.of("0.01"))
    found = kpis(report, given).monthly_savings
    assert found.expected is None
    assert "today's model" in found.reason


def test_a_share_that_is_to_be_typed_is_not_taken_from_elsewhere(report, manual):
    from dataclasses import replace

    assert kpis(report, replace(manual, share_source="typed")).share_unchanged.expected is None


def test_the_paired_ends_are_found_whatever_key_the_other_model_has(report, manual):
    report["models"][1]["key"] = report["against"] = "untrained"
    assert ends(kpis(report, manual).accuracy_improvement) == (0.4, 0.6, 0.8)


def test_speed_measured_once_claims_no_range(report, manual):
    assert ends(kpis(report, manual).speed_improvement) == (None, 0.5, None)
