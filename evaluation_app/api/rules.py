"""The JSON twin of the rules' pages: ``/api/v1/rules``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.models import AcceptanceRule
from evaluation_app.operations.rules import add_rule, change_rule, checked_rule, remove_rule, restore_rule
from evaluation_app.queries.rule_words import rule_words
from evaluation_app.queries.rules import latest_results, removed_rules, rules_of
from evaluation_app.queries.trial import try_rule
from finetune_engine.evaluate.rules import check
from web_kit.pagination import paginate

router = Router(tags=["rules"])


class NewRule(Schema):
    """``kind`` is contains, excludes, matches, avoids, length, if_then, json_schema or labels; ``demand`` holds what that
    kind needs: ``texts, all, ignore_case`` / ``pattern, ignore_case`` / ``least, most, unit`` / ``if_mentions,
    then_mentions, all`` / ``schema`` / ``labels``."""

    name: str = Field(max_length=120)
    kind: str
    demand: dict[str, Any]


class ChangedRule(Schema):
    """What is left out stays as it was."""

    name: str | None = Field(default=None, max_length=120)
    demand: dict[str, Any] | None = None


class TriedRule(NewRule):
    """A rule to try; with ``answer`` (and ``question``) it is tried on that as well."""

    name: str = Field(default="-", max_length=120)
    question: str = ""
    answer: str | None = None


def _body(rule: AcceptanceRule) -> dict[str, Any]:
    return {
        "id": rule.pk,
        "name": rule.name,
        "kind": rule.kind,
        "demand": rule.demand,
        "sentence": rule_words(rule.kind, rule.demand),
        "created_at": rule.created_at,
        "removed_at": rule.removed_at,
    }


def _rule(request: HttpRequest, rule_id: str) -> tuple[Actor, AcceptanceRule]:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor, fetch(actor, AcceptanceRule, pk=rule_id)


@router.get("/rules", auth=key_auth(Act.VIEW), response=Any, summary="List acceptance rules")
def listing(request: HttpRequest, removed: bool = False, cursor: str | None = None, limit: int = 50) -> Any:
    """Those that apply now, newest first, with what the newest model made of each; ``removed`` lists the others."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = removed_rules(actor.project) if removed else rules_of(actor.project)
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    found = latest_results(actor.project)
    data = [_body(rule) | {"latest": vars(found[rule.pk]) if rule.pk in found else None} for rule in page]
    return {"data": data, "next_cursor": page.next_cursor}


@router.post("/rules", auth=key_auth(Act.REVIEW), response={201: Any}, summary="Add an acceptance rule")
def create(request: HttpRequest, payload: NewRule) -> Any:
    """Every later evaluation holds its models against it. The same rule twice returns the first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return Status(201, _body(add_rule(actor=actor, name=payload.name, kind=payload.kind, demand=payload.demand)))


@router.post("/rules/try", auth=key_auth(Act.REVIEW), response=Any, summary="Try a rule without keeping it")
def attempt(request: HttpRequest, payload: TriedRule) -> Any:
    """What it would say of ``answer``, and of the stored answers of the project's newest model (null without one)."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rule = checked_rule(name=payload.name, kind=payload.kind, demand=payload.demand)
    trial = try_rule(actor, rule)
    why = check(rule, payload.question, payload.answer) if payload.answer is not None else None
    newest = None
    if trial is not None:
        newest = vars(trial) | {"failing": [vars(case) for case in trial.failing]}
    return {
        "sentence": rule_words(rule.kind, rule.demand),
        "answer": None if payload.answer is None else {"passes": why is None, "why": why},
        "newest_model": newest,
    }


@router.get("/rules/{rule_id}", auth=key_auth(Act.VIEW), response=Any, summary="One acceptance rule")
def detail(request: HttpRequest, rule_id: str) -> Any:
    """What it demands. A removed one can still be read."""
    return _body(_rule(request, rule_id)[1])


@router.patch("/rules/{rule_id}", auth=key_auth(Act.REVIEW), response=Any, summary="Change an acceptance rule")
def change(request: HttpRequest, rule_id: str, payload: ChangedRule) -> Any:
    """A new rule, with a new id, takes its place, so that older reports keep the rule they name."""
    actor, rule = _rule(request, rule_id)
    name = rule.name if payload.name is None else payload.name
    demand = rule.demand if payload.demand is None else payload.demand
    return _body(change_rule(actor=actor, rule=rule, name=name, demand=demand))


@router.delete("/rules/{rule_id}", auth=key_auth(Act.REVIEW), response=Any, summary="Remove an acceptance rule")
def remove(request: HttpRequest, rule_id: str) -> Any:
    """Later models are no longer held to it; ``restore`` takes that back."""
    actor, rule = _rule(request, rule_id)
    return _body(remove_rule(actor=actor, rule=rule))


@router.post("/rules/{rule_id}/restore", auth=key_auth(Act.REVIEW), response=Any, summary="Put a removed rule back")
def restore(request: HttpRequest, rule_id: str) -> Any:
    """It applies again."""
    actor, rule = _rule(request, rule_id)
    return _body(restore_rule(actor=actor, rule=rule))
