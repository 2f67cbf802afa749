"""The plain answer to "is it good enough to use?", with its numbers and without hiding a cheaper rival.

The rules, in order:

1. Under FEWEST_CASES test cases nothing is decided: more cases.
2. Significantly worse than before: do not ship.
3. Not significantly different: more cases when a real gain may be hiding, else do not ship.
4. Significantly better, yet wrong more often than right: do not ship.
5. Significantly better, yet significantly behind the best cheap baseline: do not ship.
6. Otherwise ship, and say so when a cheap baseline does about as well.
7. Asking the base model better is a rival too: significantly better than the tuned one, do not ship.
8. An acceptance rule that an answer breaks, or a must-not-forget case that went wrong: do not ship, whatever the scores.
9. Bad findings on robustness, fairness or forgetting stop nothing, but are named beside the verdict, the gravest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.report import Comparison, Verdict
from finetune_engine.evaluate.statistics.percent import percent, percent_number
from finetune_engine.evaluate.statistics.power import MOST_CASES, SIGNIFICANCE, cases_needed

FEWEST_CASES = 20
NEGLIGIBLE = 0.01
"""A gain under one point is not worth looking for."""
GRAVEST_FIRST = ("robustness", "fairness", "capabilities")
MOST_NAMED = 2
"""Obstacles and concerns that the sentence names; the report lists them all."""

_ACTS = {
    "accuracy": "answers {correct} of {n} test cases correctly",
    "exact_match": "gives the exact answer in {correct} of {n} test cases",
    "quasi_exact_match": "gives the expected answer, but for case and punctuation, in {correct} of {n} test cases",
    "f1": "shares {value} of the words with the reference answers over {n} test cases",
}


@dataclass(frozen=True)
class Standing:
    """The tuned model on the headline metric, in the metric's own unit. ``correct`` None: not right-or-wrong."""

    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    correct: int | None = None


@dataclass(frozen=True)
class Rival:
    """Something cheaper, a baseline or a better way of asking: its name, its value, and the tuned model's paired comparison
    against it (difference: tuned minus rival)."""

    name: str
    value: float
    comparison: Comparison


@dataclass(frozen=True)
class Obstacle:
    """Something beside the scores. ``stops``: with it nothing is shipped; otherwise it is a concern to be named."""

    sentence: str
    stops: bool


def judge(
    tuned: Standing,
    before: Comparison | None,
    rival: Rival | None,
    *,
    prompted: Rival | None = None,
    obstacles: Sequence[Obstacle] = (),
) -> Verdict:
    """The verdict. ``before`` compares with the base model; where there is none, the rival takes its place.

    ``prompted`` is the best prompted variant of the base model, on the headline metric.
    """
    verdict = _by_score(tuned, before, rival)
    if prompted is not None:
        verdict = _beside_prompting(verdict, tuned, prompted)
    return _with_obstacles(verdict, obstacles)


def obstacles_of(
    acceptance: Sequence[Mapping[str, Any]],
    regressions: Mapping[str, Any] | None,
    findings: Sequence[Mapping[str, str]],
) -> list[Obstacle]:
    """What the parts of the report of these names say against shipping: those that stop it first, then bad findings of the
    suites, the gravest suite first."""
    found = [
        Obstacle(
            f"the rule “{rule['name']}” is broken by {rule['n'] - rule['passed']:,} of {rule['n']:,} answers", True
        )
        for rule in acceptance
        if rule["passed"] < rule["n"]
    ]
    if regressions is not None and regressions["passed"] < regressions["n"]:
        wrong = regressions["n"] - regressions["passed"]
        found.append(Obstacle(f"{wrong:,} of {regressions['n']:,} cases that must not be forgotten went wrong", True))
    for suite in GRAVEST_FIRST:
        bad = [one["text"] for one in findings if one.get("suite") == suite and one.get("tone") == "bad"]
        found += [Obstacle(text, False) for text in bad]
    return found


def _with_obstacles(verdict: Verdict, obstacles: Sequence[Obstacle]) -> Verdict:
    stops = [obstacle.sentence for obstacle in obstacles if obstacle.stops]
    concerns = [obstacle.sentence for obstacle in obstacles if not obstacle.stops]
    if stops and verdict.kind == "do_not_ship":
        verdict = replace(verdict, sentence=f"{verdict.sentence} Besides, {_listed(stops)}.")
    elif stops:
        rest = verdict.sentence.removeprefix("Ship: ")
        judged = "By its score alone it could be used:" if verdict.kind == "ship" else "As for its score:"
        verdict = Verdict("do_not_ship", f"Do not ship: {_listed(stops)}. {judged} {_uncapital(rest)}")
    if concerns:
        named = " ".join(concerns[:MOST_NAMED])
        introduced = "Look at this before using it:" if verdict.kind == "ship" else "This was found too:"
        verdict = replace(verdict, sentence=f"{verdict.sentence} {introduced} {named}")
    return verdict


def _listed(sentences: Sequence[str]) -> str:
    more = len(sentences) - MOST_NAMED
    return ", and ".join(sentences[:MOST_NAMED]) + (f" (and {more} more)" if more > 0 else "")


