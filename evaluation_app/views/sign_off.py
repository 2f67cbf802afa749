"""The page on which an owner signs for a model, and takes a signature back."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.forms.report import SignOffForm
from evaluation_app.models import Evaluation, SignOff
from evaluation_app.operations.sign_off import sign_off_model, withdraw_sign_off
from evaluation_app.queries.checklist import checklist
from evaluation_app.queries.lists import latest_verdict
from evaluation_app.queries.sign_offs import sign_offs_of_model
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel


@project_page({"GET": Act.OWN, "POST": Act.OWN})
def sign_off(request: HttpRequest, actor: Actor, model_id: str) -> HttpResponse:
    """What speaks for and against the model, and the line to sign on."""
    model = fetch(actor, TrainedModel, pk=model_id)
    evaluation = _evaluation(request, actor, model)
    found = checklist(evaluation)
    form = SignOffForm(request.POST or None, needs_reason=found.needs_reason)
    if form.is_bound and form.is_valid():
        try:
            sign_off_model(actor=actor, trained_model=model, evaluation=evaluation, statement=form.words())
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("You have signed for %(name)s.") % {"name": model.name})
            return _after(actor, model, evaluation)
    context = {
        "project": actor.project,
        "model": model,
        "evaluation": evaluation,
        "checklist": found,
        "signatures": sign_offs_of_model(model),
        "form": form,
    }
    return render(request, "evaluation_app/sign_off.html", context, status=422 if form.is_bound else 200)


@project_page({"POST": Act.OWN})
def withdraw(request: HttpRequest, actor: Actor, sign_off_id: int) -> HttpResponse:
    """Take a signature back."""
    row = fetch(actor, SignOff.objects.select_related("trained_model"), pk=sign_off_id)
    withdraw_sign_off(actor=actor, sign_off=row, reason=request.POST.get("reason", ""))
    messages.success(request, _("The signature is withdrawn. It stays on record."))
    return redirect("evaluation:sign_off", actor.project.slug, row.trained_model_id)


def _evaluation(request: HttpRequest, actor: Actor, model: TrainedModel) -> Evaluation | None:
    """The one that was named, else the newest finished one."""
    wanted = request.POST.get("evaluation") or request.GET.get("evaluation")
    if wanted:
        rows = Evaluation.objects.select_related("work", "trained_model", "snapshot", "snapshot__dataset")
        return fetch(actor, rows, pk=wanted, trained_model=model)
    return latest_verdict(model)


def _after(actor: Actor, model: TrainedModel, evaluation: Evaluation | None) -> HttpResponse:
    if evaluation is None:
        return redirect("evaluation:sign_off", actor.project.slug, model.pk)
    return redirect("evaluation:detail", actor.project.slug, evaluation.pk)
