"""The difference of two figures that were measured on different cases."""

from __future__ import annotations

import pytest

from finetune_engine.evaluate.statistics.intervals import Interval, wilson
from finetune_engine.evaluate.statistics.unpaired import independent_difference


def test_two_proportions_give_newcombes_published_interval() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, case (a): 56/70 and 48/80, method 10.
    found = independent_difference(48 / 80, wilson(48, 80), 56 / 70, wilson(56, 70))
    assert found.value == pytest.approx(0.2)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_it_is_as_wide_the_other_way_round() -> None:
    one, other = Interval(0.4, 0.7), Interval(0.6, 0.9)
    there, back = independent_difference(0.5, one, 0.8, other), independent_difference(0.8, other, 0.5, one)
    assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))