def _beside_prompting(verdict: Verdict, tuned: Standing, prompted: Rival) -> Verdict:
    """Would prompting have done?"""
    compared = prompted.comparison
    asked = f"asking the base model better ({prompted.name}) reaches {_shown(tuned.metric, prompted.value)}"
    if compared.p_value >= SIGNIFICANCE:
        tail = f"{_capital(asked)}, and these {tuned.n} cases cannot tell the two apart ({_p(compared.p_value)})."
        return replace(verdict, sentence=f"{verdict.sentence} {tail}")
    if _gain(compared) > 0:
        return replace(verdict, sentence=f"{verdict.sentence} {_capital(asked)}: prompting alone would not have done.")
    if verdict.kind != "ship":
        return replace(verdict, sentence=f"{verdict.sentence} {_capital(asked)}, without any training.")
    rest = verdict.sentence.removeprefix("Ship: ")
    sentence = f"Do not ship: {asked}, which is better ({_p(compared.p_value)}) and needs no training. Otherwise {rest}"
    return replace(verdict, kind="do_not_ship", sentence=sentence)


def _by_score(tuned: Standing, before: Comparison | None, rival: Rival | None) -> Verdict:
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
    if _gain(yardstick) < 0:
        sentence = f"Do not ship: the tuned model {_act(tuned)}, worse than {against}; {chance}."
        return Verdict("do_not_ship", sentence)
    return _better(tuned, f"{_act(tuned)}, against {against}; {chance}", rival if before is not None else None)


def _better(tuned: Standing, finding: str, rival: Rival | None) -> Verdict:
    if tuned.correct is not None and tuned.value < 0.5:
        sentence = f"Do not ship: the tuned model is better than before, but wrong more often than right. It {finding}."
        return Verdict("do_not_ship", sentence)
    if rival is None:
        return Verdict("ship", f"Ship: the tuned model {finding}.")
    cheap = f"{rival.name} reaches {_shown(tuned.metric, rival.value)} on the same cases"
    compared = rival.comparison
    if compared.p_value < SIGNIFICANCE and _gain(compared) < 0:
        sentence = (
            f"Do not ship: {cheap}, better than the tuned model ({_p(compared.p_value)}), and costs next to nothing to run: "
            f"use that, or train on more examples. The tuned model {finding}."
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
    if _gain(yardstick) <= NEGLIGIBLE:
        sentence = f"Do not ship: {finding}; no gain can be seen ({_p(yardstick.p_value)})."
        return Verdict("do_not_ship", sentence)
    if yardstick.is_grouped and yardstick.ci_low == yardstick.ci_high:
        sentence = (
            f"More cases needed: {finding}; all {tuned.n} cases belong to one group, and one group cannot show whether this "
            "is chance. Add cases of other groups."
        )
        return Verdict("more_cases", sentence)
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
    if seen.better is not None and seen.worse is not None and not seen.is_grouped:
        discordance = min(1.0, (seen.better + seen.worse) / seen.n)
        needed = cases_needed(discordance=discordance, gain=min(seen.difference, discordance))
    else:
        # Graded scores, and cases that share groups: the interval shrinks with the root of n, and has to end clear of zero
        # (power 0.8: x 2.8/1.96).
        half = (seen.ci_high - seen.ci_low) / 2
        wanted = round(n * (half * 1.43 / abs(seen.difference)) ** 2)
        needed = wanted if wanted <= MOST_CASES else None
    return None if needed is None else max(needed, n + 10)


def _against(yardstick: Comparison, rival: Rival | None) -> str:
    metric = yardstick.metric
    return (
        f"{_shown(metric, yardstick.base)} before"
        if rival is None
        else f"{_shown(metric, rival.value)} for {rival.name}"
    )


def _act(tuned: Standing) -> str:
    metric = METRICS.get(tuned.metric)
    template = _ACTS.get(tuned.metric, "scores {value} over {n} test cases")
    value, high = _shown(tuned.metric, tuned.value), _shown(tuned.metric, tuned.ci_high)
    act = template.format(correct=tuned.correct, n=tuned.n, value=value)
    if tuned.correct is None and "{correct}" in template:
        act = f"scores {value} over {tuned.n} test cases"
    if metric is not None and not metric.higher_is_better:
        act += ", where less is better,"
    interval = f"interval {_low(tuned.metric, tuned.ci_low)}-{high}"
    return f"{act} ({interval})" if tuned.correct is None else f"{act} ({value}, {interval})"


def _gain(compared: Comparison) -> float:
    """How much better, in shares of the scale, whatever the metric's unit and direction."""
    metric = METRICS.get(compared.metric)
    if metric is None:
        return compared.difference
    step = compared.difference / (100 if metric.unit == "hundred" else 1)
    return step if metric.higher_is_better else -step


def _shown(metric: str, value: float) -> str:
    """A share in per cent; a value of 0..100 with the metric's name, for it is no share of anything."""
    known = METRICS.get(metric)
    return f"{value:.1f} {known.name.upper()}" if known is not None and known.unit == "hundred" else percent(value)


def _low(metric: str, value: float) -> str:
    """The lower end of a range, whose unit stands at the upper one."""
    known = METRICS.get(metric)
    return f"{value:.1f}" if known is not None and known.unit == "hundred" else percent_number(value)


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def _beyond(p_value: float) -> str:
    return f"{'far ' if p_value < 0.001 else ''}beyond chance ({_p(p_value)})"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _uncapital(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
