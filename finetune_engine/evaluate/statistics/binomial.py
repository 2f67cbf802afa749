"""The binomial distribution, as far as tests of shares need it. Standard library only."""

from __future__ import annotations

import math
from functools import lru_cache


def pmf(k: int, n: int, p: float) -> float:
    """The probability of exactly ``k`` of ``n``."""
    if p in (0.0, 1.0):
        return float(k == (n if p else 0))
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))


@lru_cache(maxsize=65_536)
def critical(n: int, significance: float) -> int:
    """The largest count of the rarer side that rejects an even split of ``n``, two-sided; -1 when none does."""
    total, limit = 0.0, -1
    for k in range(n // 2 + 1):
        total += pmf(k, n, 0.5)
        if 2 * total > significance:
            break
        limit = k
    return limit


def rejects(n: int, share: float, significance: float) -> float:
    """How often the exact sign test on ``n`` rejects an even split when the true share of one side is ``share``."""
    limit = critical(n, significance)
    return math.fsum(pmf(k, n, share) + pmf(n - k, n, share) for k in range(limit + 1))
