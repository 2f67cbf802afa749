import numpy as np
import pytest
from scipy import stats

from finetune_engine.evaluate.statistics.power import cases_needed, missed_share


def test_fifty_cases_miss_a_gain_of_fifteen_points_four_times_in_ten():
    assert missed_share(50, discordance=0.2, gain=0.15) == pytest.approx(0.4, abs=0.02)


def test_the_missed_share_is_what_a_simulation_finds():
    generator = np.random.default_rng(5)
    draws = generator.multinomial(120, [0.15, 0.05, 0.8], size=4_000)
    p_values = stats.binom.cdf(draws[:, :2].min(axis=1), draws[:, :2].sum(axis=1), 0.5) * 2
    assert missed_share(120, discordance=0.2, gain=0.1) == pytest.approx((p_values > 0.05).mean(), abs=0.02)


def test_the_normal_formula_takes_over_without_a_jump():
    # 600 cases at 20 % are the last counted exactly.
    exact, normal = missed_share(600, discordance=0.2, gain=0.05), missed_share(601, discordance=0.2, gain=0.05)
    assert normal == pytest.approx(exact, abs=0.015)


def test_the_cases_needed_show_the_gain_and_fewer_do_not():
    needed = cases_needed(discordance=0.2, gain=0.1)
    assert missed_share(needed, discordance=0.2, gain=0.1) <= 0.2
    assert missed_share(needed - 20, discordance=0.2, gain=0.1) > 0.2


def test_what_no_sample_can_show_has_no_number():
    assert cases_needed(discordance=0.2, gain=0.0) is None
    assert cases_needed(discordance=0.5, gain=0.001) is None


def test_a_gain_cannot_exceed_the_pairs_that_differ():
    with pytest.raises(ValueError):
        missed_share(50, discordance=0.1, gain=0.2)
