"""Blind review: which cases are drawn, who sees what on which side, and what the votes amount to.

Standard library and NumPy only, so that a page can use it. Everything random follows from a stored seed through
HMAC-SHA256, so that a review can be replayed, and nobody who lacks the seed can tell which side is which.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from finetune_engine.evaluate.statistics.binomial import rejects
from finetune_engine.evaluate.statistics.intervals import sign_test, wilson
from finetune_engine.evaluate.statistics.percent import percent

Result = Literal["win", "loss", "tie", "both_bad"]
"""What a vote means for the subject (the model under review)."""

SAMPLE_SIZE = 50
HARDEST_SIZE = 10
SIGNIFICANCE = 0.05
RESAMPLES = 2_000
GOALS = (0.75, 0.65, 0.6)
_BLOCK_SIZES = (2, 4, 6)


@dataclass(frozen=True)
class Candidate:
    """A case that may be drawn. ``hardness`` orders the hardest bucket (surprise per token, or minus the score)."""

    id: str
    stratum: str = ""
    hardness: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """Ids in the order drawn. ``sample`` stands for all cases; ``hardest`` never overlaps it and never counts in it.

    ``note`` says what could not be done as asked, or is None.
    """

    sample: list[str]
    hardest: list[str]
    note: str | None = None


def draw(
    candidates: Sequence[Candidate], *, seed: int, size: int = SAMPLE_SIZE, stratify: bool = False, hardest: int = 0
) -> Drawing:
    """Draw the sample at random (or in proportion to the strata, at least one of each), then the hardest of the rest.

    The sample is drawn first and from all cases, so that it stays a fair picture. Raises ValueError for a size below 1.
    """
    if size < 1 or hardest < 0:
        raise ValueError("a sample needs at least one case")
    ordered = sorted(candidates, key=lambda one: _digest(seed, "draw", one.id))
    strata: dict[str, list[Candidate]] = {}
    for one in ordered:
        strata.setdefault(one.stratum, []).append(one)
    note = None
    if stratify and len(strata) > size:
        note = f"There are {len(strata)} groups and only {size} places, so cases were drawn without regard to groups."
    if stratify and len(strata) <= size:
        places = allocation({name: len(members) for name, members in strata.items()}, size)
        kept = {one.id for name, members in strata.items() for one in members[: places[name]]}
        sample = [one for one in ordered if one.id in kept]
    else:
        sample = ordered[:size]
    drawn = {one.id for one in sample}
    rest = sorted((one for one in ordered if one.id not in drawn), key=lambda one: -one.hardness)
    return Drawing([one.id for one in sample], [one.id for one in rest[:hardest]], note)


def allocation(sizes: Mapping[str, int], places: int) -> dict[str, int]:
    """How many of ``places`` each stratum gets: in proportion (largest remainders), at least one, never more than it has.

    Raises ValueError when there are fewer places than strata.
    """
    filled = {name: size for name, size in sizes.items() if size > 0}
    if places < len(filled):
        raise ValueError("there are fewer places than strata")
    whole = sum(filled.values())
    wanted = {name: min(places, whole) * size / whole for name, size in filled.items()}
    given = {name: min(filled[name], max(1, math.floor(share))) for name, share in wanted.items()}
    spare = min(places, whole) - sum(given.values())
    while spare > 0:
        name = max((one for one in given if given[one] < filled[one]), key=lambda one: (wanted[one] - given[one], one))
        given[name] += 1
        spare -= 1
    while spare < 0:
        name = max((one for one in given if given[one] > 1), key=lambda one: (given[one] - wanted[one], one))
        given[name] -= 1
        spare += 1
    return given


@dataclass(frozen=True)
class Turn:
    """One case on one rater's list. ``is_swapped`` False: the first key stands on the left, True: on the right."""

    item: str
    is_swapped: bool


def turns(items: Sequence[str], *, seed: int, rater: str) -> list[Turn]:
    """The order in which one rater sees the items, and the sides.

    Sides are drawn in blocks of 2, 4 or 6 along that order: over all items of a rater, left and right differ by at
    most one, and after any number of items by at most three, yet the next side cannot be guessed.
    """
    order = sorted(set(items), key=lambda item: _digest(seed, "order", rater, item))
    swapped: dict[str, bool] = {}
    for number, block in enumerate(_blocks(order, seed, rater)):
        shuffled = sorted(block, key=lambda item: _digest(seed, "side", rater, item))
        extra = len(block) % 2 and _digest(seed, "odd", rater, str(number))[0] % 2
        half = len(block) // 2 + extra
        swapped |= {item: place < half for place, item in enumerate(shuffled)}
    return [Turn(item, swapped[item]) for item in order]


