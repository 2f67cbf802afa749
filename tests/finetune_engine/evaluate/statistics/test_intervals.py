import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from finetune_engine.evaluate.statistics.intervals import (
    bootstrap,
    bootstrap_sums,
    holm,
    mcnemar_exact,
    mcnemar_mid_p,
    mean_of_sums,
    mean_rows,
    paired_bootstrap,
    paired_bootstrap_sums,
    resample,
    sign_flip_test,
    sign_test,
    swap_test,
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


@pytest.mark.parametrize("n", [1, 7, 30, 104, 2_000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_that_of_statsmodels(n, confidence):
    for successes in {0, 1, n // 3, n // 2, n - 1, n}:
        low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
        found = wilson(successes, n, confidence)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@pytest.fixture
def skewed():
    return np.random.default_rng(0).gamma(2.0, 1.0, 200)


def test_the_bootstrap_of_a_mean_is_that_of_scipy_draw_by_draw(skewed):
    found = bootstrap_sums(mean_rows(skewed), mean_of_sums, seed=3)
    expected = stats.bootstrap(
        (skewed,), np.mean, n_resamples=1_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_of_any_statistic_is_that_of_scipy_draw_by_draw(skewed):
    found = bootstrap(lambda chosen: float(np.median(skewed[chosen])), 200, seed=3)
    expected = stats.bootstrap(
        (skewed,), np.median, n_resamples=1_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_paired_bootstrap_is_that_of_scipy_draw_by_draw(skewed):
    second = skewed + np.random.default_rng(1).normal(0.1, 0.5, 200)
    found = paired_bootstrap(skewed.tolist(), second.tolist(), seed=3)
    expected = stats.bootstrap(
        (skewed, second),
        lambda a, b, axis=-1: np.mean(b, axis=axis) - np.mean(a, axis=axis),
        paired=True,
        n_resamples=1_000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_sums_and_case_numbers_draw_the_same_resamples(skewed):
    groups = [number // 7 for number in range(200)]
    by_sums = bootstrap_sums(mean_rows(skewed), mean_of_sums, seed=5, groups=groups)
    by_cases = bootstrap(lambda chosen: float(skewed[chosen].mean()), 200, seed=5, groups=groups)
    assert (by_sums.low, by_sums.high) == pytest.approx((by_cases.low, by_cases.high))


def test_a_difference_of_ratios_is_taken_on_the_same_draws():
    # Perplexity-like: the two models differ by a constant, so each resample does.
    weights = np.random.default_rng(2).integers(1, 9, 100).astype(float)
    first = np.column_stack([weights * np.random.default_rng(3).random(100), weights])
    second = first + np.column_stack([0.5 * weights, np.zeros(100)])
    found = paired_bootstrap_sums(first, second, lambda sums: sums[:, 0] / sums[:, 1], seed=1)
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((0.5, 0.5, 0.5))


def table(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second, [[both, only_first], [only_second, neither]]


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 6), (8, 2), (31, 52), (60, 60), (401, 480)])
def test_exact_mcnemar_is_that_of_statsmodels(only_first, only_second):
    first, second, counts = table(40, only_first, only_second, 9)
    assert mcnemar_exact(first, second) == pytest.approx(min(1.0, mcnemar(counts, exact=True).pvalue), rel=1e-9)


@pytest.mark.parametrize(("only_first", "only_second"), [(31, 52), (25, 40), (401, 480)])
def test_the_mid_p_value_counts_the_table_seen_by_half(only_first, only_second):
    first, second, counts = table(40, only_first, only_second, 9)
    seen = stats.binom.pmf(min(only_first, only_second), only_first + only_second, 0.5)
    assert mcnemar_mid_p(first, second) == pytest.approx(mcnemar(counts, exact=True).pvalue - seen, rel=1e-9)


def test_an_even_split_is_no_evidence_at_all():
    assert sign_test(30, 30, mid=True) == 1.0
    assert sign_test(30, 30) == 1.0


def test_the_sign_test_is_the_binomial_test_of_scipy():
    for gained, lost in [(0, 1), (3, 0), (17, 30), (190, 260)]:
        assert sign_test(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-9)


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(4).random(17) ** 3
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_few_cases_are_swapped_in_every_way_as_in_scipy():
    generator = np.random.default_rng(6)
    first, second = generator.random(11), generator.random(11) + 0.25
    expected = stats.permutation_test(
        (first, second),
        lambda a, b, axis=-1: np.mean(b, axis=axis) - np.mean(a, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert swap_test(mean_rows(first), mean_rows(second), mean_of_sums, seed=1) == pytest.approx(expected, abs=1e-12)
    assert sign_flip_test((second - first).tolist(), seed=1) == pytest.approx(expected, abs=1e-12)


def test_many_cases_are_swapped_at_random_and_agree_with_the_normal_formula():
    gaps = np.random.default_rng(7).normal(0.1, 1.0, 600)
    expected = 2 * stats.norm.sf(abs(gaps.sum()) / np.sqrt((gaps**2).sum()))
    assert sign_flip_test(gaps.tolist(), seed=1) == pytest.approx(expected, abs=0.02)


def test_groups_are_swapped_as_a_whole():
    # Ten groups that agree within themselves: 2 of 2^10 patterns are as extreme, however many rows they have.
    gaps, groups = [1.0] * 100, [number // 10 for number in range(100)]
    assert sign_flip_test(gaps, seed=1, groups=groups) == pytest.approx(2 / 1024)
    assert sign_flip_test(gaps, seed=1) < 0.001


def test_nothing_can_be_drawn_from_nothing():
    with pytest.raises(ValueError):
        bootstrap_sums(np.zeros((0, 2)), mean_of_sums, seed=1)
    with pytest.raises(ValueError):
        list(resample(0, seed=1))


def test_a_large_sample_is_drawn_in_blocks_that_fit_in_memory():
    draws = list(resample(3_000_000, seed=1, resamples=3))
    assert [len(draw) for draw in draws] == [3_000_000] * 3
    assert not np.array_equal(draws[0], draws[1])
