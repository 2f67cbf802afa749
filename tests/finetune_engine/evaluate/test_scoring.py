import numpy as np
import pytest

from finetune_engine.evaluate.asking.answers import ModelAnswers
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.metrics.chosen import headlines_for
from finetune_engine.evaluate.metrics.metric import mean_over
from finetune_engine.evaluate.scoring import (
    Uncertainty,
    as_share,
    compare,
    compare_all,
    compare_measured,
    correct,
    grade,
    groups_of,
    score_model,
)
from finetune_engine.evaluate.statistics.intervals import bootstrap, holm, sign_flip_test

HOW = Uncertainty(42)
TEXT = "The tenant pays the rent on the first day of month {}."


def cases_of(references, labels=None, groups=None):
    labels, groups = labels or [None] * len(references), groups or [None] * len(references)
    rows = zip(references, labels, groups, strict=True)
    return Cases([TestCase(row, [], "q", said, label, group) for row, (said, label, group) in enumerate(rows)], [])


def answers_of(answers, nll=None, likeliest=None):
    return ModelAnswers(list(answers), ["stop"] * len(answers), nll, nll and [3] * len(nll), likeliest, 16, 0)


def labelled(wrong, n=100):
    labels = ["yes" if number % 3 else "no" for number in range(n)]
    answers = ["maybe" if number in wrong else label for number, label in enumerate(labels)]
    return answers_of(answers), cases_of(labels, labels)


def scored(wrong, n=100, how=HOW):
    answers, cases = labelled(set(wrong), n)
    return score_model("m", "M", answers, cases, "classification", how)


def test_every_score_has_an_interval_around_it_and_says_how_it_was_made():
    texts = [TEXT.format(number) for number in range(40)]
    answers = answers_of([text[: 20 + number] for number, text in enumerate(texts)], nll=[float(n) for n in range(40)])
    found = score_model("m", "M", answers, cases_of(texts), "completion", HOW)
    names = {score.metric for score in found.report.scores}
    assert {"exact_match", "f1", "bleu", "chrf", "ter", "rougeL", "perplexity", "bits_per_byte"} <= names
    for score in found.report.scores:
        assert score.ci_low <= score.value <= score.ci_high, score.metric
        assert score.n == 40
        assert "95 %" in score.signature
    assert {score.metric for score in found.report.scores if not score.higher_is_better} == {
        "ter", "perplexity", "bits_per_byte",
    }  # fmt: skip


def test_unreadable_answers_are_wrong_and_a_class_of_the_confusion():
    found = scored(range(10)).report
    assert found.score("accuracy").value == pytest.approx(0.9)
    assert found.confusion.labels[-1] == "(no valid answer)"
    assert {score.label for score in found.per_class} == {"yes", "no"}


def test_a_model_without_likelihoods_has_no_perplexity():
    assert scored([1]).report.score("perplexity") is None


def test_named_metrics_are_the_only_ones():
    answers, cases = labelled({1})
    found = score_model("m", "M", answers, cases, "classification", HOW, ["mcc", "accuracy"])
    assert [score.metric for score in found.report.scores] == ["accuracy", "mcc"]


