"""The cases that no later model may get wrong."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.forms.regressions import CaseForm, PasteForm
from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.operations.regressions import Added, add_cases, add_cases_from_rows, remove_case, restore_case
from evaluation_app.queries.regressions import case_lines, kept_count, question_words, removed_cases
from evaluation_app.queries.rules import cases_of
from finetune_engine.errors import UserError
from web_kit.pagination import paginate

MOST_REMOVED = 50


@project_page({"GET": Act.VIEW})
def cases(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Every such case, what the newest model did with it, and who broke it first."""
    page = paginate(cases_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {
        "project": actor.project,
        "page": page,
        "lines": case_lines(actor.project, list(page)),
        "kept": kept_count(actor.project),
        "removed": [(case, question_words(case.messages)) for case in removed_cases(actor.project)[:MOST_REMOVED]],
        "may_write": actor.may(Act.REVIEW),
    }
    return render(request, "evaluation_app/cases.html", context)


@project_page({"GET": Act.REVIEW, "POST": Act.REVIEW})
def new_cases(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Write one case, or paste many."""
    is_paste = request.POST.get("act") == "paste"
    form = CaseForm(request.POST if request.method == "POST" and not is_paste else None)
    paste = PasteForm(request.POST if is_paste else None)
    sent: CaseForm | PasteForm = paste if is_paste else form
    if sent.is_bound and sent.is_valid():
        try:
            added = add_cases(actor=actor, cases=sent.cases())
        except UserError as error:
            sent.add_user_error(error)
        else:
            messages.success(request, added_words(added))
            return redirect("evaluation:cases", actor.project.slug)
    context: dict[str, Any] = {"project": actor.project, "form": form, "paste": paste}
    return render(request, "evaluation_app/new_cases.html", context, status=422 if sent.errors else 200)


@project_page({"POST": Act.REVIEW})
def keep_rows(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Keep rows of an evaluation (``row``, several allowed) as cases that must not be forgotten."""
    evaluation = fetch(actor, Evaluation, pk=evaluation_id)
    rows = [int(row) for row in request.POST.getlist("row") if row.isascii() and row.isdigit() and len(row) < 10]
    added = add_cases_from_rows(actor=actor, evaluation=evaluation, rows=rows)
    messages.success(request, added_words(added))
    return redirect("evaluation:cases", actor.project.slug)


@project_page({"POST": Act.REVIEW})
def drop_case(request: HttpRequest, actor: Actor, case_id: str) -> HttpResponse:
    """Later models are no longer asked it."""
    remove_case(actor=actor, case=fetch(actor, RegressionCase, pk=case_id))
    messages.success(request, _("Later models are no longer asked this case. It can be put back below."))
    return redirect("evaluation:cases", actor.project.slug)


@project_page({"POST": Act.REVIEW})
def put_case_back(request: HttpRequest, actor: Actor, case_id: str) -> HttpResponse:
    """Undo of the removal."""
    restore_case(actor=actor, case=fetch(actor, RegressionCase, pk=case_id))
    messages.success(request, _("The case applies again."))
    return redirect("evaluation:cases", actor.project.slug)


def added_words(added: Added) -> str:
    """``3 cases added. 1 was there already.``"""
    n = len(added.cases)
    words = ngettext("%(n)s case added.", "%(n)s cases added.", n) % {"n": n}
    if added.known:
        words += " " + ngettext("%(n)s was there already.", "%(n)s were there already.", added.known) % {
            "n": added.known
        }
    return words
