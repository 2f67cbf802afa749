"""Should you fine-tune at all? The first step of a project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from finetune_engine.catalogue.advice import Advice, Situation, advise
from jobs_app import queries
from jobs_app.forms.advice import AdviceForm
from jobs_app.operations.advice import remember_advice


@project_page(Act.VIEW)
def advice(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The questions, and below them the answer. Whoever may train changes what the project remembers."""
    data = queries.project_data(actor.project)
    if request.method != "POST":
        kept = queries.kept_answers(actor.project)
        known = queries.prefilled(kept, data)
        said = advise(Situation.from_dict(known)) if kept else None
        return _page(request, actor, AdviceForm(initial=known), data, said)
    form = AdviceForm(request.POST)
    if not form.is_valid():
        return _page(request, actor, form, data, None, status=422)
    situation = Situation.from_dict(form.cleaned_data | {"good_share": data.good_share})
    said = advise(situation)
    if actor.may(Act.TRAIN):
        remember_advice(actor=actor, situation=situation, verdict=said.verdict)
    return _page(request, actor, form, data, said)


def _page(
    request: HttpRequest,
    actor: Actor,
    form: AdviceForm,
    data: queries.ProjectData,
    said: Advice | None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "form": form,
        "data": data,
        "advice": said,
        "tone": {"fine_tune": "ok", "prompt": "", "collect_data": "warn"}.get(said.verdict) if said else "",
        "project": actor.project,
    }
    return render(request, "jobs_app/advice.html", context, status=status)
