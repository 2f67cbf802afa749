"""What a sample can show: how often a real gain is missed, and how many cases would show it.

Standard library only, so that a page can say it before anything runs. The model is the exact McNemar test
on n pairs: each pair differs with probability ``discordance``, and the gain is the share of pairs that got
better minus the share that got worse.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from finetune_engine.evaluate.statistics.binomial import pmf, rejects

SIGNIFICANCE = 0.05
WANTED_POWER = 0.8
MOST_CASES = 20_000
_EXACT_UP_TO = 120
"""Expected differing pairs beyond which the normal approximation is within a point of the exact test."""


def missed_share(n: int, *, discordance: float, gain: float, significance: float = SIGNIFICANCE) -> float:
    """The probability that ``n`` cases do not show a gain that is really there.

    With 50 cases, 20 % of pairs differing and a gain of 15 points: about 0.4. Raises ValueError when the
    gain exceeds the discordance (a gain cannot come from pairs that do not differ).
    """
    if not 0 < discordance <= 1 or not abs(gain) <= discordance:
        raise ValueError("the gain cannot be larger than the share of pairs that differ")
    if n * discordance > _EXACT_UP_TO:
        return _missed_share_normal(n, discordance, gain, significance)
    better = (discordance + gain) / (2 * discordance)
    shown = 0.0
    for differing, weight in _binomial_bulk(n, discordance):
        shown += weight * rejects(differing, better, significance)
    return min(1.0, max(0.0, 1.0 - shown))


def cases_needed(*, discordance: float, gain: float, power: float = WANTED_POWER) -> int | None:
    """How many cases show the gain in ``power`` of the tries. None when MOST_CASES are not enough."""
    if gain == 0 or missed_share(MOST_CASES, discordance=discordance, gain=gain) > 1 - power:
        return None
    low, high = 1, MOST_CASES
    while low < high:
        middle = (low + high) // 2
        if missed_share(middle, discordance=discordance, gain=gain) <= 1 - power:
            high = middle
        else:
            low = middle + 1
    return low


def _missed_share_normal(n: int, discordance: float, gain: float, significance: float) -> float:
    # Connor 1987, with the half-case correction that stands in for the exact test's discreteness.
    normal = NormalDist()
    spread = math.sqrt(max(discordance - gain * gain, 1e-12))
    reach = abs(gain) * math.sqrt(n) - 1 / math.sqrt(n)
    return 1.0 - normal.cdf((reach - normal.inv_cdf(1 - significance / 2) * math.sqrt(discordance)) / spread)


def _binomial_bulk(n: int, p: float) -> list[tuple[int, float]]:
    # Beyond seven standard deviations nothing weighs more than 1e-11.
    centre, spread = n * p, 7 * math.sqrt(n * p * (1 - p)) + 1
    low, high = max(0, math.floor(centre - spread)), min(n, math.ceil(centre + spread))
    return [(k, pmf(k, n, p)) for k in range(low, high + 1)]
