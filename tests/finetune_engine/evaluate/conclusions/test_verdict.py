from dataclasses import replace

import pytest

from finetune_engine.evaluate.conclusions.verdict import Obstacle, Rival, Standing, judge, obstacles_of
from finetune_engine.evaluate.report import Comparison
from finetune_engine.evaluate.statistics.intervals import mcnemar_exact, wilson


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


def prompted(n, right, tuned, both):
    return Rival("with 3 examples", right / n, compared(n, right, tuned, both, "prompted"))


GOOD = (standing(96, 104), compared(104, 9, 96, 9), None)
BAD_FINDINGS = [
    {"suite": "capabilities", "tone": "bad", "text": "It forgot arithmetic."},
    {"suite": "fairness", "tone": "bad", "text": "Answers change with the name."},
    {"suite": "robustness", "tone": "warn", "text": "Typos cost a little."},
    {"suite": "robustness", "tone": "bad", "text": "Capital letters break it."},
]


def test_a_broken_rule_stops_the_ship_and_says_which():
    acceptance = [{"name": "No advice", "n": 104, "passed": 101}, {"name": "Short", "n": 104, "passed": 104}]
    verdict = judge(*GOOD, obstacles=obstacles_of(acceptance, None, []))
    assert verdict.kind == "do_not_ship"
    assert verdict.sentence.startswith("Do not ship: the rule “No advice” is broken by 3 of 104 answers.")
    assert "96 of 104" in verdict.sentence
    assert "Short" not in verdict.sentence


def test_a_forgotten_case_stops_the_ship():
    verdict = judge(*GOOD, obstacles=obstacles_of([], {"n": 10, "passed": 9, "failed": []}, []))
    assert verdict.kind == "do_not_ship"
    assert "1 of 10 cases that must not be forgotten went wrong" in verdict.sentence


def test_what_holds_is_no_obstacle():
    acceptance = [{"name": "Short", "n": 104, "passed": 104}]
    assert obstacles_of(acceptance, {"n": 3, "passed": 3, "failed": []}, [BAD_FINDINGS[2]]) == []
    assert judge(*GOOD, obstacles=[]).sentence == judge(*GOOD).sentence


def test_bad_findings_are_named_beside_the_ship_the_gravest_first():
    verdict = judge(*GOOD, obstacles=obstacles_of([], None, BAD_FINDINGS))
    assert verdict.kind == "ship"
    assert verdict.sentence.endswith(
        "Look at this before using it: Capital letters break it. Answers change with the name."
    )


def test_a_model_that_is_no_better_stays_unshipped_whatever_else_is_found():
    verdict = judge(standing(40, 50), compared(50, 40, 40, 38), None, obstacles=[Obstacle("a rule is broken", True)])
    assert verdict.kind == "do_not_ship"
    assert "no gain" in verdict.sentence
    assert "Besides, a rule is broken." in verdict.sentence


def test_prompting_that_does_better_stops_the_ship():
    verdict = judge(standing(70, 104), compared(104, 9, 70, 9), None, prompted=prompted(104, 98, 70, 68))
    assert verdict.kind == "do_not_ship"
    assert "asking the base model better (with 3 examples) reaches 94 %, which is better" in verdict.sentence
    assert "needs no training" in verdict.sentence


def test_prompting_that_may_do_as_well_is_said():
    verdict = judge(*GOOD, prompted=prompted(104, 95, 96, 93))
    assert verdict.kind == "ship"
    assert "reaches 91 %, and these 104 cases cannot tell the two apart" in verdict.sentence


def test_prompting_that_does_worse_is_said_too():
    verdict = judge(*GOOD, prompted=prompted(104, 50, 96, 49))
    assert verdict.kind == "ship"
    assert "reaches 48 %: prompting alone would not have done" in verdict.sentence


def test_scores_of_a_hundred_are_not_called_per_cent():
    before = Comparison("bleu", 21.0, 34.2, 13.2, 10.0, 16.0, 0.0001, "x", 300)
    verdict = judge(Standing("bleu", 34.2, 31.0, 37.0, 300), before, None)
    assert verdict.kind == "ship"
    assert (
        "scores 34.2 BLEU over 300 test cases (interval 31.0-37.0 BLEU), against 21.0 BLEU before" in verdict.sentence
    )


def test_where_less_is_better_less_ships():
    fewer = Comparison("ter", 60.0, 40.0, -20.0, -25.0, -15.0, 0.0001, "x", 300)
    more = Comparison("ter", 40.0, 60.0, 20.0, 15.0, 25.0, 0.0001, "x", 300)
    assert judge(Standing("ter", 40.0, 35.0, 45.0, 300), fewer, None).kind == "ship"
    assert judge(Standing("ter", 60.0, 55.0, 65.0, 300), more, None).kind == "do_not_ship"


def test_a_gain_under_one_point_of_a_hundred_is_no_gain():
    before = Comparison("bleu", 34.0, 34.5, 0.5, -1.0, 2.0, 0.4, "x", 300)
    assert "no gain" in judge(Standing("bleu", 34.5, 31.0, 37.0, 300), before, None).sentence


def test_more_cases_would_not_mend_a_broken_rule():
    undecided = standing(38, 50), compared(50, 33, 38, 30), None
    assert judge(*undecided).kind == "more_cases"
    verdict = judge(*undecided, obstacles=[Obstacle("a rule is broken", True)])
    assert verdict.kind == "do_not_ship"
    assert verdict.cases_needed is None
    assert "Do not ship: a rule is broken. As for its score: more cases needed" in verdict.sentence


def test_cases_that_share_groups_are_asked_for_by_their_interval_and_not_by_mcnemar():
    alone = compared(50, 33, 38, 30)
    grouped = replace(alone, is_grouped=True, p_value=0.4, ci_low=-0.3, ci_high=0.5)
    assert judge(standing(38, 50), grouped, None).cases_needed > judge(standing(38, 50), alone, None).cases_needed


def test_one_group_alone_asks_for_other_groups():
    one = replace(compared(50, 33, 38, 30), is_grouped=True, p_value=1.0, ci_low=0.1, ci_high=0.1)
    verdict = judge(standing(38, 50), one, None)
    assert verdict.kind == "more_cases"
    assert "one group" in verdict.sentence


def test_a_measure_where_less_is_better_says_so():
    fewer = Comparison("ter", 60.0, 40.0, -20.0, -25.0, -15.0, 0.0001, "x", 300)
    assert "where less is better" in judge(Standing("ter", 40.0, 35.0, 45.0, 300), fewer, None).sentence


def test_concerns_beside_a_model_that_is_not_shipped_speak_of_no_use():
    obstacles = obstacles_of([], None, BAD_FINDINGS)
    verdict = judge(standing(40, 104), compared(104, 80, 40, 38), None, obstacles=obstacles)
    assert "This was found too: Capital letters break it." in verdict.sentence
    assert "before using it" not in verdict.sentence
