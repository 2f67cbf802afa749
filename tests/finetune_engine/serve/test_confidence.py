import math

import pytest

from finetune_engine.serve.confidence import confidence_of


def test_confidence_is_the_geometric_mean_and_the_minimum_of_probabilities():
    confidence = confidence_of([math.log(0.9), math.log(0.4)])
    assert confidence.value == pytest.approx(0.6)
    assert confidence.minimum == pytest.approx(0.4)


def test_without_tokens_there_is_no_confidence():
    assert confidence_of([]) is None
    assert confidence_of([float("nan")]) is None


def test_a_token_that_could_not_be_gives_zero_not_an_error():
    assert confidence_of([float("-inf"), -0.1]).value == 0.0


def test_a_server_that_sends_more_than_certainty_is_held_at_certainty():
    assert confidence_of([1_000.0, 0.0]).value == 1.0
    assert confidence_of([1e-7, math.log(0.25)]).value == pytest.approx(0.5)
