"""What is left of an ability, and when that is worth a warning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from finetune_engine.evaluate.statistics.retention import chance_of_guessing, retention, text_change


def right(count: int, n: int = 96) -> list[bool]:
    return [place < count for place in range(n)]


def test_retention_is_what_is_left_above_guessing():
    found = retention(right(84), right(60), chance=0.25, seed=1)
    assert found.value == pytest.approx((60 / 96 - 0.25) / (84 / 96 - 0.25))
    assert found.ci_low < found.value < found.ci_high
    assert found.is_worrying


def test_an_unchanged_model_keeps_everything_without_doubt():
    found = retention(right(70), right(70), chance=0.25, seed=1)
    assert (found.value, found.ci_low, found.ci_high) == (1.0, 1.0, 1.0)
    assert not found.is_worrying


def test_a_model_at_chance_after_training_keeps_nothing():
    assert retention(right(80), right(24), chance=0.25, seed=1).value == 0.0


def test_a_base_that_only_guesses_is_not_measurable():
    found = retention(right(29), right(24), chance=0.25, seed=1)
    assert found.value is None
    assert "30 % right, 25 % by guessing" in found.reason
    assert not found.is_worrying


def test_a_small_loss_within_the_noise_is_no_warning():
    before = right(80)
    after = [not one if place in {1, 5, 9, 13, 85, 90} else one for place, one in enumerate(before)]
    found = retention(before, after, chance=0.5, seed=1)
    assert found.value < 1.0
    assert not found.is_worrying


def test_a_model_that_lost_nothing_is_seldom_accused():
    # Both models know each answer with probability 0.8; a quarter of the answers are luck that falls anew.
    generator = np.random.default_rng(3)
    accused = 0
    for trial in range(150):
        before = generator.random(96) < 0.8
        after = np.where(generator.random(96) < 0.25, generator.random(96) < 0.8, before)
        accused += retention(list(before), list(after), chance=0.25, seed=trial).is_worrying
    # Below 5 % in truth; 15 of 150 is beyond four standard deviations of that.
    assert accused <= 15


def test_different_questions_cannot_be_compared():
    with pytest.raises(ValueError, match="same questions"):
        retention(right(5), [True], chance=0.5, seed=1)


def test_the_chance_of_guessing_is_the_exact_binomial_tail():
    assert chance_of_guessing(33, 96, 0.25) == pytest.approx(float(stats.binom.sf(32, 96, 0.25)), rel=1e-9)


def test_the_change_of_the_surprise_is_weighted_by_tokens():
    found = text_change([(10.0, 10), (40.0, 20)], [(11.0, 10), (55.0, 20)], seed=1)
    assert (found.base, found.tuned) == (pytest.approx(50 / 30), pytest.approx(66 / 30))
    assert found.change == pytest.approx(66 / 50 - 1)
    assert found.is_worrying


def test_a_rise_of_nine_per_cent_is_no_warning_and_one_of_eleven_is():
    base = [(100.0, 50)] * 10
    assert not text_change(base, [(109.0, 50)] * 10, seed=1).is_worrying
    assert text_change(base, [(111.0, 50)] * 10, seed=1).is_worrying


def test_text_that_was_not_read_changes_nothing():
    assert text_change([], [], seed=1) is None
    assert text_change([(0.0, 0)], [(0.0, 0)], seed=1) is None


def test_a_base_that_predicts_text_no_better_than_guessing_is_not_measurable():
    # 100 tokens to choose from: guessing costs 4.6 nats a token.
    base = [(46.0 + place % 3, 10) for place in range(18)]
    found = text_change(base, [(90.0, 10)] * 18, seed=1, vocabulary=100)
    assert (found.change, found.is_worrying) == (None, False)
    assert "4.61 by guessing among 100 tokens" in found.reason
    assert text_change([(20.0, 10)] * 18, [(30.0, 10)] * 18, seed=1, vocabulary=100).is_worrying
