"""What these cases could have shown, said with the numbers of before the run; and whether prompting alone would have done."""

from __future__ import annotations

from typing import Any

from finetune_engine.evaluate.scoring import compare
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.evaluate.statistics.percent import percent
from finetune_engine.evaluate.statistics.power import SIGNIFICANCE, missed_share
from finetune_engine.evaluate.suites.suite import Bench

GAIN = 0.15


def power_of(bench: Bench) -> dict[str, Any]:
    """``{n, discordance, gain, missed_share, sentence}``: how often this many cases miss a gain that is there.

    ``discordance`` is the share of cases (0..1) on which the two models were expected to differ before anything was asked.
    """
    n, discordance = len(bench.cases.test), bench.spec.discordance
    gain = min(GAIN, discordance)
    missed = missed_share(n, discordance=discordance, gain=gain)
    sentence = (
        f"With {n:,} cases, when {100 * discordance:.0f} % of the answers differ, a {100 * gain:.0f}-point gain is "
        f"{_times(missed)}."
    )
    return {"n": n, "discordance": discordance, "gain": gain, "missed_share": missed, "sentence": sentence}


def _times(missed: float) -> str:
    tenths = round(10 * missed)
    if tenths == 0:
        return "practically never missed"
    return "almost always missed" if tenths == 10 else f"missed {tenths} times in 10"


def best_prompted(bench: Bench) -> ModelSpec | None:
    """The prompted model, other than the subject, of the highest headline; None without one, or without a tuned model."""
    spec = bench.spec
    prompted = [model for model in spec.models if model.kind == "prompted" and model.key != spec.subject]
    if spec.tuned is None:
        return None
    return max(prompted, key=lambda model: float(bench.values[model.key].mean()), default=None)


def prompting_of(bench: Bench) -> dict[str, Any] | None:
    """Would prompting have done? The best prompted model against the subject: ``{key, name, value, subject_value, difference,
    ci_low, ci_high, p_value, sentence}``, values on the headline (0..1); None without a prompted model beside the subject."""
    spec, best = bench.spec, best_prompted(bench)
    if best is None or spec.tuned is None:
        return None
    found = compare(bench.headline, bench.values[best.key], bench.values[spec.subject], bench.how, against=best.key)
    mine, theirs = percent(found.tuned), percent(found.base)
    chance = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    if found.p_value >= SIGNIFICANCE:
        sentence = (
            f"Prompting may do as well: {best.name} reaches {theirs} and {spec.tuned.name} {mine}, and {found.n:,} cases "
            f"cannot tell the two apart ({chance})."
        )
    elif found.difference > 0:
        sentence = (
            f"Prompting alone would not have done: {best.name} reaches {theirs}, {spec.tuned.name} {mine} ({chance})."
        )
    else:
        sentence = (
            f"Prompting does better: {best.name} reaches {theirs}, {spec.tuned.name} only {mine} ({chance}). It costs no "
            "training."
        )
    return {
        "key": best.key,
        "name": best.name,
        "value": found.base,
        "subject_value": found.tuned,
        "difference": found.difference,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.p_value,
        "sentence": sentence,
    }
