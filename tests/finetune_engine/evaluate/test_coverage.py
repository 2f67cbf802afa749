"""What intervals and tests promise, measured: counted where every outcome can be counted, else simulated with a fixed seed."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import (
    graded,
    in_groups,
    mcnemar_level,
    mcnemar_level_of_cases,
    paired,
    right_or_wrong,
    simulated,
    wilson_coverage,
)
from finetune_engine.evaluate.statistics.intervals import FEWEST_DISCORDANT
from finetune_engine.evaluate.statistics.power import missed_share

TRIALS = 1_500
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)


def show(name, n, found):
    # Seen with -s; docs/statistics.md holds the table of benchmarks/coverage.py.
    print(f"{name}, n = {n}: {100 * min(found):.1f} to {100 * max(found):.1f} %")


@pytest.mark.parametrize("n", [20, 50, 100, 300, 1_000])
def test_wilson_covers_what_it_says(n):
    found = wilson_coverage(n)
    show("Wilson", n, found)
    assert min(found) >= (0.93 if n >= 300 else 0.92)
    assert max(found) <= (0.97 if n >= 300 else 0.985)


@pytest.mark.parametrize("n", [30, 100, 300, 600])
@pytest.mark.parametrize("kind", [right_or_wrong, graded], ids=["right or wrong", "graded"])
def test_the_bootstrap_covers_what_it_says(kind, n):
    found = [simulated(n, kind(p), p, trials=TRIALS) for p in SHARES]
    show("bootstrap", n, found)
    assert min(found) >= (0.93 if n >= 300 else 0.86)
    assert max(found) <= (0.97 if n >= 300 else 0.975)


@pytest.mark.parametrize("gain", [0.0, 0.05, 0.15])
def test_the_paired_bootstrap_covers_what_it_says(gain):
    assert 0.93 <= simulated(300, paired(gain), gain, trials=TRIALS) <= 0.97


def test_the_grouped_bootstrap_covers_what_it_says_and_the_plain_one_does_not():
    groups = [number // 5 for number in range(500)]
    assert 0.93 <= simulated(500, in_groups(0.7, 5), 0.7, groups=groups, trials=TRIALS) <= 0.97
    assert simulated(500, in_groups(0.7, 5), 0.7, trials=TRIALS) < 0.88


def test_exact_mcnemar_never_exceeds_its_level():
    assert max(mcnemar_level(pairs, mid=False) for pairs in range(1, 301)) <= 0.05


@pytest.mark.parametrize(("n", "discordance"), [(300, 0.2), (120, 0.5), (600, 0.1), (300, 0.3), (400, 0.2)])
def test_mid_p_is_within_a_hundredth_of_its_level_where_it_is_shown(n, discordance):
    levels = [0.0, *(mcnemar_level(pairs, mid=True) for pairs in range(1, 260))]
    levels += [0.05] * (n - len(levels) + 1)  # so many differing pairs practically never occur
    level = mcnemar_level_of_cases(n, discordance, levels, least=FEWEST_DISCORDANT)
    print(f"mid-p, {n} cases of which {100 * discordance:.0f} % differ: {level:.4f}")
    assert level == pytest.approx(0.05, abs=0.01)


def missed_by_counting(n, discordance, gain):
    """Every split of n cases into better, worse and the same, with its probability; scipy's test decides."""
    better, worse = (discordance + gain) / 2, (discordance - gain) / 2
    missed = 0.0
    for differing in range(n + 1):
        weight = stats.binom.pmf(differing, n, discordance)
        if weight < 1e-9:
            continue
        gained = np.arange(differing + 1)
        p_values = np.minimum(1, 2 * stats.binom.cdf(np.minimum(gained, differing - gained), differing, 0.5))
        chances = stats.binom.pmf(gained, differing, better / (better + worse))
        missed += weight * chances[p_values > 0.05].sum()
    return missed


@pytest.mark.parametrize(
    ("n", "gain", "missed"), [(50, 0.15, 0.41), (50, 0.1, 0.76), (100, 0.15, 0.07), (200, 0.1, 0.12)]
)
def test_the_power_table_of_the_documentation_is_what_counting_every_outcome_gives(n, gain, missed):
    found = missed_share(n, discordance=0.2, gain=gain)
    assert found == pytest.approx(missed_by_counting(n, 0.2, gain), abs=1e-6)
    assert found == pytest.approx(missed, abs=0.006)
