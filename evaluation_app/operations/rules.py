"""Everything that changes acceptance rules. A rule is never altered: a changed one takes the place of the old, so that
reports which name the old one keep their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import AcceptanceRule
from finetune_engine.errors import UserError
from finetune_engine.evaluate.rules import Rule, rule_of

MOST_RULES = 100
LONGEST_NAME = 120


def add_rule(*, actor: Actor, name: str, kind: str, demand: Mapping[str, Any]) -> AcceptanceRule:
    """Demand something of every later model. The same demand twice returns the first.

    Raises UserError for a demand that cannot be checked, and when the project has 100 rules.
    """
    actor.require(Act.REVIEW)
    rule = checked_rule(name=name, kind=kind, demand=demand)
    with transaction.atomic():
        return _add(actor, rule)


def change_rule(*, actor: Actor, rule: AcceptanceRule, name: str, demand: Mapping[str, Any]) -> AcceptanceRule:
    """Put a new rule of the same kind in the place of this one; returns it (the old one when nothing differs)."""
    actor.require(Act.REVIEW)
    wanted = checked_rule(name=name, kind=rule.kind, demand=demand)
    if wanted.name == rule.name and dict(wanted.demand) == rule.demand:
        return rule
    with transaction.atomic():
        _remove(actor, rule)
        return _add(actor, wanted)


def remove_rule(*, actor: Actor, rule: AcceptanceRule) -> AcceptanceRule:
    """Later models are no longer held to it. Removing twice is the same as once."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        _remove(actor, rule)
    rule.refresh_from_db()
    return rule


def restore_rule(*, actor: Actor, rule: AcceptanceRule) -> AcceptanceRule:
    """Undo of ``remove_rule``. Raises UserError when the project has 100 rules."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        _refuse_above_limit(actor.project)
        if AcceptanceRule.objects.filter(pk=rule.pk, removed_at__isnull=False).update(removed_at=None):
            _record(actor, "rule.restore", rule)
    rule.refresh_from_db()
    return rule


def checked_rule(*, name: str, kind: str, demand: Mapping[str, Any], rule_id: str = "") -> Rule:
    """The rule as the engine understands it, with every default filled in. Raises UserError naming the field."""
    if len(name.strip()) > LONGEST_NAME:
        raise UserError("bad_rule", f"Give the rule a name of at most {LONGEST_NAME} characters.", "name")
    return rule_of({"id": rule_id, "name": name, "kind": kind, "demand": demand})


def _add(actor: Actor, rule: Rule) -> AcceptanceRule:
    demand = dict(rule.demand)
    for same in AcceptanceRule.objects.filter(project=actor.project, kind=rule.kind, name=rule.name, removed_at=None):
        if same.demand == demand:
            return same
    _refuse_above_limit(actor.project)
    made = AcceptanceRule.objects.create(
        project=actor.project,
        name=rule.name,
        kind=rule.kind,
        demand=demand,
        created_by=actor.user,
        created_by_key=actor.api_key,
    )
    _record(actor, "rule.add", made)
    return made


def _remove(actor: Actor, rule: AcceptanceRule) -> None:
    if AcceptanceRule.objects.filter(pk=rule.pk, removed_at=None).update(removed_at=timezone.now()):
        _record(actor, "rule.remove", rule)


def _record(actor: Actor, act: str, rule: AcceptanceRule) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"rule {rule.pk}", data={"kind": rule.kind})


def _refuse_above_limit(project: Project) -> None:
    if AcceptanceRule.objects.filter(project=project, removed_at=None).count() >= MOST_RULES:
        raise UserError(
            "too_many_rules",
            f"A project can have {MOST_RULES} rules at a time. Remove one that is no longer needed.",
        )
