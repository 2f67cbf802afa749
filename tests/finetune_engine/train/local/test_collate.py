"""Order of rows and micro-batches."""

from __future__ import annotations

import itertools

import pytest

from finetune_engine.train.local.collate import collate, micro_batches, pass_order, step_rows
from finetune_engine.train.local.encode import Encoded

ROWS = [Encoded([1, 2, 3, 4, 5], 3), Encoded([6, 7, 8], 1), Encoded([9, 10], 1)]


def test_the_order_is_the_same_for_the_same_seed_and_pass() -> None:
    assert pass_order(50, 1, 2) == pass_order(50, 1, 2)
    assert pass_order(50, 1, 2) != pass_order(50, 1, 3) != pass_order(50, 2, 3)


def test_a_pass_shows_every_row_exactly_once() -> None:
    steps = [step_rows(21, seed=3, step=step, per_step=4) for step in range(6, 12)]
    assert sorted(itertools.chain(*steps)) == list(range(21))
    assert len(steps[-1]) == 1


@pytest.mark.parametrize("flat", [True, False])
def test_micro_batches_hold_the_allowed_tokens_and_lose_no_row(flat: bool) -> None:
    lengths = [5, 60, 20, 19, 40, 7, 1]
    groups = micro_batches(lengths, 64, flat=flat)
    assert sorted(itertools.chain(*groups)) == list(range(7))
    for group in groups:
        cost = sum(lengths[i] for i in group) if flat else len(group) * max(lengths[i] for i in group)
        assert cost <= 64


def test_a_row_longer_than_the_limit_stands_alone() -> None:
    assert micro_batches([100, 3], 64, flat=True) == [[0], [1]]


def test_rows_laid_flat_predict_their_own_answers_only() -> None:
    batch = collate(ROWS, flat=True, pad_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 0, 1]]
    assert batch.keep.tolist() == [2, 3, 5, 6, 8]
    assert batch.targets.tolist() == [4, 5, 7, 8, 10]


def test_padded_rows_have_the_same_targets() -> None:
    batch = collate(ROWS, flat=False, pad_id=0)
    places = [
        (row, int(batch.keep[column])) for row, column in zip(batch.rows.tolist(), batch.columns.tolist(), strict=True)
    ]
    assert [int(batch.input_ids[row, place + 1]) for row, place in places] == batch.targets.tolist() == [4, 5, 7, 8, 10]


def test_padding_is_not_counted_as_tokens() -> None:
    assert collate(ROWS, flat=False, pad_id=0).tokens == collate(ROWS, flat=True, pad_id=0).tokens == 10
