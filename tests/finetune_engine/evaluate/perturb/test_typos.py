"""Slips of the finger: how many, where, and the same ones every time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.evaluate.perturb.perturbation import perturbed
from finetune_engine.evaluate.perturb.registry import all_perturbations
from finetune_engine.evaluate.perturb.typos import NEIGHBOURS, slips, with_slips

WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöé", min_size=2, max_size=12)
TEXTS = st.lists(WORDS, min_size=3, max_size=60).map(" ".join)


@given(TEXTS, st.sampled_from([0.01, 0.05, 0.10]), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_share_of_letters_touched_is_the_share_asked_for(text: str, share: float, seed: int) -> None:
    letters = sum(mark.isalpha() for mark in text)
    found = slips(text, share, random.Random(seed))
    assert sum(slip.letters for slip in found) == max(1, round(share * letters))


@given(TEXTS, st.sampled_from([0.05, 0.10]), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_what_is_not_touched_stays_as_it_was(text: str, share: float, seed: int) -> None:
    found = slips(text, share, random.Random(seed))
    changed = with_slips(text, found)
    assert changed != text
    assert changed.count(" ") == text.count(" ")
    assert len(text) - len(changed) == sum(slip.how == "drop" for slip in found)
    touched = {slip.position + more for slip in found for more in range(slip.letters)}
    kept = [mark for place, mark in enumerate(text) if place not in touched]
    rest = iter(changed)
    assert all(mark in rest for mark in kept), "the untouched letters are no longer in order"


@given(TEXTS, st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_same_example_gets_the_same_slips(text: str, row: int) -> None:
    for perturbation in all_perturbations():
        assert perturbed(perturbation, text, row) == perturbed(perturbation, text, row)


def test_another_example_gets_other_slips() -> None:
    text = "The tenant shall pay the rent on the first working day of every month."
    five = next(one for one in all_perturbations() if one.key == "typos:5 % of letters")
    assert len({perturbed(five, text, row) for row in range(10)}) > 5


def test_a_neighbouring_key_is_a_neighbour_both_ways() -> None:
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


@pytest.mark.parametrize(
    ("text", "is_touched"), [("我想取消预订", False), ("арендатор платит", True), ("미안합니다", True)]
)
def test_ideographs_are_left_alone_and_other_scripts_slip(text: str, is_touched: bool) -> None:
    assert bool(slips(text, 0.10, random.Random(1))) is is_touched


def test_a_letter_that_carries_a_mark_stays_with_it() -> None:
    text = "ที่นี่ดี"
    for seed in range(20):
        for slip in slips(text, 0.5, random.Random(seed)):
            assert text[slip.position + 1 : slip.position + 2] not in ("\u0e35", "\u0e48")
