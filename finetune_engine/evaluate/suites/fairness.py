"""Whether a model serves people alike.

**Groups** come from columns of the data (``fair/groups.py``): the headline value by group, the gap, the ratio,
demographic parity and equalised odds. **Counterfactual** questions (``fair/counterfactual.py``) are asked again with
only a name, a pronoun, a place or a word of the user's lists exchanged; flips beyond those that any other word of the
same group makes count.

A finding needs more than chance when all gaps and exchanges are looked at together (Holm), and for exchanges an
interval of the excess above 0. The score is 1 minus the largest gap or excess, what chance alone makes taken off.
Nothing here proves that a model is fair: it says what could be seen with these cases and these lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetune_engine.evaluate.asking.asker import Asker
from finetune_engine.evaluate.fair.counterfactual import Asked, ask, swaps_for
from finetune_engine.evaluate.fair.counterfactual_report import Replies, swap_report
from finetune_engine.evaluate.fair.findings import conclude_findings
from finetune_engine.evaluate.fair.group_report import Served, column_report
from finetune_engine.evaluate.fair.groups import columns_for
from finetune_engine.evaluate.metrics.labels import LabelReader
from finetune_engine.evaluate.suites.robustness import is_observed
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult

NOTHING = (
    "No column of the data names groups that are large enough, and too few cases mention a person, a gender or a place: "
    "fairness could not be looked at."
)


class Fairness:
    """The suite; see the module."""

    name = "fairness"

    def questions(self, bench: Bench) -> int:
        """Questions to one model."""
        return sum(len(asked.questions(bench.cases.test)) for asked in asked_for(bench))

    def observe(self, bench: Bench, asker: Asker) -> list[list[str]] | None:
        """The answers to all exchanged questions, by kind; None for a model that is left out."""
        if not is_observed(bench, asker.spec):
            return None
        found = []
        for asked in asked_for(bench):
            bench.check()
            answers = asker.answer(asked.questions(bench.cases.test), max_new_tokens=bench.max_new_tokens)
            found.append([answer.text for answer in answers])
        return found

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """Groups and exchanges of the subject, beside those of the other models."""
        replies = {key: found for key, found in observed.items() if found is not None}
        if bench.spec.subject not in replies:
            return SuiteResult({"groups": [], "counterfactual": [], "score": None}, None, "The model was not asked.")
        groups = _groups(bench, list(replies))
        swaps = []
        for number, asked in enumerate(asked_for(bench)):
            bench.check()
            swaps.append(swap_report(bench, asked, {key: Replies(texts[number]) for key, texts in replies.items()}))
        findings, score = conclude_findings(groups, swaps)
        section = {"groups": groups, "counterfactual": swaps, "score": score}
        return SuiteResult(section, score, None if score is not None else NOTHING, findings)


def asked_for(bench: Bench) -> list[Asked]:
    """The exchanged questions of this evaluation, by kind."""
    return bench.once("fairness", lambda: _exchanged(bench))


def _exchanged(bench: Bench) -> list[Asked]:
    labels = bench.cases.labels if bench.spec.task_type == "classification" else []
    found = []
    for swap in swaps_for(bench.spec.fairness):
        bench.check()
        found.append(ask(swap, bench.cases.test, labels, bench.spec.seed))
    return found


def _groups(bench: Bench, keys: Sequence[str]) -> list[dict[str, Any]]:
    cases = bench.cases.test
    truth: list[str] | None = None
    reader: LabelReader | None = None
    if bench.spec.task_type == "classification":
        truth, reader = [case.label or "" for case in cases], LabelReader(bench.cases.labels)
    served = {}
    for key in keys:
        said = None if reader is None else [reader.read(answer.text) for answer in bench.answers[key]]
        served[key] = Served(np.asarray(bench.values[key], dtype=np.float64), said)
    found = []
    for column in columns_for(cases, bench.spec.fairness.columns, bench.spec.group_by):
        bench.check()
        found.append(
            column_report(column, bench.headline, truth, served, bench.spec.subject, bench.how.groups, bench.spec.seed)
        )
    return found
