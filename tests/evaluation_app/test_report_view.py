"""Reading a report into words."""

from __future__ import annotations

import pytest

from evaluation_app.choices import metric_words
from evaluation_app.queries import evaluation_view, sample_power
from evaluation_app.queries.report import chance_words, difference_words, value_words

pytestmark = pytest.mark.django_db


def test_the_tuned_model_stands_first_and_the_best_is_marked(done) -> None:
    view = evaluation_view(done)
    assert [(c.key, c.kind) for c in view.contenders] == [("tuned", "tuned"), ("base", "base"), ("tfidf", "baseline")]
    accuracy, perplexity = view.rows
    assert accuracy.is_headline
    assert [cell.is_best for cell in accuracy.cells] == [True, False, False]
    assert [cell.is_best for cell in perplexity.cells] == [True, False, False], "lower is better there"
    assert perplexity.cells[2].words == "–", "the baseline has no perplexity, and none is invented"
    assert accuracy.reference == 0.5


def test_an_unbounded_scale_ends_beyond_the_largest_value(done) -> None:
    perplexity = evaluation_view(done).rows[1]
    assert perplexity.cells[0].high > 90


def test_few_cases_are_said_and_greyed(done, report) -> None:
    report["n"] = 12
    for model in report["models"]:
        for entry in model["scores"]:
            entry["n"] = 12
    done.report = report
    view = evaluation_view(done)
    assert view.has_small_sample
    assert view.rows[0].cells[0].is_small


def test_a_matrix_without_mistakes_says_so(done, report) -> None:
    report["models"][1]["confusion"]["matrix"] = [[20, 0], [0, 20]]
    done.report = report
    assert evaluation_view(done).confusion.sentences == ["No case was answered with a wrong label."]


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0002, "less than 1 time in 1,000"),
        (0.004, "4 times in 1,000"),
        (0.23, "23 times in 100"),
        (1.0, "100 times in 100"),
    ],
)
def test_a_p_value_reads_as_a_frequency(p, words) -> None:
    assert words in chance_words(p)


def test_a_loss_keeps_its_sign_and_perplexity_its_unit() -> None:
    words = difference_words(
        {"difference": -0.05, "ci_low": -0.1, "ci_high": 0.0, "p_value": 0.2}, metric_words("accuracy")
    )
    assert words.startswith("-5.0 points against the base model (-10.0 to 0.0)")
    assert value_words(None, metric_words("accuracy")) == "–"
    assert value_words(3.2, metric_words("perplexity")) == "3.20"


def test_power_in_words() -> None:
    assert sample_power(0) == "There are no cases to judge by."
    assert sample_power(50) == "50 cases: a 15-point gain is missed 4 times in 10."
    assert "practically never missed" in sample_power(1000)
