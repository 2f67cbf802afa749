"""How often intervals hold the true value, and how often tests cry wolf: ``python -m benchmarks.coverage``.

What can be counted is counted (every possible outcome with its probability); the rest is simulated with a fixed seed. The
figures are in ``docs/statistics.md``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.statistics.intervals import FEWEST_DISCORDANT, resampled_values, sign_test, wilson

SIZES = (20, 30, 50, 100, 200, 300, 500, 1_000)
SHARES = tuple(round(0.1 + 0.025 * step, 3) for step in range(33))
TRIALS = 4_000
SIGNIFICANCE = 0.05

Values = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Values]
"""``(trials, n)`` values from a generator, trials and n; the true mean is known to the caller."""


def binomial(n: int, p: float) -> Values:
    """Probability of every count 0..n."""
    counts = np.arange(n + 1)
    ways = np.asarray([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in counts])
    chances: Values = np.exp(ways + counts * math.log(p) + (n - counts) * math.log1p(-p))
    return chances


def wilson_coverage(n: int, shares: Sequence[float] = SHARES) -> list[float]:
    """The probability that Wilson's 95 % interval of ``n`` cases holds the true share, counted, for each share."""
    intervals = [wilson(count, n) for count in range(n + 1)]
    low, high = (np.asarray([getattr(one, end) for one in intervals]) for end in ("low", "high"))
    return [float(binomial(n, p)[(low <= p) & (p <= high)].sum()) for p in shares]


def bootstrap_coverage(values: Values, truth: float, *, seed: int, groups: Sequence[int] | None = None) -> float:
    """The share of trials whose percentile bootstrap of the mean holds ``truth``; ``values`` is ``(trials, n)``.

    As in the product, one stored seed draws the same thousand resamples each time.
    """
    rows = np.column_stack([values.T, np.ones(values.shape[1])])
    means = resampled_values(rows, lambda sums: sums[:, :-1] / sums[:, -1:], seed=seed, groups=groups)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return float(((low <= truth) & (truth <= high)).mean())


def right_or_wrong(p: float) -> Draw:
    """Cases right with probability ``p``."""
    return lambda generator, trials, n: (generator.random((trials, n)) < p).astype(np.float64)


def graded(p: float) -> Draw:
    """Scores between 0 and 1 of mean ``p``, most of them near the ends, as the shared words of short answers are."""
    return lambda generator, trials, n: generator.beta(p, 1 - p, (trials, n))


def paired(gain: float, discordance: float = 0.2) -> Draw:
    """Differences of two models: -1, 0 or 1, of mean ``gain``, ``discordance`` of them not 0."""
    better, worse = (discordance + gain) / 2, (discordance - gain) / 2

    def draw(generator: np.random.Generator, trials: int, n: int) -> Values:
        luck = generator.random((trials, n))
        return (luck < better).astype(np.float64) - (luck > 1 - worse).astype(np.float64)

    return draw


def in_groups(p: float, size: int) -> Draw:
    """Cases right with probability ``p``, in groups of ``size`` that share an ease drawn for the group (correlation 0.3)."""
    strength = 1 / 0.3 - 1

    def draw(generator: np.random.Generator, trials: int, n: int) -> Values:
        ease = generator.beta(p * strength, (1 - p) * strength, (trials, n // size))
        return (generator.random((trials, n)) < np.repeat(ease, size, axis=1)).astype(np.float64)

    return draw


def mcnemar_level(pairs: int, *, mid: bool) -> float:
    """The probability that McNemar's test rejects at 5 % with ``pairs`` differing pairs when nothing differs, counted."""
    smallest = [sign_test(count, pairs - count, mid=mid) for count in range(pairs // 2 + 1)]
    p_values = np.asarray([smallest[min(count, pairs - count)] for count in range(pairs + 1)])
    return float(binomial(pairs, 0.5)[p_values <= SIGNIFICANCE].sum())


def mcnemar_level_of_cases(n: int, discordance: float, levels: Sequence[float], *, least: int = 0) -> float:
    """The same for ``n`` cases of which each differs with probability ``discordance``, given at least ``least`` differing ones.

    ``levels[pairs]`` are those of ``mcnemar_level``.
    """
    weights = binomial(n, discordance)
    weights[:least] = 0.0
    return float(weights @ np.asarray(levels[: n + 1]) / weights.sum())


def simulated(n: int, draw: Draw, truth: float, *, groups: Sequence[int] | None = None, trials: int = TRIALS) -> float:
    """Coverage over ``trials`` samples of ``n`` cases."""
    values = draw(np.random.default_rng(n), trials, n)
    return bootstrap_coverage(values, truth, seed=42, groups=groups)


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__).parse_args()
    print("| n | Wilson, shares .1 to .9 | bootstrap, right or wrong | bootstrap, graded | paired difference |")
    print("|---|---|---|---|---|")
    for n in SIZES:
        counted = wilson_coverage(n)
        shares = (0.1, 0.3, 0.5, 0.7, 0.9)
        plain = [simulated(n, right_or_wrong(p), p) for p in shares]
        scores = [simulated(n, graded(p), p) for p in shares]
        gaps = [simulated(n, paired(gain), gain) for gain in (0.0, 0.05, 0.15)]
        cells = " | ".join(_range(found) for found in (counted, plain, scores, gaps))
        print(f"| {n:,} | {cells} |")
    print("\n| groups of 5 | grouped bootstrap | Wilson, as if independent |\n|---|---|---|")
    for groups in (10, 20, 30, 60, 100, 200):
        n = 5 * groups
        numbers = [number // 5 for number in range(n)]
        good = [simulated(n, in_groups(p, 5), p, groups=numbers) for p in (0.3, 0.5, 0.7)]
        print(f"| {groups} | {_range(good)} | {_range([_wilson_on_groups(n, p) for p in (0.3, 0.5, 0.7)])} |")
    print("\n| differing pairs | exact McNemar rejects | mid-p rejects |\n|---|---|---|")
    for pairs in (10, 20, 40, 60, 100, 200, 500):
        print(f"| {pairs} | {mcnemar_level(pairs, mid=False):.4f} | {mcnemar_level(pairs, mid=True):.4f} |")
    _print_levels_of_cases()


def _print_levels_of_cases() -> None:
    levels = {mid: [0.0, *(mcnemar_level(pairs, mid=mid) for pairs in range(1, 601))] for mid in (False, True)}
    print(
        f"\n| cases, differing | exact | mid-p, where shown (from {FEWEST_DISCORDANT} differing pairs) |\n|---|---|---|"
    )
    for n, discordance in ((100, 0.2), (300, 0.2), (300, 0.3), (600, 0.1), (600, 0.5)):
        exact = mcnemar_level_of_cases(n, discordance, levels[False])
        mid = mcnemar_level_of_cases(n, discordance, levels[True], least=FEWEST_DISCORDANT)
        shown = f"{mid:.4f}" if n * discordance >= FEWEST_DISCORDANT else "not shown"
        print(f"| {n}, {100 * discordance:.0f} % | {exact:.4f} | {shown} |")


def _wilson_on_groups(n: int, p: float) -> float:
    counts = in_groups(p, 5)(np.random.default_rng(n), TRIALS, n).sum(axis=1)
    intervals = [wilson(int(count), n) for count in counts]
    return sum(one.low <= p <= one.high for one in intervals) / TRIALS


def _range(found: Sequence[float]) -> str:
    return f"{100 * min(found):.1f} to {100 * max(found):.1f} %"


if __name__ == "__main__":
    main()