def test_cases_that_share_a_group_have_a_wider_interval_by_groups():
    grouped = scored(range(10), how=Uncertainty(42, [number // 10 for number in range(100)])).report.score("accuracy")
    alone = scored(range(10)).report.score("accuracy")
    assert grouped.ci_high - grouped.ci_low > 1.5 * (alone.ci_high - alone.ci_low)
    assert "10 groups" in grouped.signature
    assert "Wilson" in alone.signature


def test_groups_of_one_case_each_are_no_groups():
    assert scored([1], how=Uncertainty(42, list(range(100)))).report.score("accuracy").signature.endswith("Wilson 95 %")


def test_all_right_in_a_few_groups_is_not_certainty():
    score = scored([], how=Uncertainty(42, [number // 20 for number in range(100)])).report.score("accuracy")
    assert score.value == score.ci_high == 1.0
    assert score.ci_low < 0.6  # five groups say little


def test_a_case_without_a_group_stands_alone():
    cases = cases_of(["a", "b", "c"], groups=["g", "g", None])
    assert groups_of(cases) == ["g", "g", 2]
    assert groups_of(cases_of(["a"])) is None


def test_every_metric_that_both_models_have_is_compared():
    first, second = scored(range(30)), scored(range(20, 30))
    found = {one.metric: one for one in compare_all(first, second, HOW, headline="accuracy")}
    assert set(found) == {"accuracy", "exact_match", "quasi_exact_match", "macro_f1", "mcc"}
    assert found["accuracy"].difference == pytest.approx(0.2)
    assert (found["accuracy"].better, found["accuracy"].worse) == (20, 0)
    assert found["accuracy"].test == "exact McNemar"
    assert found["macro_f1"].difference == pytest.approx(
        second.report.score("macro_f1").value - first.report.score("macro_f1").value
    )
    assert found["macro_f1"].better is None


def test_models_that_never_saw_the_same_wrong_answers_can_be_compared_by_class():
    found = compare_all(scored([]), scored(range(50)), HOW)
    assert {one.metric for one in found} >= {"macro_f1", "mcc"}


def test_the_headline_keeps_its_own_p_value_and_the_others_share_the_correction():
    found = compare_all(scored(range(30)), scored(range(20, 30)), HOW, headline="accuracy")
    headline, others = found[0], found[1:]
    assert headline.p_holm == headline.p_value
    assert [one.p_holm for one in others] == holm([one.p_value for one in others])
    assert [one.p_holm for one in correct(found)] == holm([one.p_value for one in found])


def test_dependent_cases_are_tested_group_by_group_and_never_by_mcnemar():
    groups = [number // 10 for number in range(100)]
    first, second = np.zeros(100), np.asarray([float(group % 2) for group in groups])
    found = compare("accuracy", first, second, Uncertainty(42, groups))
    assert found.test.startswith("paired sign-flip over 10 groups")
    assert found.p_value == sign_flip_test(second.tolist(), seed=42, groups=groups) == pytest.approx(2 / 32)
    assert compare("accuracy", first, second, HOW).p_value < 1e-9


def test_the_mid_p_value_stands_beside_the_exact_one_from_sixty_differing_pairs():
    def found(differing):
        second = np.asarray([1.0] * differing + [0.0] * (200 - differing))
        first = np.asarray(
            [0.0] * (differing // 2 + 8) + [1.0] * (differing - differing // 2 - 8) + [0.0] * (200 - differing)
        )
        return compare("accuracy", first, second, HOW)

    assert found(59).p_mid is None
    # Two models, sixty cases right in one of the two.
    first = np.asarray([1.0] * 22 + [0.0] * 38)
    many = compare("accuracy", first, 1 - first, HOW)
    assert many.p_mid < many.p_value


def test_scores_with_a_value_for_all_cases_only_are_compared_by_swapping():
    texts = [TEXT.format(number) for number in range(30)]
    worse = score_model("a", "A", answers_of([text[:25] for text in texts]), cases_of(texts), "completion", HOW)
    better = score_model("b", "B", answers_of(texts), cases_of(texts), "completion", HOW)
    found = {one.metric: one for one in compare_all(worse, better, HOW)}
    assert found["bleu"].difference > 10
    assert found["ter"].difference < -10
    assert found["bleu"].p_value < 0.001
    assert found["bleu"].ci_low > 0


def test_lists_of_different_cases_are_not_compared():
    with pytest.raises(ValueError):
        compare_measured("f1", mean_over([1.0], ""), mean_over([1.0, 0.0], ""), HOW)


def test_the_interval_of_a_mean_is_the_bootstrap_of_its_cases():
    texts = [TEXT.format(number) for number in range(50)]
    answers = [" ".join(text.split()[: number % 9]) for number, text in enumerate(texts)]
    found = score_model("m", "M", answers_of(answers), cases_of(texts), "chat", HOW)
    values = found.values["f1"]
    expected = bootstrap(lambda chosen: float(values[chosen].mean()), 50, seed=42)
    score = found.report.score("f1")
    assert (score.ci_low, score.ci_high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("headline", [name for name in headlines_for("chat") if "json" not in name])
def test_a_perfect_answer_is_graded_one_by_every_headline(headline):
    cases = cases_of(['{"a": 1}' if "f1" in headline and headline != "f1" else TEXT]).test
    assert grade("chat", headline, [cases[0].reference], cases)[0] == pytest.approx(1.0)
    assert grade("chat", headline, ["x"], cases)[0] <= 0.1


def test_labels_are_graded_as_labels_whatever_their_form():
    cases = cases_of(["Yes", "No"], ["Yes", "No"]).test
    assert grade("classification", "accuracy", ["yes.", "Yes"], cases, ["Yes", "No"]).tolist() == [1.0, 0.0]


def test_nothing_is_graded_as_nothing():
    assert len(grade("chat", "f1", [], [])) == 0


def test_a_measure_where_less_is_better_is_turned_around():
    assert as_share("ter", np.asarray([0.0, 25.0, 140.0])).tolist() == [1.0, 0.75, 0.0]


def test_one_group_says_nothing_of_how_far_a_score_may_be_off():
    texts = [TEXT.format(number) for number in range(30)]
    answers = answers_of([text[: 20 + number] for number, text in enumerate(texts)])
    only = Uncertainty(42, ["a"] * 30)
    score = score_model("m", "M", answers, cases_of(texts), "chat", only, ["f1"]).report.score("f1")
    assert (score.ci_low, score.ci_high) == (None, None)


def test_perplexities_over_different_tokens_are_not_compared():
    texts = [TEXT.format(number) for number in range(30)]
    first = score_model("a", "A", answers_of(texts, nll=[1.0] * 30), cases_of(texts), "chat", HOW)
    other = ModelAnswers(texts, ["stop"] * 30, [1.0] * 30, [5] * 30, None, 16, 0)
    second = score_model("b", "B", other, cases_of(texts), "chat", HOW)
    compared = {one.metric for one in compare_all(first, second, HOW)}
    assert "perplexity" not in compared
    assert "bits_per_byte" in compared
