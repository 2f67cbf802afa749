"""What would make the model better, found in the report: the next acts, the most urgent first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import VerdictKind, metric_words
from evaluation_app.queries.report.blocks import Tone
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.robustness import robustness_words
from evaluation_app.queries.report.where import by_words
from evaluation_app.queries.report.words import share_words, value_words
from finetune_engine.evaluate.statistics.power import SIGNIFICANCE
from finetune_engine.evaluate.worth.reading import score_of

MOST = 7
URGENCY = {"bad": 0, "warn": 1}
FRAGILE = 0.15
"""A loss of this share under a disturbance is worth an act."""
WIDE_SLICE_GAP = 0.1
MANY_FAILURES = 3


@dataclass(frozen=True)
class Advice:
    """One act. ``anchor`` is the section that tells more; ``tone`` how urgent it is."""

    text: str
    anchor: str = ""
    tone: Tone = "info"


def advice_of(at: Reading, human: Mapping[str, Any] | None) -> list[Advice]:
    """At most seven acts; empty when nothing stands out."""
    found = [*_rules(at), *_cases(at), *_clusters(at), *_slices(at), *_robustness(at), *_fairness(at)]
    found += [*_forgetting(at), *_prompting(at), *_labels(at), *_weak(at), *_people(human)]
    return sorted(found, key=lambda act: URGENCY.get(act.tone, 2))[:MOST]


def _rules(at: Reading) -> list[Advice]:
    out = []
    for rule in at.part("acceptance") or ():
        missed = int(rule.get("n") or 0) - int(rule.get("passed") or 0)
        if missed > 0:
            words = ngettext(
                "The rule “%(name)s” is broken by %(n)s answer. Add training rows that show the right way.",
                "The rule “%(name)s” is broken by %(n)s answers. Add training rows that show the right way.",
                missed,
            )
            out.append(Advice(words % {"name": rule.get("name"), "n": missed}, "rules", "bad"))
    broken = len((at.part("regressions") or {}).get("failed") or ())
    if broken:
        words = ngettext(
            "%(n)s case that must not be forgotten is wrong now. Put such cases into the training data.",
            "%(n)s cases that must not be forgotten are wrong now. Put such cases into the training data.",
            broken,
        )
        out.append(Advice(words % {"n": broken}, "rules", "bad"))
    return out


def _cases(at: Reading) -> list[Advice]:
    verdict = at.report.get("verdict") or {}
    needed = verdict.get("cases_needed")
    if verdict.get("kind") != VerdictKind.MORE_CASES or not needed or needed <= at.n:
        return []
    words = _("Judge it on about %(more)s more test cases (%(all)s in all): then chance can be told from a real gain.")
    return [Advice(words % {"more": needed - at.n, "all": needed}, "figures", "warn")]


def _clusters(at: Reading) -> list[Advice]:
    clusters = sorted(at.part("clusters") or (), key=lambda one: -int(one.get("size") or 0))
    if not clusters or int(clusters[0].get("size") or 0) < MANY_FAILURES:
        return []
    words = _("%(n)s mistakes look alike: “%(title)s”. Add training rows of that kind first.")
    return [Advice(words % {"n": clusters[0]["size"], "title": clusters[0].get("title")}, "clusters", "warn")]


def _slices(at: Reading) -> list[Advice]:
    """The part of the cases that is furthest below the whole, where its range ends below the whole."""
    headline = str(at.report.get("headline") or "")
    score = score_of(at.report, at.subject, headline) or {}
    whole = score.get("value")
    if whole is None or not score.get("higher_is_better", True):
        return []
    weak = []
    for one in at.part("slices") or ():
        mine = one.get("subject") or {}
        value, high = mine.get("value"), mine.get("ci_high")
        if not one.get("is_small") and value is not None and high is not None and high < whole - WIDE_SLICE_GAP / 2:
            weak.append((float(value), one))
    if not weak:
        return []
    value, one = min(weak, key=lambda pair: pair[0])
    words = _("Weakest part: “%(value)s” (%(by)s), %(score)s against %(whole)s overall. More rows like these help.")
    told = {
        "by": by_words(str(one.get("by"))),
        "value": one.get("value"),
        "score": value_words(value, metric_words(headline)),
        "whole": value_words(whole, metric_words(headline)),
    }
    return [Advice(words % told, "slices", "warn")]


def _robustness(at: Reading) -> list[Advice]:
    # "degradation" is what is left of the value: 1 - (original - perturbed) / original.
    lost = {
        str(t.get("test")): 1 - t["degradation"]
        for t in at.part("robustness") or ()
        if t.get("degradation") is not None
    }
    worst = max(lost, key=lambda test: lost[test], default="")
    if not worst or lost[worst] < FRAGILE:
        return []
    words = _("%(test)s cost it %(share)s of its value. Add rows with such disturbances to the training data.")
    told = {"test": robustness_words(worst), "share": share_words(lost[worst])}
    return [Advice(words % told, "robustness", "warn")]


def _fairness(at: Reading) -> list[Advice]:
    found = at.part("fairness") or {}
    for group in found.get("groups") or ():
        if group.get("is_finding"):
            words = _("It treats groups of “%(column)s” differently. Look at their rows and balance the training data.")
            return [Advice(words % {"column": group.get("column")}, "fairness", "bad")]
    for swap in found.get("counterfactual") or ():
        if swap.get("is_finding"):
            words = _("Swapping %(kind)s changes answers. Train on each case with several names, pronouns or places.")
            return [Advice(words % {"kind": str(swap.get("kind") or "").replace("_", " ")}, "fairness", "bad")]
    return []


def _forgetting(at: Reading) -> list[Advice]:
    found = at.part("capabilities") or {}
    lost = any(probe.get("is_finding") for probe in found.get("probes") or ())
    if not lost and not (found.get("general_text") or {}).get("is_finding"):
        return []
    words = _("It has forgotten some of what it knew. Mix 5-10% general rows into the training, or train fewer passes.")
    return [Advice(words, "forgetting", "warn")]


def _prompting(at: Reading) -> list[Advice]:
    """Said unless the report has shown that training earned more than asking better (as its own sentence judges)."""
    found = at.part("prompting") or {}
    gain, p = found.get("difference"), found.get("p_value")
    if gain is None or p is None or (gain > 0 and p < SIGNIFICANCE):
        return []
    words = _("Better instructions alone may do as well on these cases: training may not be worth it.")
    return [Advice(words, "prompting", "warn")]


def _labels(at: Reading) -> list[Advice]:
    """The class with the fewest hits, when there are enough cases to say so."""
    classes = [row for row in at.model(at.subject).get("per_class") or () if (row.get("support") or 0) >= 10]
    if len(classes) < 2:
        return []
    weakest = min(classes, key=lambda row: float(row.get("recall") or 0))
    if float(weakest.get("recall") or 0) >= 0.7:
        return []
    words = _("The label “%(label)s” is found in %(share)s of its cases only. Add training rows of that label.")
    return [Advice(words % {"label": weakest["label"], "share": share_words(weakest["recall"], 0)}, "classes", "warn")]


def _weak(at: Reading) -> list[Advice]:
    verdict: Mapping[str, Any] = at.report.get("verdict") or {}
    if verdict.get("kind") != VerdictKind.DO_NOT_SHIP:
        return []
    words = _("Train longer, on more rows, or from a stronger base model, and judge it again on the same cases.")
    return [Advice(words, "figures", "info")]


def _people(human: Mapping[str, Any] | None) -> list[Advice]:
    if human is None:
        return [
            Advice(_("Let people judge a blind sample of the answers: figures alone do not show usefulness."), "people")
        ]
    if human.get("kind") == "pairs" and not human.get("is_enough"):
        return [Advice(_("More votes on the blind review would make the people's verdict firmer."), "people")]
    return []
