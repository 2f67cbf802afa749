"""The files of a report, and what its business figures rest on."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.exports.files import report_file
from evaluation_app.forms.report import AssumptionsForm
from evaluation_app.models import Evaluation
from evaluation_app.operations.report import keep_assumptions
from evaluation_app.queries.report.worth import assumptions_for
from evaluation_app.queries.reviews import is_kept_blind
from finetune_engine.errors import UserError

WHOLE = (
    "project",
    "work",
    "trained_model__training_job__snapshot",
    "snapshot__dataset",
)
"""What is fetched with an evaluation whose report is shown."""


def whole_evaluation(actor: Actor, evaluation_id: str) -> Evaluation:
    """The evaluation with everything its report needs. Raises Http404."""
    return fetch(actor, Evaluation.objects.select_related(*WHOLE), pk=evaluation_id)


@project_page({"GET": Act.VIEW})
def report(request: HttpRequest, actor: Actor, evaluation_id: str, kind: str) -> HttpResponse:
    """The report as a file: ``kind`` is json, csv, html, pdf or md."""
    evaluation = whole_evaluation(actor, evaluation_id)
    if is_kept_blind(actor, evaluation):
        raise kept_blind()
    return report_file(evaluation, kind)


def kept_blind() -> UserError:
    """Whoever judges answers blind does not see which model wrote which."""
    words = _("You are judging these answers blind. The report opens for you when the review is closed.")
    return UserError("kept_blind", words, status=409)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def assumptions(request: HttpRequest, actor: Actor) -> HttpResponse:
    """What the work costs today, for all reports of the project."""
    form = AssumptionsForm(request.POST or None, given=assumptions_for(actor.project))
    wanted = request.GET.get("evaluation", "")
    rows = Evaluation.objects.select_related("trained_model").defer("report")
    evaluation = fetch(actor, rows, pk=wanted) if wanted else None
    if form.is_bound and form.is_valid():
        try:
            keep_assumptions(actor=actor, values=form.values())
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("Saved. All reports of this project use these figures now."))
            if evaluation is None:
                return redirect("evaluation:list", actor.project.slug)
            return redirect("evaluation:detail", actor.project.slug, evaluation.pk)
    context = {"project": actor.project, "form": form, "evaluation": evaluation}
    return render(request, "evaluation_app/assumptions.html", context, status=422 if form.is_bound else 200)