def _blocks(order: Sequence[str], seed: int, rater: str) -> Iterator[Sequence[str]]:
    start = number = 0
    while start < len(order):
        size = _BLOCK_SIZES[_digest(seed, "block", rater, str(number))[0] % len(_BLOCK_SIZES)]
        yield order[start : start + size]
        start, number = start + size, number + 1


def _digest(seed: int, *parts: str) -> bytes:
    # Each part is preceded by its length, so that ("a", "bc") and ("ab", "c") differ.
    message = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return hmac.new(str(seed).encode(), message, hashlib.sha256).digest()


def result_of(choice: str, *, left_key: str, subject: str) -> Result:
    """What ``left``, ``right``, ``tie`` or ``both_bad`` means for the subject. Raises ValueError for anything else."""
    if choice in ("tie", "both_bad"):
        return choice  # type: ignore[return-value]
    if choice not in ("left", "right"):
        raise ValueError(f"unknown choice {choice!r}")
    return "win" if (choice == "left") == (left_key == subject) else "loss"


@dataclass(frozen=True)
class CastVote:
    """One rater's result on one item."""

    item: str
    rater: str
    result: Result


@dataclass(frozen=True)
class ItemVerdicts:
    """One result for each item. ``undecided`` items had no single commonest vote: they count as ties until someone with
    the last word decides them; ``adjudicated`` ones were decided so."""

    results: dict[str, Result]
    undecided: list[str]
    adjudicated: list[str]


def item_verdicts(votes: Sequence[CastVote], decisions: Mapping[str, Result] | None = None) -> ItemVerdicts:
    """The commonest vote on each item; a decision in ``decisions`` (by item) goes before it."""
    decided = dict(decisions or {})
    by_item: dict[str, Counter[Result]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, Counter())[vote.result] += 1
    results: dict[str, Result] = {}
    undecided = []
    for item, counted in by_item.items():
        (first, most), *others = counted.most_common(2)
        if item not in decided and others and others[0][1] == most:
            undecided.append(item)
            results[item] = "tie"
        else:
            results[item] = decided.get(item, first)
    adjudicated = [item for item in by_item if item in decided]
    return ItemVerdicts(results, undecided, adjudicated)


@dataclass(frozen=True)
class WinRate:
    """Wins among decisive results. ``rate`` and its interval are None when nothing was decisive; ties are counted apart.

    ``p_value`` is of the exact two-sided sign test ("both are equally good"); over items, each counted once.
    """

    unit: Literal["items", "votes"]
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    decisive: int
    rate: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def win_rate_by_items(verdicts: ItemVerdicts) -> WinRate:
    """The headline: each item counts once; Wilson interval."""
    return _win_rate("items", list(verdicts.results.values()), None)


def win_rate_by_votes(votes: Sequence[CastVote], *, seed: int = 42) -> WinRate:
    """Each vote counts. Votes on one item are not independent: with several raters the interval is the wider of a
    bootstrap over items and Wilson's over the items' majorities, and there is no sign test."""
    results = [vote.result for vote in votes]
    if len({vote.item for vote in votes}) == len(votes):
        return _win_rate("votes", results, None)
    by_item: dict[str, list[int]] = {}
    for vote in votes:
        pair = by_item.setdefault(vote.item, [0, 0])
        pair[0] += vote.result == "win"
        pair[1] += vote.result == "loss"
    counts = np.asarray(list(by_item.values()), dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(counts), size=(RESAMPLES, len(counts)))
    sums = counts[draws].sum(axis=1)
    decisive = sums.sum(axis=1)
    rates = sums[decisive > 0, 0] / decisive[decisive > 0]
    if len(rates) == 0:
        return _win_rate("votes", results, None)
    low, high = np.quantile(rates, [0.025, 0.975])
    # A bootstrap of few items, or of votes that all agree, knows too little doubt.
    floor = _wilson(*_decisive_items(counts))
    return _win_rate("votes", results, (min(float(low), floor[0]), max(float(high), floor[1])))


