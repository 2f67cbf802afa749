"""The rules that an expert sets for every later model: write one, try it, keep it, take it back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.choices import RuleKind
from evaluation_app.forms.rules import RULE_FORMS, RuleForm
from evaluation_app.models import AcceptanceRule
from evaluation_app.operations.rules import add_rule, change_rule, remove_rule, restore_rule
from evaluation_app.queries.pattern_words import pattern_words
from evaluation_app.queries.rule_words import rule_words
from evaluation_app.queries.rules import known_labels, removed_rules, rule_lines, rules_of
from evaluation_app.queries.trial import newest_answers, try_rule
from finetune_engine.errors import UserError
from finetune_engine.evaluate.rules import Rule, check

MOST_REMOVED = 50


@project_page({"GET": Act.VIEW})
def rules(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Every rule in words, with what the newest model made of it."""
    context = {
        "project": actor.project,
        "lines": rule_lines(actor.project, rules_of(actor.project)),
        "removed": [(rule, rule_words(rule.kind, rule.demand)) for rule in removed_rules(actor.project)[:MOST_REMOVED]],
        "may_write": actor.may(Act.REVIEW),
    }
    return render(request, "evaluation_app/rules.html", context)


@project_page({"GET": Act.REVIEW, "POST": Act.REVIEW})
def new_rule(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Write a rule of the kind in ``?kind=``; POST with ``act`` try keeps nothing."""
    kind = request.GET.get("kind", RuleKind.CONTAINS)
    kind = kind if kind in RULE_FORMS else RuleKind.CONTAINS
    form = RULE_FORMS[kind](request.POST or None, initial=_start(actor, kind))
    rule = form.checked() if form.is_bound else None
    if rule is not None and request.POST.get("act") == "save":
        try:
            add_rule(actor=actor, name=rule.name, kind=rule.kind, demand=rule.demand)
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("Kept. Every evaluation from now on holds its models against it."))
            return redirect("evaluation:rules", actor.project.slug)
    return _form_page(request, actor, form, rule)


@project_page({"GET": Act.REVIEW, "POST": Act.REVIEW})
def rule(request: HttpRequest, actor: Actor, rule_id: str) -> HttpResponse:
    """Change a rule: a new one takes its place, and older reports keep theirs."""
    present = fetch(actor, AcceptanceRule.objects.filter(removed_at=None), pk=rule_id)
    form = RULE_FORMS[present.kind](request.POST or None, initial={**present.demand, "name": present.name})
    found = form.checked() if form.is_bound else None
    if found is not None and request.POST.get("act") == "save":
        try:
            change_rule(actor=actor, rule=present, name=found.name, demand=found.demand)
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("Changed. Reports that are there already stay as they are."))
            return redirect("evaluation:rules", actor.project.slug)
    return _form_page(request, actor, form, found, present)


@project_page({"POST": Act.REVIEW})
def drop_rule(request: HttpRequest, actor: Actor, rule_id: str) -> HttpResponse:
    """Later models are no longer held to it."""
    removed = remove_rule(actor=actor, rule=fetch(actor, AcceptanceRule, pk=rule_id))
    messages.success(request, _("“%(name)s” no longer applies. It can be put back below.") % {"name": removed.name})
    return redirect("evaluation:rules", actor.project.slug)


@project_page({"POST": Act.REVIEW})
def put_rule_back(request: HttpRequest, actor: Actor, rule_id: str) -> HttpResponse:
    """Undo of the removal."""
    restored = restore_rule(actor=actor, rule=fetch(actor, AcceptanceRule, pk=rule_id))
    messages.success(request, _("“%(name)s” applies again.") % {"name": restored.name})
    return redirect("evaluation:rules", actor.project.slug)


def _start(actor: Actor, kind: str) -> dict[str, Any]:
    return {"labels": known_labels(actor.project)} if kind == RuleKind.LABELS else {}


def _form_page(
    request: HttpRequest, actor: Actor, form: RuleForm, rule: Rule | None, present: AcceptanceRule | None = None
) -> HttpResponse:
    is_tried = rule is not None and not form.errors
    typed = form.cleaned_data.get("answer", "") if is_tried else ""
    question = form.cleaned_data.get("question", "") if is_tried else ""
    context = {
        "project": actor.project,
        "form": form,
        "kind": str(form.kind),
        "kinds": [(value, label) for value, label in RuleKind.choices if value in RULE_FORMS],
        "present": present,
        "sentence": rule_words(rule.kind, rule.demand) if rule is not None and is_tried else "",
        "words": pattern_words(rule.demand["pattern"]) if rule is not None and "pattern" in rule.demand else "",
        "typed": typed,
        "why": check(rule, question, typed) if rule is not None and typed else None,
        "trial": try_rule(actor, rule) if rule is not None and is_tried else None,
        "is_tried": is_tried,
        "newest": newest_answers(actor) if not is_tried else None,
    }
    return render(request, "evaluation_app/rule.html", context, status=422 if form.errors else 200)
