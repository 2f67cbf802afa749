"""What is demanded of every later model: the project's rules and its cases that must not be forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from accounts_app.models import Project
from datasets_app.queries import ready_snapshots
from evaluation_app.choices import RuleKind
from evaluation_app.models import AcceptanceRule, Evaluation, RegressionCase
from evaluation_app.queries.rule_words import rule_words
from work_kit.choices import State


@dataclass(frozen=True)
class RuleResult:
    """How the newest model that was held against a rule did."""

    evaluation_id: str
    model_name: str
    passed: int
    n: int

    @property
    def failed(self) -> int:
        """How many answers broke it."""
        return self.n - self.passed


@dataclass(frozen=True)
class RuleLine:
    """A rule as a list shows it. ``latest`` None: no evaluation has applied it yet."""

    rule: AcceptanceRule
    kind_label: str
    sentence: str
    latest: RuleResult | None


def rules_of(project: Project) -> QuerySet[AcceptanceRule]:
    """The rules that apply now, oldest first."""
    return AcceptanceRule.objects.filter(project=project, removed_at=None).select_related("created_by").order_by("id")


def removed_rules(project: Project) -> QuerySet[AcceptanceRule]:
    """The rules that no longer apply, the last removed first."""
    return AcceptanceRule.objects.filter(project=project, removed_at__isnull=False).order_by("-removed_at", "-id")


def cases_of(project: Project) -> QuerySet[RegressionCase]:
    """The regression cases that apply now, oldest first."""
    return RegressionCase.objects.filter(project=project, removed_at=None).select_related("created_by").order_by("id")


def active_rules(project: Project) -> list[dict[str, Any]]:
    """The rules as an evaluation's spec has them: ``[{id, name, kind, demand}]``."""
    return [rule_for_spec(rule) for rule in rules_of(project)]


def active_cases(project: Project) -> list[dict[str, Any]]:
    """The regression cases as an evaluation's spec has them: ``[{id, messages, expected, note}]``.

    ``messages`` end before the answer.
    """
    return [
        {"id": case.pk, "messages": case.messages, "expected": case.expected, "note": case.note}
        for case in cases_of(project)
    ]


def rule_for_spec(rule: AcceptanceRule) -> dict[str, Any]:
    """One rule as the engine reads it (``finetune_engine.evaluate.rules.rule_of``)."""
    return {"id": rule.pk, "name": rule.name, "kind": rule.kind, "demand": rule.demand}


def rule_lines(project: Project, rules: QuerySet[AcceptanceRule]) -> list[RuleLine]:
    """These rules in words, with what the newest evaluation found. Two queries."""
    results = latest_results(project)
    return [
        RuleLine(rule, str(RuleKind(rule.kind).label), rule_words(rule.kind, rule.demand), results.get(rule.pk))
        for rule in rules
    ]


def latest_results(project: Project) -> dict[str, RuleResult]:
    """By rule: how the newest evaluation's model did. One query."""
    done = Evaluation.objects.filter(project=project, work__state=State.SUCCEEDED).order_by("-id")
    newest = done.values_list("id", "trained_model__name", "report__acceptance").first()
    if newest is None:
        return {}
    evaluation_id, name, acceptance = newest
    return {
        str(found["id"]): RuleResult(evaluation_id, name, int(found["passed"]), int(found["n"]))
        for found in acceptance or ()
        if found.get("n")
    }


def known_labels(project: Project) -> list[str]:
    """The labels of the project's newest frozen data, most frequent first; empty where there are none."""
    snapshot = ready_snapshots(project).order_by("-id").first()
    counts: dict[str, int] = {}
    for split in (snapshot.labels if snapshot else {}).values():
        for label, n in split.items():
            counts[label] = counts.get(label, 0) + n
    return sorted(counts, key=lambda label: (-counts[label], label))
