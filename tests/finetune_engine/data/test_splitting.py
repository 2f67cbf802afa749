"""The split: whole numbers that add up, clusters kept whole, the same seed the same split."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.data.splitting import SPLITS, Unit, assign, largest_remainder

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def singles(labels: list[str]) -> list[Unit]:
    return [Unit((i,), label) for i, label in enumerate(labels)]


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_largest_remainder_adds_up_and_is_never_off_by_one(count, weights):
    total = sum(weights)
    shares = {name: weight / total for name, weight in zip(SPLITS, weights, strict=True)}
    out = largest_remainder(count, shares)
    assert sum(out.values()) == count
    assert all(abs(out[name] - count * shares[name]) < 1 + 1e-6 for name in SPLITS)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), min_size=1, max_size=60), st.integers(0, 5))
def test_everyone_gets_one_split_and_clusters_stay_whole(clusters, seed):
    units, at = [], 0
    for label, size in clusters:
        units.append(Unit(tuple(range(at, at + size)), label))
        at += size
    out = assign(units, SHARES, seed)
    assert sorted(out) == list(range(at))
    assert all(len({out[m] for m in unit.members}) == 1 for unit in units)
    assert out == assign(list(reversed(units)), SHARES, seed)
    if len(units) >= 3:
        assert set(out.values()) == set(SPLITS)


def test_eighty_ten_ten_of_a_thousand_is_exact():
    out = assign(singles([f"label {i % 4}" for i in range(1000)]), SHARES, 1)
    assert Counter(out.values()) == {"train": 800, "validation": 100, "test": 100}


def test_another_seed_gives_another_split():
    units = singles(["a"] * 200)
    assert assign(units, SHARES, 1) != assign(units, SHARES, 2)


def test_a_label_with_five_rows_is_in_train_and_in_test():
    labels = ["big"] * 200 + ["small"] * 5
    out = assign(singles(labels), SHARES, 3)
    small = Counter(out[i] for i in range(200, 205))
    assert small["test"] >= 1
    assert small["train"] >= 3


def test_a_label_with_one_row_is_learnt_from():
    out = assign(singles(["big"] * 50 + ["lonely"]), SHARES, 3)
    assert out[50] == "train"


def test_a_share_of_zero_stays_empty():
    out = assign(singles(["a"] * 50), {"train": 0.9, "validation": 0.1, "test": 0}, 3)
    assert set(out.values()) == {"train", "validation"}
