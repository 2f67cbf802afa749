"""Agreement between raters, against published examples and an independent computation in fractions."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.evaluate.statistics.agreement import agreement, gwet_ac1, krippendorff_alpha, percent_agreement

# Four observers, twelve units, missing values: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C/D.
_ = None
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)
CANONICAL = list(zip(*OBSERVERS, strict=True))
BINARY = list(zip((0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0), strict=True))


def alpha_in_fractions(units, level: str) -> Fraction:
    """By the definition: pair by pair, no matrices and no floats."""
    coincidences: Counter = Counter()
    for unit in units:
        values = [value for value in unit if value is not None]
        for one, other in permutations(range(len(values)), 2):
            coincidences[values[one], values[other]] += Fraction(1, len(values) - 1)
    totals: Counter = Counter()
    for (one, _other), count in coincidences.items():
        totals[one] += count
    n = sum(totals.values())
    ranks = sorted(totals)

    def distance(a, b) -> Fraction:
        if level == "nominal":
            return Fraction(a != b)
        if level == "interval":
            return Fraction(a - b) ** 2
        low, high = sorted((ranks.index(a), ranks.index(b)))
        return (sum(totals[rank] for rank in ranks[low : high + 1]) - Fraction(totals[a] + totals[b]) / 2) ** 2

    observed = sum(count * distance(*pair) for pair, count in coincidences.items()) / n
    expected = sum(totals[a] * totals[b] * distance(a, b) for a in ranks for b in ranks) / (n * (n - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_canonical_data_with_missing_values_is_the_published_one(level, published):
    assert krippendorff_alpha(CANONICAL, level=level).value == pytest.approx(published, abs=0.0005)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_equals_the_definition_in_exact_fractions(level):
    assert krippendorff_alpha(CANONICAL, level=level).value == pytest.approx(
        float(alpha_in_fractions(CANONICAL, level)), abs=1e-12
    )


def test_alpha_of_two_observers_and_two_categories_is_the_published_one():
    # The same paper, example A: 0.095.
    assert krippendorff_alpha(BINARY).value == pytest.approx(0.095, abs=0.0005)


def test_ac1_of_the_125_subjects_is_gwets_figure():
    # Gwet (2008), table with 118 / 5 / 2 / 0: agreement 0.944, AC1 0.9408, while kappa is below zero.
    ratings = [("+", "+")] * 118 + [("+", "-")] * 5 + [("-", "+")] * 2
    found = agreement(ratings, categories=["+", "-"])
    assert found.percent.value == pytest.approx(0.944)
    assert found.ac1.value == pytest.approx(0.9408, abs=0.00005)
    assert found.alpha.value < 0


def test_ac1_of_the_three_abstractors_table_is_the_published_one():
    # irrCAC, data set cont3x3abstractors: AC1 0.8493305, Krippendorff's alpha 0.7972585.
    table = ((13, 0, 0), (0, 20, 7), (0, 4, 56))
    ratings = [(a, b) for a, row in enumerate(table) for b, count in enumerate(row) for _ in range(count)]
    assert gwet_ac1(ratings).value == pytest.approx(0.8493305, abs=5e-8)
    assert krippendorff_alpha(ratings).value == pytest.approx(0.7972585, abs=5e-8)


def test_ac1_of_several_raters_with_missing_values_is_the_published_one():
    # irrCAC, data set cac.raw4raters (the canonical data): AC1 0.77544, percent agreement 0.81818.
    assert gwet_ac1(CANONICAL).value == pytest.approx(0.77544, abs=5e-6)
    assert percent_agreement(CANONICAL) == pytest.approx(0.8181818, abs=5e-8)


def test_ac2_forgives_a_neighbouring_mark_by_the_published_ordinal_weight():
    # With the weights 1, 2/3, 0 of three ranks: pa = (1 + 1 + 2/3) / 3; shares 1/3, 1/2, 1/6.
    ratings = [(1, 1), (2, 2), (2, 3)]
    shares = [Fraction(1, 3), Fraction(1, 2), Fraction(1, 6)]
    chance = (3 + 4 * Fraction(2, 3)) / 6 * sum(share * (1 - share) for share in shares)
    expected = (Fraction(8, 9) - chance) / (1 - chance)
    found = gwet_ac1([(1, 1), (2, 2), (2, 3)], level="ordinal", categories=[1, 2, 3]).value
    assert found == pytest.approx(float(expected), abs=1e-12)
    assert found > gwet_ac1(ratings, categories=[1, 2, 3]).value


def test_ratings_that_are_all_the_same_are_not_measurable_but_their_percentage_is():
    found = agreement([("tie", "tie"), ("tie", "tie", "tie")], categories=["left", "right", "tie"])
    assert (found.alpha.value, found.ac1.value) == (None, None)
    assert "all ratings are the same" in found.alpha.reason
    assert found.percent.value == 1.0
    assert "not measurable" in found.sentence


def test_one_rater_per_item_is_not_measurable():
    found = agreement([("left", None), ("right",), (None, "tie")])
    assert found.items == 0
    assert found.percent.value is None
    assert "two ratings" in found.ac1.reason


def test_no_ratings_at_all_are_not_measurable():
    assert agreement([]).alpha.value is None


def test_perfect_agreement_on_different_labels_is_one():
    found = agreement([("a", "a"), ("b", "b"), ("c", "c")])
    assert (found.alpha.value, found.ac1.value) == (pytest.approx(1.0), pytest.approx(1.0))


def test_systematic_disagreement_is_below_zero():
    assert krippendorff_alpha([("a", "b")] * 10).value < 0


def test_a_label_outside_the_categories_is_refused():
    with pytest.raises(ValueError, match="not among the categories"):
        agreement([("left", "up")], categories=["left", "right"])


def test_the_interval_holds_the_figure_and_narrows_with_more_items():
    few, many = agreement(CANONICAL, seed=1), agreement(CANONICAL * 8, seed=1)
    assert few.alpha.ci_low < few.alpha.value < few.alpha.ci_high
    assert many.alpha.ci_high - many.alpha.ci_low < few.alpha.ci_high - few.alpha.ci_low


def test_the_same_seed_gives_the_same_interval():
    assert agreement(CANONICAL, seed=5).as_dict() == agreement(CANONICAL, seed=5).as_dict()


def test_the_order_of_raters_within_an_item_changes_nothing():
    turned = [tuple(reversed(item)) for item in CANONICAL]
    assert krippendorff_alpha(turned, level="ordinal") == krippendorff_alpha(CANONICAL, level="ordinal")


@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 5, None]), max_size=4), min_size=2, max_size=12))
@settings(max_examples=80, deadline=None)
def test_any_ratings_give_the_alpha_of_the_definition(ratings):
    pairable = [[one for one in item if one is not None] for item in ratings]
    pairable = [item for item in pairable if len(item) >= 2]
    for level in ("nominal", "ordinal", "interval"):
        found = krippendorff_alpha(ratings, level=level)
        if len({one for item in pairable for one in item}) < 2:
            assert found.value is None
        else:
            assert found.value == pytest.approx(float(alpha_in_fractions(pairable, level)), abs=1e-9)
