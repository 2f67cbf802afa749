"""Which example goes to train, validation or test. The same seed always gives the same answer."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
_SEEN_IN_TEST_FROM = 5


@dataclass(frozen=True, slots=True)
class Unit:
    """Examples that must stay together: one, a cluster of near-duplicates, or a group.

    ``members`` are indexes into the caller's rows; ``label`` is the stratum, None for none.
    """

    members: tuple[int, ...]
    label: str | None = None


def assign(units: Sequence[Unit], shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """The split of every member.

    Each label is divided by ``shares`` with largest remainders that also hold over the whole set, so that labels
    with few rows are represented. A label always keeps something in train; from five rows on it is in test too.
    A split with a share stays empty only when there are fewer units than splits.
    """
    shares = {name: share for name in SPLITS if (share := shares.get(name, 0.0)) > 0}
    total = sum(shares.values())
    if not units or not total:
        return {}
    shares = {name: share / total for name, share in shares.items()}
    strata = _strata(units, seed)
    quotas = _quotas({key: sum(len(u.members) for u in stratum) for key, stratum in strata.items()}, shares)
    out: dict[int, str] = {}
    for key, stratum in strata.items():
        for unit, split in _fill(stratum, quotas[key]):
            for member in unit.members:
                out[member] = split
    _fill_empty(units, shares, out)
    return out


def _strata(units: Sequence[Unit], seed: int) -> dict[str, list[Unit]]:
    """Units by label, each shuffled by the seed and then the larger first, which fits quotas best."""
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        strata["" if unit.label is None else unit.label].append(unit)
    for key in sorted(strata):
        stratum = strata[key]
        stratum.sort(key=lambda unit: unit.members)
        random.Random(f"{seed}:{key}").shuffle(stratum)
        stratum.sort(key=lambda unit: -len(unit.members))
    return dict(sorted(strata.items()))


def _quotas(sizes: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """How many rows of each label go to each split: whole numbers whose sums match both ways."""
    whole = {key: {name: int(size * share + 1e-9) for name, share in shares.items()} for key, size in sizes.items()}
    wanted = largest_remainder(sum(sizes.values()), shares)
    room = {name: wanted[name] - sum(quota[name] for quota in whole.values()) for name in shares}
    spare = {key: size - sum(whole[key].values()) for key, size in sizes.items()}
    cells = sorted(
        ((sizes[key] * shares[name] - whole[key][name], key, name) for key in sizes for name in shares),
        key=lambda cell: (-cell[0], -sizes[cell[1]], cell[1], cell[2]),
    )
    for respect_totals in (True, False):
        for _, key, name in cells:
            if spare[key] > 0 and (room[name] > 0 or not respect_totals):
                whole[key][name] += 1
                spare[key] -= 1
                room[name] -= 1
    for key in sizes:
        _represent(whole[key], sizes[key])
    return whole


def _represent(quota: dict[str, int], size: int) -> None:
    """Something of the label in train, and in test when there are enough."""
    if quota.get("train") == 0 and size > 0:
        giver = max(quota, key=lambda name: quota[name])
        quota[giver] -= 1
        quota["train"] += 1
    if size >= _SEEN_IN_TEST_FROM and quota.get("test") == 0 and quota.get("train", 0) > 1:
        quota["train"] -= 1
        quota["test"] += 1


def largest_remainder(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """``count`` divided by ``shares`` (which sum to one) into whole numbers that sum to ``count``."""
    out = {name: int(count * share + 1e-9) for name, share in shares.items()}
    rest = sorted(shares, key=lambda name: (out[name] - count * shares[name], SPLITS.index(name)))
    for name in rest[: count - sum(out.values())]:
        out[name] += 1
    return out


def _fill(stratum: Sequence[Unit], quota: Mapping[str, int]) -> list[tuple[Unit, str]]:
    """Units to the split with the most room, which keeps whole clusters near the quotas."""
    room = dict(quota)
    placed: list[tuple[Unit, str]] = []
    for unit in stratum:
        size = len(unit.members)
        fitting = [name for name in room if room[name] >= size]
        # Small splits first when it fits: they are what a large unit would overflow.
        name = max(
            fitting or room, key=lambda n: (room[n] / max(quota[n], 1), -SPLITS.index(n)) if fitting else room[n]
        )
        room[name] -= size
        placed.append((unit, name))
    return placed


def _fill_empty(units: Sequence[Unit], shares: Mapping[str, float], out: dict[int, str]) -> None:
    """Give every wanted split at least one unit, from train, while train keeps one."""
    for name in ("test", "validation"):
        if name not in shares or name in out.values():
            continue
        in_train = [unit for unit in units if out[unit.members[0]] == "train"]
        if len(in_train) < 2:
            continue
        labels = Counter(unit.label for unit in in_train)
        smallest = min(in_train, key=lambda unit: (len(unit.members), -labels[unit.label], unit.members))
        for member in smallest.members:
            out[member] = name
