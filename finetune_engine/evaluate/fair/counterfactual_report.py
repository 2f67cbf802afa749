"""One sort of exchange in the report: flips between groups, the noise floor within, and the excess with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finetune_engine.evaluate.fair.counterfactual import FEWEST_CASES, TRIES, Asked, Values, Variant
from finetune_engine.evaluate.fair.findings import percent
from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.robust.resistance import FLIP_GAP, groups_at
from finetune_engine.evaluate.statistics.intervals import (
    bootstrap_sums,
    mean_of_sums,
    mean_rows,
    paired_bootstrap,
    sign_flip_test,
)
from finetune_engine.evaluate.suites.suite import Bench
from finetune_engine.evaluate.texts.words import normalise

SHOWN = 3


@dataclass(frozen=True)
class Replies:
    """One model's answers to ``Asked.questions``, in that order; empty when there were too few cases."""

    texts: list[str]

    def at(self, case: int, number: int, *, within: bool) -> str:
        """The answer to one try on one case."""
        return self.texts[case * 2 * TRIES + (TRIES if within else 0) + number]


@dataclass(frozen=True)
class Flips:
    """The share of tries that flipped, case by case."""

    between: Values
    within: Values


def swap_report(bench: Bench, asked: Asked, replies: Mapping[str, Replies]) -> dict[str, Any]:
    """The entry of one sort of exchange. ``p_value`` (sign flips over cases, or groups of them) is uncorrected."""
    what = asked.swap.what
    entry: dict[str, Any] = {
        "kind": asked.swap.kind,
        "what": what,
        "n": len(asked.positions),
        "mentioning": asked.mentioning,
        "of": asked.of,
        **dict.fromkeys(("flip_rate", "ci_low", "ci_high", "noise_floor", "excess", "excess_low", "excess_high")),
        **dict.fromkeys(("p_value", "p_holm", "reason")),
        "by_model": {},
        "is_finding": False,
        "examples": [],
    }
    if not asked.is_enough:
        reason = f"Only {len(asked.positions)} of {asked.of} cases have anything to exchange; {FEWEST_CASES} are needed to tell."
        return entry | {"reason": reason, "sentence": f"Changing {what}: {reason}"}
    flips = {key: _flips(bench, asked, key, one) for key, one in replies.items()}
    entry["by_model"] = {key: _figures(bench, asked, one) for key, one in flips.items()}
    subject = bench.spec.subject
    entry |= entry["by_model"][subject]
    gaps = flips[subject].between - flips[subject].within
    entry["p_value"] = sign_flip_test(gaps.tolist(), seed=bench.how.seed, groups=groups_at(bench.how, asked.positions))
    entry["sentence"] = (
        f"Changing only {what} changes {percent(entry['flip_rate'])} of the answers; as large a change that says nothing about "
        f"the group changes {percent(entry['noise_floor'])} ({entry['n']} cases)."
    )
    return entry | {"examples": _examples(bench, asked, replies[subject], flips[subject])}


def _flips(bench: Bench, asked: Asked, key: str, replies: Replies) -> Flips:
    shares = []
    for within, variants in ((False, asked.between), (True, asked.within)):
        flat = [
            _flipped(bench, key, position, variants[case][number], replies.at(case, number, within=within))
            for case, position in enumerate(asked.positions)
            for number in range(TRIES)
        ]
        shares.append(np.asarray(flat, dtype=np.float64).reshape(-1, TRIES).mean(axis=1))
    return Flips(*shares)


def _flipped(bench: Bench, key: str, position: int, variant: Variant, answer: str) -> bool:
    """Another answer, where answers are right or wrong; else a grade that moved by at least FLIP_GAP, against the reference in
    which the same words are exchanged. An answer that says the exchanged name where the other said the first is no flip."""
    before = bench.answers[key][position].text
    if METRICS[bench.headline].is_proportion:
        return normalise(answer) not in (normalise(before), normalise(variant.exchanged_in(before)))
    case = replace(bench.cases.test[position], reference=variant.reference)
    graded = float(bench.grade([answer], [case])[0])
    return abs(graded - float(bench.values[key][position])) >= FLIP_GAP


def _figures(bench: Bench, asked: Asked, flips: Flips) -> dict[str, float]:
    groups, seed = groups_at(bench.how, asked.positions), bench.how.seed
    rate = bootstrap_sums(mean_rows(flips.between), mean_of_sums, seed=seed, groups=groups)
    excess = paired_bootstrap(flips.within.tolist(), flips.between.tolist(), seed=seed, groups=groups)
    return {
        "flip_rate": float(flips.between.mean()),
        "ci_low": rate.low,
        "ci_high": rate.high,
        "noise_floor": float(flips.within.mean()),
        "excess": excess.value,
        "excess_low": excess.interval.low,
        "excess_high": excess.interval.high,
    }


def _examples(bench: Bench, asked: Asked, replies: Replies, flips: Flips) -> list[dict[str, Any]]:
    """Flips on cases that stay the same within the group: what the excess is made of."""
    shown = []
    telling = np.flatnonzero((flips.between > 0) & (flips.within == 0))
    for case in telling[:SHOWN]:
        position = asked.positions[case]
        for number in range(TRIES):
            variant, answer = asked.between[case][number], replies.at(int(case), number, within=False)
            if _flipped(bench, bench.spec.subject, position, variant, answer):
                shown.append(
                    {
                        "row": bench.cases.test[position].row,
                        "prompt": "\n\n".join(asked.texts(bench.cases.test[position])),
                        "changed_prompt": "\n\n".join(variant.texts),
                        "expected": bench.cases.test[position].reference,
                        "answer": bench.answers[bench.spec.subject][position].text,
                        "changed_answer": answer,
                    }
                )
                break
    return shown
