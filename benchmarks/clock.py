"""How arms are timed: interleaved, several times, the median of CPU-seconds of this process and its threads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def cpu_seconds(arms: Mapping[str, Callable[[], object]], repeats: int = 3) -> dict[str, float]:
    """The median CPU-seconds of each arm. The arms take turns, so that a slow minute slows them all."""
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, act in arms.items():
            begun = time.process_time()
            act()
            taken[name].append(time.process_time() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}
