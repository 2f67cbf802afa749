"""Figures by group: equal to fairlearn's, and quiet where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, demographic_parity_difference, equalized_odds_difference, selection_rate

from finetune_engine.evaluate.fair.group_report import Served, column_report, fairlearn_figures, gather
from finetune_engine.evaluate.fair.groups import (
    chance_of,
    column_of,
    columns_for,
    gap_of_sums,
    group_rows,
    largest,
    odds_gaps,
    odds_of,
    odds_rows,
    parity_gaps,
    permuted,
)
from tests.finetune_engine.evaluate.suites.conftest import case


def cases_of(groups, labels=None, name="origin"):
    labels = labels or ["yes"] * len(groups)
    pairs = enumerate(zip(groups, labels, strict=True))
    return [case(row, "Question", label, label, **{name: group}) for row, (group, label) in pairs]


# 40 of "a": 20 yes (15 found), 20 no (5 called yes). 40 of "b": 30 yes (15 found), 10 no (4 called yes).
GROUPS = ["a"] * 40 + ["b"] * 40
TRUTH = ["yes"] * 20 + ["no"] * 20 + ["yes"] * 30 + ["no"] * 10
SAID = ["yes"] * 15 + ["no"] * 5 + ["yes"] * 5 + ["no"] * 15 + ["yes"] * 15 + ["no"] * 15 + ["yes"] * 4 + ["no"] * 6


def hand_made(blocks=None):
    column = column_of(cases_of(GROUPS, TRUTH), "origin")
    right = np.asarray([float(one == other) for one, other in zip(TRUTH, SAID, strict=True)])
    return column_report(column, "accuracy", TRUTH, {"tuned": Served(right, SAID)}, "tuned", blocks, 7)


def test_hand_made_predictions_give_the_figures_worked_out_by_hand() -> None:
    entry = hand_made()
    values = {group["group"]: group["value"] for group in entry["by_group"]}
    assert values == {"a": pytest.approx(30 / 40), "b": pytest.approx(21 / 40)}
    assert entry["difference"] == pytest.approx(30 / 40 - 21 / 40)
    assert entry["ratio"] == pytest.approx(21 / 30)
    assert entry["demographic_parity_difference"] == pytest.approx(abs(20 / 40 - 19 / 40))
    assert entry["demographic_parity_in_references"] == pytest.approx(30 / 40 - 20 / 40)
    assert entry["equalized_odds_difference"] == pytest.approx(max(15 / 20 - 15 / 30, 4 / 10 - 5 / 20))
    assert entry["difference_low"] <= entry["difference"] <= entry["difference_high"]


def test_they_are_the_figures_of_fairlearn() -> None:
    entry = hand_made()
    true, said = [int(x == "yes") for x in TRUTH], [int(x == "yes") for x in SAID]
    frame = MetricFrame(metrics=selection_rate, y_true=true, y_pred=said, sensitive_features=GROUPS)
    parity = demographic_parity_difference(true, said, sensitive_features=GROUPS)
    assert entry["demographic_parity_difference"] == pytest.approx(parity)
    assert parity == pytest.approx(frame.difference(method="between_groups"))
    odds = equalized_odds_difference(true, said, sensitive_features=GROUPS)
    assert entry["equalized_odds_difference"] == pytest.approx(odds)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_resampled_is_what_fairlearn_computes_with_several_labels_and_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, groups = 600, ["a", "b", "c"]
    names = [groups[at] for at in rng.integers(0, 3, n)]
    truth = [f"label {at}" for at in rng.integers(0, 4, n)]
    said = [label if rng.random() < 0.7 else f"label {rng.integers(0, 4)}" for label in truth]
    right = np.asarray([float(one == other) for one, other in zip(truth, said, strict=True)])
    gathered = gather(column_of(cases_of(names, truth), "origin"), truth, None)
    figures = fairlearn_figures(gathered, Served(right, said))
    odds = odds_of(truth, said, gathered.numbers, 3, fewest=10)
    sums = odds_rows(odds, gathered.numbers, 3).sum(axis=0, keepdims=True)
    columns = list(zip(odds.true.T, odds.said.T, strict=True))
    by_label = [equalized_odds_difference(true, given, sensitive_features=names) for true, given in columns]
    assert odds_gaps(sums, 3)[0] == pytest.approx(by_label)
    assert figures["equalized_odds_difference"] == largest(odds_gaps(sums, 3))[0] == pytest.approx(max(by_label))
    by_label = [demographic_parity_difference(true, given, sensitive_features=names) for true, given in columns]
    assert parity_gaps(sums, 3)[0] == pytest.approx(by_label)
    assert figures["demographic_parity_difference"] == pytest.approx(max(by_label))
    gap = gap_of_sums(group_rows(right, gathered.numbers, 3).sum(axis=0, keepdims=True))[0]
    assert gap == pytest.approx(figures["difference"])


def test_a_group_under_thirty_is_suppressed_and_stays_out_of_the_gap() -> None:
    column = column_of(cases_of(["a"] * 40 + ["b"] * 40 + ["c"] * 29), "origin")
    values = np.asarray([1.0] * 40 + [0.0] * 20 + [1.0] * 20 + [0.0] * 29)
    entry = column_report(column, "exact_match", None, {"tuned": Served(values, None)}, "tuned", None, 7)
    small = entry["by_group"][2]
    assert (small["group"], small["n"], small["suppressed"], small["value"]) == ("c", 29, True, None)
    assert entry["difference"] == pytest.approx(0.5)
    assert entry["equalized_odds_difference"] is None


def test_one_group_alone_is_a_reason_and_no_figure() -> None:
    column = column_of(cases_of(["a"] * 40 + ["b"] * 5), "origin")
    entry = column_report(column, "exact_match", None, {"tuned": Served(np.ones(45), None)}, "tuned", None, 7)
    assert entry["difference"] is None
    assert "Fewer than two groups" in entry["reason"]


def test_a_label_that_a_group_hardly_has_is_left_out_of_the_odds() -> None:
    truth = ["yes"] * 40 + ["no"] * 40 + ["yes"] * 31 + ["no"] * 9
    numbers = np.asarray([0] * 80 + [1] * 40)
    assert odds_of(truth, truth, numbers, 2, fewest=10).labels == []
    assert odds_of(truth, truth, numbers, 2, fewest=9).labels == ["no", "yes"]


def test_columns_of_groups_are_found_and_those_that_follow_from_the_label_are_not() -> None:
    cases = [
        case(row, "Question", label, label, origin="ab"[row % 2], topic=label.upper(), note=f"n{row}", contract=row // 40,
             rare="x" if row < 5 else "y", both={"a": 1})
        for row in range(120) for label in [["rent", "law"][row // 2 % 2]]
    ]  # fmt: skip
    assert [column.name for column in columns_for(cases, (), "contract")] == ["origin"]
    assert [column.name for column in columns_for(cases, (), None)] == ["contract", "origin"]
    assert [column.name for column in columns_for(cases, ("rare",), None)] == ["rare"]


def test_membership_is_exchanged_within_the_label_and_in_whole_blocks() -> None:
    rng = np.random.default_rng(1)
    numbers = np.asarray([0, 0, 0, 1, 1, 1, 0, 1])
    strata = np.asarray([0, 0, 0, 0, 1, 1, 1, 1])
    shuffled = permuted(numbers, strata, None, rng)
    assert [shuffled[strata == at].sum() for at in (0, 1)] == [1, 3]
    blocks = ["a", "a", "a", "b", "b", "b", "c", "d"]
    for _ in range(20):
        whole = permuted(numbers, None, blocks, rng)
        assert len(set(whole[:3])) == len(set(whole[3:6])) == 1


def test_clean_groups_stay_quiet_about_as_often_as_the_level_says() -> None:
    false_alarms = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        values, numbers = (rng.random(200) < 0.8).astype(float), rng.integers(0, 3, 200)

        def gap(changed, values=values):
            sums = group_rows(values, changed, 3).sum(axis=0, keepdims=True)
            return float(gap_of_sums(sums)[0])

        p_value, _ = chance_of(
            gap(numbers), gap, lambda draws, numbers=numbers: permuted(numbers, None, None, draws), seed, 99
        )
        false_alarms += p_value <= 0.05
    assert false_alarms <= 13  # 5 % of 120 is 6; more than 13 would happen once in 250 tries
