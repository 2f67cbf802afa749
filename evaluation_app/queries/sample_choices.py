"""What the page of single answers can be filtered by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.models import AcceptanceRule, Evaluation
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.sample_filter import SampleFilter

METADATA = "metadata:"


@dataclass(frozen=True)
class Choice:
    """One entry of a list: what is sent, and what is read."""

    value: str
    words: str
    is_chosen: bool = False


@dataclass(frozen=True)
class SampleChoices:
    """The lists of the page; one that has nothing to choose is empty."""

    outcomes: list[Choice]
    models: list[Choice]
    slices: list[Choice]
    rules: list[Choice]


def sample_choices(evaluation: Evaluation, chosen: SampleFilter) -> SampleChoices:
    """Outcomes, models, the slices that the report has, and the rules that were applied."""
    report = evaluation.report or {}
    return SampleChoices(
        outcomes=[Choice(value, words, value == chosen.outcome) for value, words in _outcomes().items()],
        models=_models(evaluation, chosen),
        slices=_slices(report, chosen),
        rules=_rules(evaluation, report, chosen),
    )


def _outcomes() -> dict[str, str]:
    return {
        "": _("All cases"),
        "wrong": _("Wrong"),
        "right": _("Right"),
        "worsened": _("Worse than the base model"),
        "improved": _("Better than the base model"),
    }


def _models(evaluation: Evaluation, chosen: SampleFilter) -> list[Choice]:
    """Empty where there is only the trained model and its base: nobody has to choose then."""
    contenders = contenders_of(evaluation)
    if len(contenders) <= 2:
        return []
    return [
        Choice("" if one.is_subject else one.key, one.name, chosen.model == ("" if one.is_subject else one.key))
        for one in sorted(contenders, key=lambda one: not one.is_subject)
    ]


def _slices(report: dict[str, Any], chosen: SampleFilter) -> list[Choice]:
    found = []
    for row in report.get("slices") or ():
        by, value = str(row.get("by") or ""), str(row.get("value"))
        if by.startswith(METADATA):
            column = by.removeprefix(METADATA)
            is_chosen = (column, value) == (chosen.column, chosen.value)
            found.append(_slice(column, value, is_chosen=is_chosen))
    if chosen.column and not any(choice.is_chosen for choice in found):
        found.append(_slice(chosen.column, chosen.value, is_chosen=True))
    return found


def _slice(column: str, value: str, *, is_chosen: bool) -> Choice:
    return Choice(f"{column}={value}", f"{column}: {value}", is_chosen)


def _rules(evaluation: Evaluation, report: dict[str, Any], chosen: SampleFilter) -> list[Choice]:
    told = [rule for rule in report.get("acceptance") or () if rule.get("id")]
    there = set(
        AcceptanceRule.objects.filter(project=evaluation.project_id, pk__in=[rule["id"] for rule in told]).values_list(
            "pk", flat=True
        )
    )
    return [Choice(rule["id"], str(rule["name"]), rule["id"] == chosen.rule) for rule in told if rule["id"] in there]
