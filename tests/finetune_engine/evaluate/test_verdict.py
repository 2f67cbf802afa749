import pytest

from finetune_engine.evaluate.intervals import mcnemar_exact, wilson
from finetune_engine.evaluate.report import Comparison
from finetune_engine.evaluate.verdict import Rival, Standing, judge


def compared(n, base, tuned, both, against="base"):
    """A comparison from counts: right answers of each, and right answers of both."""
    better, worse = tuned - both, base - both
    first = [False] * better + [True] * (n - better)
    second = [True] * better + [False] * worse + [True] * (n - better - worse)
    p_value = mcnemar_exact(first, second)
    gain = (tuned - base) / n
    return Comparison(
        "accuracy", base / n, tuned / n, gain, gain - 0.1, gain + 0.1, p_value, "x", n, better, worse, None, against
    )


def standing(right, n):
    interval = wilson(right, n)
    return Standing("accuracy", right / n, interval.low, interval.high, n, right)


def rival(n, right, tuned, both):
    return Rival("a simple keyword classifier (TF-IDF)", right / n, compared(n, right, tuned, both, "tfidf"))


def test_a_clear_gain_is_shipped_with_its_numbers():
    verdict = judge(standing(96, 104), compared(104, 9, 96, 9), None)
    assert verdict.kind == "ship"
    assert verdict.sentence == (
        "Ship: the tuned model answers 96 of 104 test cases correctly (92 %, interval 86-96 %), "
        "against 9 % before; the difference is far beyond chance (p < 0.001)."
    )


def test_a_beaten_baseline_is_named_as_such():
    verdict = judge(standing(96, 104), compared(104, 9, 96, 9), rival(104, 70, 96, 68))
    assert verdict.kind == "ship"
    assert "A simple keyword classifier (TF-IDF) reaches 67 % on the same cases" in verdict.sentence
    assert "earns its cost" in verdict.sentence


def test_a_baseline_as_good_is_not_hidden():
    verdict = judge(standing(96, 104), compared(104, 9, 96, 9), rival(104, 95, 96, 93))
    assert verdict.kind == "ship"
    assert "cannot tell the two apart" in verdict.sentence


def test_a_better_baseline_stops_the_ship():
    verdict = judge(standing(70, 104), compared(104, 9, 70, 9), rival(104, 98, 70, 68))
    assert verdict.kind == "do_not_ship"
    assert "94 %" in verdict.sentence
    assert "use that" in verdict.sentence


def test_a_worse_model_is_not_shipped():
    verdict = judge(standing(40, 104), compared(104, 80, 40, 38), None)
    assert verdict.kind == "do_not_ship"
    assert "worse than 77 % before" in verdict.sentence


def test_better_but_mostly_wrong_is_not_shipped():
    verdict = judge(standing(30, 104), compared(104, 2, 30, 2), None)
    assert verdict.kind == "do_not_ship"
    assert "wrong more often than right" in verdict.sentence


def test_a_gain_that_may_be_chance_asks_for_more_cases_and_says_how_many():
    verdict = judge(standing(38, 50), compared(50, 33, 38, 30), None)
    assert verdict.kind == "more_cases"
    assert verdict.cases_needed > 100
    assert f"about {verdict.cases_needed} test cases in all ({verdict.cases_needed - 50} more)" in verdict.sentence


def test_no_gain_at_all_is_not_shipped():
    verdict = judge(standing(40, 50), compared(50, 40, 40, 38), None)
    assert verdict.kind == "do_not_ship"
    assert "no gain" in verdict.sentence


def test_too_few_cases_decide_nothing():
    verdict = judge(standing(12, 12), compared(12, 0, 12, 0), None)
    assert verdict.kind == "more_cases"
    assert "12 test cases are too few" in verdict.sentence


def test_without_a_base_model_the_baseline_is_the_yardstick():
    verdict = judge(standing(96, 104), None, rival(104, 70, 96, 68))
    assert verdict.kind == "ship"
    assert "against 67 % for a simple keyword classifier (TF-IDF)" in verdict.sentence


def test_with_nothing_to_compare_it_does_not_ship():
    assert judge(standing(96, 104), None, None).kind == "do_not_ship"


@pytest.mark.parametrize(("value", "shown"), [(0.996, "99.6 %"), (0.004, "0.4 %"), (1.0, "100 %"), (0.0, "0 %")])
def test_nearly_all_is_not_rounded_to_all(value, shown):
    tuned = Standing("f1", value, value, value, 200)
    assert shown in judge(tuned, None, None).sentence


def test_graded_scores_ask_for_more_cases_by_their_interval():
    before = Comparison("f1", 0.5, 0.55, 0.05, -0.05, 0.15, 0.3, "paired sign-flip", 60)
    verdict = judge(Standing("f1", 0.55, 0.45, 0.65, 60), before, None)
    assert verdict.kind == "more_cases"
    assert verdict.cases_needed == round(60 * (0.1 * 1.43 / 0.05) ** 2)
    assert "shares 55 % of the words" in verdict.sentence
