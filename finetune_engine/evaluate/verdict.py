"""The plain answer to "is it good enough to use?", with its numbers and without hiding a cheaper rival.

The rules, in order:

1. Under FEWEST_CASES test cases nothing is decided: more cases.
2. Significantly worse than before: do not ship.
3. Not significantly different: more cases when a real gain may be hiding, else do not ship.
4. Significantly better, yet wrong more often than right: do not ship.
5. Significantly better, yet significantly behind the best cheap baseline: do not ship.
6. Otherwise ship, and say so when a cheap baseline does about as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetune_engine.evaluate.power import MOST_CASES, SIGNIFICANCE, cases_needed
from finetune_engine.evaluate.report import Comparison, Verdict

FEWEST_CASES = 20
NEGLIGIBLE = 0.01
"""A gain under one point is not worth looking for."""

_ACTS = {
    "accuracy": "answers {correct} of {n} test cases correctly",
    "exact_match": "gives the exact answer in {correct} of {n} test cases",
    "f1": "shares {value} of the words with the reference answers over {n} test cases",
}


@dataclass(frozen=True)
class Standing:
    """The tuned model on the headline metric (0..1, higher is better). ``correct`` None: not right-or-wrong."""

    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    correct: int | None = None


@dataclass(frozen=True)
class Rival:
    """The best cheap baseline: its name, its value, and the tuned model's paired comparison against it."""

    name: str
    value: float
    comparison: Comparison


def judge(tuned: Standing, before: Comparison | None, rival: Rival | None) -> Verdict:
    """The verdict. ``before`` compares with the base model; where there is none, the rival takes its place."""
    if tuned.n < FEWEST_CASES:
        sentence = (
            f"More cases needed: {tuned.n} test cases are too few to judge by. "
            f"Add at least {FEWEST_CASES - tuned.n} more; 100 give a usable answer."
        )
        return Verdict("more_cases", sentence, FEWEST_CASES)
    yardstick = before or (rival.comparison if rival else None)
    if yardstick is None:
        sentence = (
            f"Do not ship yet: the model {_act(tuned)}, but there is nothing to compare it with. "
            "Evaluate it beside its base model."
        )
        return Verdict("do_not_ship", sentence)
    against = _against(yardstick, rival if before is None else None)
    if yardstick.p_value >= SIGNIFICANCE:
        return _undecided(tuned, yardstick, against)
    chance = f"the difference is {_beyond(yardstick.p_value)}"
    if yardstick.difference < 0:
        sentence = f"Do not ship: the tuned model {_act(tuned)}, worse than {against}; {chance}."
        return Verdict("do_not_ship", sentence)
    return _better(tuned, f"{_act(tuned)}, against {against}; {chance}", rival if before is not None else None)


def _better(tuned: Standing, finding: str, rival: Rival | None) -> Verdict:
    if tuned.correct is not None and tuned.value < 0.5:
        sentence = f"Do not ship: the tuned model {finding}. It is better, but still wrong more often than right."
        return Verdict("do_not_ship", sentence)
    if rival is None:
        return Verdict("ship", f"Ship: the tuned model {finding}.")
    cheap = f"{rival.name} reaches {_percent(rival.value)} on the same cases"
    compared = rival.comparison
    if compared.p_value < SIGNIFICANCE and compared.difference < 0:
        sentence = (
            f"Do not ship: the tuned model {finding}. But {cheap}, which is better ({_p(compared.p_value)}), "
            "and costs next to nothing to run: use that, or train on more examples."
        )
        return Verdict("do_not_ship", sentence)
    if compared.p_value < SIGNIFICANCE:
        tail = f"{_capital(cheap)}, so the model earns its cost ({_p(compared.p_value)})."
    else:
        tail = (
            f"{_capital(cheap)}, and these {tuned.n} cases cannot tell the two apart ({_p(compared.p_value)}): "
            "if labels are all you need, the simpler tool may do."
        )
    return Verdict("ship", f"Ship: the tuned model {finding}. {tail}")


def _undecided(tuned: Standing, yardstick: Comparison, against: str) -> Verdict:
    finding = f"the tuned model {_act(tuned)}, against {against}"
    if yardstick.difference <= NEGLIGIBLE:
        sentence = f"Do not ship: {finding}; no gain can be seen ({_p(yardstick.p_value)})."
        return Verdict("do_not_ship", sentence)
    needed = _needed(tuned.n, yardstick)
    if needed is None:
        sentence = (
            f"Do not ship: {finding}; a difference this small cannot be told from chance ({_p(yardstick.p_value)}) "
            f"even with {MOST_CASES:,} cases."
        )
        return Verdict("do_not_ship", sentence)
    sentence = (
        f"More cases needed: {finding}; with {tuned.n} cases this may be chance ({_p(yardstick.p_value)}). "
        f"If the gain is real, about {needed} test cases in all ({needed - tuned.n} more) would show it."
    )
    return Verdict("more_cases", sentence, needed)


def _needed(n: int, seen: Comparison) -> int | None:
    """Cases in all that would show the gain seen; at least one more than there are."""
    if seen.better is not None and seen.worse is not None:
        discordance = min(1.0, (seen.better + seen.worse) / seen.n)
        needed = cases_needed(discordance=discordance, gain=min(seen.difference, discordance))
    else:
        # Graded scores: the interval shrinks with the root of n, and has to end clear of zero (power 0.8: x 2.8/1.96).
        half = (seen.ci_high - seen.ci_low) / 2
        wanted = round(n * (half * 1.43 / seen.difference) ** 2)
        needed = wanted if wanted <= MOST_CASES else None
    return None if needed is None else max(needed, n + 10)


def _against(yardstick: Comparison, rival: Rival | None) -> str:
    return f"{_percent(yardstick.base)} before" if rival is None else f"{_percent(rival.value)} for {rival.name}"


def _act(tuned: Standing) -> str:
    template = _ACTS.get(tuned.metric, "scores {value} over {n} test cases")
    act = template.format(correct=tuned.correct, n=tuned.n, value=_percent(tuned.value))
    interval = f"interval {_number(tuned.ci_low)}-{_percent(tuned.ci_high)}"
    return f"{act} ({interval})" if tuned.correct is None else f"{act} ({_percent(tuned.value)}, {interval})"


def _percent(share: float) -> str:
    return f"{_number(share)} %"


def _number(share: float) -> str:
    # 99.6 % must not read as 100 %, nor 0.3 % as 0 %.
    percent = 100 * share
    if 0 < percent < 1 or 99 < percent < 100:
        return f"{percent:.1f}"
    return f"{percent:.0f}"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def _beyond(p_value: float) -> str:
    return f"{'far ' if p_value < 0.001 else ''}beyond chance ({_p(p_value)})"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
