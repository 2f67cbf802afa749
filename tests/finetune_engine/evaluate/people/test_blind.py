"""Drawing, sides, win rates and the votes meter of a blind review."""

from __future__ import annotations

from collections import Counter
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.evaluate.people.blind import (
    Candidate,
    CastVote,
    allocation,
    draw,
    item_verdicts,
    meter,
    result_of,
    sign_test,
    turns,
    votes_needed,
    win_rate_by_items,
    win_rate_by_votes,
)

CASES = [Candidate(str(n), stratum=("law", "law", "law", "tax")[n % 4], hardness=float(n % 97)) for n in range(400)]


def cast(*results: str, item: str = "") -> list[CastVote]:
    return [CastVote(item or str(place), "user:1", result) for place, result in enumerate(results)]


def test_the_same_seed_draws_the_same_cases_and_another_seed_others():
    assert draw(CASES, seed=1).sample == draw(list(reversed(CASES)), seed=1).sample
    assert set(draw(CASES, seed=1).sample) != set(draw(CASES, seed=2).sample)


def test_every_case_is_as_likely_to_be_drawn():
    drawn = Counter(one for seed in range(400) for one in draw(CASES[:20], seed=seed, size=5).sample)
    # 400 draws with probability 1/4: five standard deviations are 43.
    assert len(drawn) == 20
    assert all(abs(count - 100) < 44 for count in drawn.values())


def test_a_stratified_sample_is_proportional():
    drawn = draw(CASES, seed=3, size=40, stratify=True).sample
    assert Counter(CASES[int(one)].stratum for one in drawn) == {"law": 30, "tax": 10}


def test_a_tiny_stratum_gets_at_least_one_place():
    rare = [*CASES, Candidate("rare", "other")]
    assert "rare" in draw(rare, seed=3, size=10, stratify=True).sample


def test_more_strata_than_places_fall_back_to_a_plain_draw_and_say_so():
    found = draw([Candidate(str(n), str(n)) for n in range(20)], seed=1, size=5, stratify=True)
    assert len(found.sample) == 5
    assert "20 groups" in found.note


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 60), min_size=1, max_size=8), st.integers(8, 90))
@settings(max_examples=60, deadline=None)
def test_an_allocation_fills_all_places_and_leaves_no_stratum_out(sizes, places):
    given_places = allocation(sizes, places)
    assert sum(given_places.values()) == min(places, sum(sizes.values()))
    assert all(1 <= given_places[name] <= size for name, size in sizes.items())


def test_the_hardest_bucket_holds_the_hardest_of_the_rest_and_never_overlaps_the_sample():
    found = draw(CASES, seed=5, size=50, hardest=12)
    assert not set(found.sample) & set(found.hardest)
    rest = sorted((one.hardness for one in CASES if one.id not in found.sample), reverse=True)
    assert [CASES[int(one)].hardness for one in found.hardest] == rest[:12]


def test_asking_for_the_hardest_does_not_change_the_sample():
    assert draw(CASES, seed=5, hardest=12).sample == draw(CASES, seed=5).sample


def test_a_sample_larger_than_the_cases_is_all_of_them():
    assert sorted(draw(CASES[:7], seed=1, size=50).sample) == sorted(one.id for one in CASES[:7])


@given(st.integers(1, 120), st.integers(0, 2**62), st.sampled_from(["user:1", "user:2", "link:abc"]))
@settings(max_examples=60, deadline=None)
def test_sides_are_balanced_over_a_raters_items_and_nearly_so_at_any_moment(count, seed, rater):
    given_turns = turns([f"item{n}" for n in range(count)], seed=seed, rater=rater)
    assert len({turn.item for turn in given_turns}) == count
    balance = 0
    for turn in given_turns:
        balance += 1 if turn.is_swapped else -1
        assert abs(balance) <= 3
    assert abs(balance) <= 1


def test_sides_and_order_differ_between_raters_and_seeds():
    items = [str(n) for n in range(60)]
    first, other, later = (turns(items, seed=s, rater=r) for s, r in ((1, "user:1"), (1, "user:2"), (2, "user:1")))
    assert [t.item for t in first] != [t.item for t in other]
    assert {t.item: t.is_swapped for t in first} != {t.item: t.is_swapped for t in other}
    assert {t.item: t.is_swapped for t in first} != {t.item: t.is_swapped for t in later}


def test_sides_do_not_depend_on_the_order_in_which_items_come():
    items = [str(n) for n in range(31)]
    assert turns(items, seed=9, rater="user:1") == turns(items[::-1], seed=9, rater="user:1")


def test_an_item_stands_on_either_side_equally_often_over_many_seeds():
    swapped = sum({t.item: t.is_swapped for t in turns(["a", "b", "c"], seed=s, rater="r")}["a"] for s in range(600))
    # 600 fair coins: five standard deviations are 61.
    assert abs(swapped - 300) < 62


def test_one_side_does_not_give_the_next_away():
    pairs = Counter()
    for seed in range(300):
        sides = [turn.is_swapped for turn in turns([str(n) for n in range(12)], seed=seed, rater="r")]
        pairs[sides[0] == sides[1]] += 1
    # Blocks of two alone would make the second the opposite of the first every time.
    assert pairs[True] > 45


