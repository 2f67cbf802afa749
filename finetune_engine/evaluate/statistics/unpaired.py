"""The difference of two figures that were measured on different cases."""

from __future__ import annotations

import math

from finetune_engine.evaluate.statistics.intervals import Difference, Interval


def independent_difference(
    first: float, first_interval: Interval, second: float, second_interval: Interval
) -> Difference:
    """``second - first`` with its interval, from the interval of each; the cases must have nothing to do with each other.

    The squares of the distances to the limits add up (MOVER: Zou & Donner, Statistics in Medicine 27, 2008); with Wilson's
    intervals of two proportions this is Newcombe's method 10 (Statistics in Medicine 17, 1998).
    """
    value = second - first
    down = math.hypot(second - second_interval.low, first_interval.high - first)
    up = math.hypot(second_interval.high - second, first - first_interval.low)
    return Difference(value, Interval(value - down, value + up))
