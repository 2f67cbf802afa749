import numpy as np
import pytest

from finetune_engine.evaluate.intervals import (
    bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    resample,
    sign_flip_test,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (96, 104, 0.8555, 0.9605),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_nothing_is_known_without_cases():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_mcnemar_matches_hand_numbers():
    # 8 gained, 2 lost: 2 * (1 + 10 + 45) / 1024.
    first = [False] * 8 + [True] * 2 + [True] * 50
    second = [True] * 8 + [False] * 2 + [True] * 50
    assert mcnemar_exact(first, second) == pytest.approx(2 * 56 / 1024)
    assert mcnemar_exact(second, first) == pytest.approx(2 * 56 / 1024)
    assert mcnemar_exact([True, False], [True, False]) == 1.0
    # 6 gained, none lost: 2 / 64.
    assert mcnemar_exact([False] * 6, [True] * 6) == pytest.approx(2 / 64)


def test_paired_lists_must_be_of_equal_length():
    with pytest.raises(ValueError):
        mcnemar_exact([True], [True, False])
    with pytest.raises(ValueError):
        paired_bootstrap([1.0], [1.0, 0.0], seed=1)


def test_the_bootstrap_covers_the_mean_like_the_normal_formula():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    interval = bootstrap(lambda chosen: float(values[chosen].mean()), 400, seed=1)
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_a_seed_makes_intervals_repeatable():
    values = np.arange(30.0)

    def of(seed):
        return bootstrap(lambda chosen: float(values[chosen].mean()), 30, seed=seed)

    assert of(1) == of(1)
    assert of(1) != of(2)


def test_rows_of_one_group_are_drawn_together_and_widen_the_interval():
    groups = [number // 10 for number in range(100)]
    values = np.asarray([float(group % 2) for group in groups])
    for chosen in resample(100, seed=1, groups=groups, resamples=5):
        assert np.bincount(np.asarray(groups)[chosen], minlength=10).max() % 10 == 0
    alone = bootstrap(lambda chosen: float(values[chosen].mean()), 100, seed=1)
    grouped = bootstrap(lambda chosen: float(values[chosen].mean()), 100, seed=1, groups=groups)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_pairing_narrows_the_interval_of_a_difference():
    generator = np.random.default_rng(3)
    hard = generator.normal(0, 5, 200)
    difference = paired_bootstrap(hard.tolist(), (hard + 1 + generator.normal(0, 0.1, 200)).tolist(), seed=1)
    assert difference.value == pytest.approx(1.0, abs=0.05)
    assert difference.interval.high - difference.interval.low < 0.1


def test_flipping_signs_agrees_with_counting_all_flips():
    # Of the 2^6 sign patterns only all-plus and all-minus reach the sum seen.
    assert sign_flip_test([0.5] * 6, seed=1) == pytest.approx(2 / 64, abs=0.006)
    assert sign_flip_test([0.0] * 5, seed=1) == 1.0
    assert sign_flip_test([0.3, -0.3], seed=1) == 1.0


def test_holm_corrects_for_looking_several_times():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