@pytest.mark.parametrize(
    ("choice", "left", "expected"),
    [("left", "tuned", "win"), ("right", "tuned", "loss"), ("left", "base", "loss"), ("right", "base", "win")],
)
def test_a_choice_is_read_by_what_stood_on_the_left(choice, left, expected):
    assert result_of(choice, left_key=left, subject="tuned") == expected


def test_ties_stay_ties_and_unknown_choices_are_refused():
    assert result_of("both_bad", left_key="base", subject="tuned") == "both_bad"
    with pytest.raises(ValueError, match="up"):
        result_of("up", left_key="base", subject="tuned")


def test_ties_are_counted_and_left_out_of_the_rate():
    found = win_rate_by_items(item_verdicts(cast("win", "win", "win", "loss", "tie", "both_bad")))
    assert (found.wins, found.losses, found.ties, found.both_bad, found.decisive, found.n) == (3, 1, 1, 1, 4, 6)
    assert found.rate == 0.75


def test_the_interval_of_a_win_rate_is_wilsons():
    found = win_rate_by_items(item_verdicts(cast(*["win"] * 8, *["loss"] * 2)))
    # The published example 8 of 10: 0.4902 to 0.9433.
    assert (found.ci_low, found.ci_high) == (pytest.approx(0.4902, abs=5e-5), pytest.approx(0.9433, abs=5e-5))


def test_no_decisive_vote_gives_no_rate_and_no_interval():
    found = win_rate_by_items(item_verdicts(cast("tie", "both_bad")))
    assert (found.rate, found.ci_low, found.p_value) == (None, None, None)
    assert win_rate_by_votes([]).rate is None


def test_the_commonest_vote_is_the_items_and_a_draw_waits_for_a_last_word():
    votes = [*cast("win", "win", "loss", item="a"), *cast("win", "loss", item="b")]
    before, after = item_verdicts(votes), item_verdicts(votes, {"b": "loss"})
    assert before.results == {"a": "win", "b": "tie"}
    assert before.undecided == ["b"]
    assert after.results == {"a": "win", "b": "loss"}
    assert (after.undecided, after.adjudicated) == ([], ["b"])


def test_several_votes_on_the_same_items_do_not_make_the_interval_narrower():
    once = cast(*["win"] * 14, *["loss"] * 6)
    thrice = [CastVote(vote.item, rater, vote.result) for vote in once for rater in ("a", "b", "c")]
    one, three = win_rate_by_votes(once), win_rate_by_votes(thrice)
    assert three.n == 60
    assert three.ci_high - three.ci_low >= one.ci_high - one.ci_low - 0.02
    assert three.p_value is None


def test_the_interval_over_votes_holds_the_true_rate_although_votes_on_an_item_hang_together():
    # Items differ in how clear they are; a plain interval over the 90 votes would be far too narrow.
    generator, held = np.random.default_rng(4), 0
    for trial in range(100):
        clear = generator.beta(0.9, 0.6, size=30)
        votes = [
            CastVote(str(item), str(rater), "win" if generator.random() < clear[item] else "loss")
            for item in range(30)
            for rater in range(3)
        ]
        found = win_rate_by_votes(votes, seed=trial)
        held += found.ci_low <= 0.6 <= found.ci_high
    assert held >= 92


def test_the_sign_test_is_the_exact_binomial_one():
    assert sign_test(9, 1) == pytest.approx(22 / 1024)
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 0) == 1.0


@pytest.mark.parametrize(("rate", "needed"), [(0.75, 30), (0.65, 90), (0.6, 199), (0.25, 30)])
def test_votes_needed_are_the_published_ones(rate, needed):
    assert votes_needed(rate) == needed


def test_one_vote_fewer_misses_the_power_by_an_independent_computation():
    def power(n: int, rate: float) -> float:
        rejected = [k for k in range(n + 1) if 2 * sum(comb(n, j) for j in range(min(k, n - k) + 1)) <= 0.05 * 2**n]
        return sum(comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in rejected)

    assert power(30, 0.75) >= 0.8 > power(29, 0.75)
    assert power(90, 0.65) >= 0.8 > power(89, 0.65)


def test_a_coin_flip_can_never_be_shown():
    assert votes_needed(0.5) is None
    with pytest.raises(ValueError, match="one half"):
        meter(10, goal=0.5)


def test_the_meter_says_how_many_votes_are_missing():
    found = meter(27)
    assert (found.needed, found.is_enough, found.share) == (30, False, 0.9)
    assert found.sentence.startswith("27 of 30 votes; 3 more decisive votes are needed")


def test_the_meter_is_full_at_the_needed_votes():
    found = meter(30, 24)
    assert found.is_enough
    assert found.share == 1.0
    assert "24 of 30" in found.sentence


def test_the_meter_of_an_open_review_does_not_say_who_leads():
    assert "under review" not in meter(30).sentence
    assert "under review" in meter(30, 24).sentence


def test_the_page_can_draw_and_count_without_the_training_libraries():
    import subprocess
    import sys

    code = (
        "import sys; import finetune_engine.evaluate.people.blind, finetune_engine.evaluate.statistics.agreement; "
        "print([name for name in ('scipy', 'torch', 'sklearn', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