def _decisive_items(counts: Any) -> tuple[int, int]:
    """Items with more wins than losses, and items decided either way."""
    gap = counts[:, 0] - counts[:, 1]
    return int((gap > 0).sum()), int((gap != 0).sum())


def _win_rate(
    unit: Literal["items", "votes"], results: Sequence[Result], clustered: tuple[float, float] | None
) -> WinRate:
    counted = Counter(results)
    wins, losses = counted["win"], counted["loss"]
    decisive = wins + losses
    rate = wins / decisive if decisive else None
    low, high = (clustered or _wilson(wins, decisive)) if decisive else (None, None)
    p_value = sign_test(wins, losses) if decisive and clustered is None else None
    return WinRate(
        unit=unit,
        n=len(results),
        wins=wins,
        losses=losses,
        ties=counted["tie"],
        both_bad=counted["both_bad"],
        decisive=decisive,
        rate=rate,
        ci_low=low,
        ci_high=high,
        p_value=p_value,
        sentence=_win_sentence(rate, low, high, decisive, unit),
    )


def _win_sentence(rate: float | None, low: float | None, high: float | None, decisive: int, unit: str) -> str:
    if rate is None or low is None or high is None:
        return "Nobody has preferred either answer yet."
    said = f"Preferred in {percent(rate)} of {decisive} decisive {unit} (between {percent(low)} and {percent(high)})"
    if low > 0.5:
        return f"{said}: better than the other model."
    if high < 0.5:
        return f"{said}: worse than the other model."
    return f"{said}: this does not show which of the two is better."


def _wilson(wins: int, n: int) -> tuple[float, float]:
    interval = wilson(wins, n)
    return interval.low, interval.high


@lru_cache(maxsize=64)
def votes_needed(win_rate: float, power: float = 0.8) -> int | None:
    """The fewest decisive votes with which the exact sign test (5 %, two-sided) shows a true win rate with ``power``.

    75 %: 30, 65 %: 90, 60 %: 199. None beyond 5,000, and for 50 %, which is no difference.
    """
    if not 0 <= win_rate <= 1:
        raise ValueError("a win rate lies between 0 and 1")
    if abs(win_rate - 0.5) < 0.02:
        return None
    return next((n for n in range(2, 5_001) if rejects(n, win_rate, SIGNIFICANCE) >= power), None)


@dataclass(frozen=True)
class Meter:
    """Are there enough votes? ``needed`` for the win rate one hopes for (``goal``); ``share`` 0..1 fills a bar.

    ``others`` says the same of other win rates. ``sentence`` is for people.
    """

    decisive: int
    goal: float
    needed: int
    share: float
    is_enough: bool
    others: list[dict[str, Any]]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def meter(decisive: int, wins: int | None = None, *, goal: float = GOALS[0]) -> Meter:
    """How far ``decisive`` votes reach. ``goal`` is named before the first vote; stopping as soon as it looks good would
    find differences that are none. ``wins`` None (while a review is open) says nothing of who leads.

    Raises ValueError for a goal that no number of votes can show.
    """
    needed = votes_needed(goal)
    if needed is None:
        raise ValueError("a goal so close to one half cannot be shown by votes")
    others = [
        {"win_rate": one, "needed": votes_needed(one), "is_enough": decisive >= (votes_needed(one) or 0)}
        for one in GOALS
    ]
    return Meter(
        decisive=decisive,
        goal=goal,
        needed=needed,
        share=min(1.0, decisive / needed),
        is_enough=decisive >= needed,
        others=others,
        sentence=_meter_sentence(decisive, wins, goal, needed),
    )


def _meter_sentence(decisive: int, wins: int | None, goal: float, needed: int) -> str:
    counted = f"{decisive} of {needed} votes"
    if decisive < needed:
        missing = needed - decisive
        more = "1 more decisive vote is" if missing == 1 else f"{missing} more decisive votes are"
        said = f"{counted}; {more} needed to show reliably that one model wins {percent(goal)} of the time."
    else:
        reach = min((one for one in (*GOALS, goal) if decisive >= (votes_needed(one) or math.inf)), default=goal)
        said = f"{counted}; enough to show reliably that one model wins {percent(reach)} of the time or more."
    if wins is None or not decisive:
        return said
    low, high = _wilson(wins, decisive)
    return f"{said} {wins} of {decisive} went to the model under review: between {percent(low)} and {percent(high)}."
