"""What the model's confidence is worth, and below which a person looks."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from serving_app.confidence_plots import coverage_plot, reliability_plot
from serving_app.forms.confidence import USUAL_PROMISE, PromiseForm, ThresholdForm
from serving_app.models import Deployment
from serving_app.operations.calibrations import calibrate_model, keep_promise, set_human_threshold
from serving_app.queries import current_deployment
from serving_app.queries.calibrations import ConfidenceView, confidence_view


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def confidence(request: HttpRequest, actor: Actor) -> HttpResponse:
    """GET ``?promise=95`` shows what that promise takes; POST sets the threshold, from a promise or by hand."""
    deployment = current_deployment(actor.project)
    if deployment is None:
        return render(request, "serving_app/confidence.html", {"project": actor.project})
    known = confidence_view(deployment)
    if request.method == "POST":
        return _set_threshold(request, actor, deployment, known)
    asked = PromiseForm(request.GET if "promise" in request.GET else {"promise": USUAL_PROMISE})
    return render(request, "serving_app/confidence.html", _context(actor, deployment, known, asked))


@project_page({"POST": Act.TRAIN})
def calibrate(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Learn from one evaluation's answers."""
    evaluation = fetch(
        actor, Evaluation.objects.select_related("project", "trained_model"), pk=request.POST.get("evaluation", "")
    )
    try:
        calibrate_model(actor=actor, evaluation=evaluation)
    except UserError as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("Done. From now on each answer says how often such answers are right."))
    return redirect("serving:confidence", actor.project.slug)


def _set_threshold(request: HttpRequest, actor: Actor, deployment: Deployment, known: ConfidenceView) -> HttpResponse:
    is_promise = "promise" in request.POST
    form: Any = PromiseForm(request.POST) if is_promise else ThresholdForm(request.POST)
    if not form.is_valid():
        context = _context(actor, deployment, known, form if is_promise else PromiseForm({"promise": USUAL_PROMISE}))
        context |= {} if is_promise else {"threshold_form": form}
        return render(request, "serving_app/confidence.html", context, status=422)
    if is_promise:
        keep_promise(actor=actor, deployment=deployment, promised=form.share)
    else:
        # What is shown is rounded, and equally sure answers must not fall below.
        is_as_shown = _shown(deployment.ask_human_below) == form.cleaned_data["threshold"]
        below = deployment.ask_human_below if is_as_shown else form.share
        set_human_threshold(actor=actor, deployment=deployment, ask_human_below=below)
    messages.success(
        request,
        _("No answer is put before a person any more.")
        if deployment.ask_human_below is None
        else _("From now on answers below this are put before a person, on the page To check."),
    )
    return redirect("serving:confidence", actor.project.slug)


def _shown(below: float | None) -> float | None:
    """A threshold as the form shows it, in per cent."""
    return None if below is None else round(below * 100, 6)


def _context(actor: Actor, deployment: Deployment, known: ConfidenceView, asked: PromiseForm) -> dict[str, Any]:
    choice = known.choice_for(asked.share) if asked.is_valid() else None
    held = choice.held_out if choice is not None else None
    below = deployment.ask_human_below
    report = known.report
    return {
        "project": actor.project,
        "deployment": deployment,
        "known": known,
        "report": report,
        "promise_form": asked,
        "threshold_form": ThresholdForm(initial={"threshold": _shown(below)}),
        "choice": choice,
        "held": held,
        "per_day": known.people_per_day(held) if held is not None else None,
        "now_per_day": known.people_per_day(known.now) if known.now is not None else None,
        "reliability": reliability_plot(report) if report else "",
        "coverage": coverage_plot(report) if report else "",
        "may_own": actor.may(Act.OWN),
        "may_train": actor.may(Act.TRAIN),
    }
