"""Start a training."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from jobs_app.forms import NewTrainingForm
from jobs_app.operations import new_idempotency_key, start_training
from jobs_app.training_settings import PRESETS


@project_page(Act.TRAIN)
def new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The form; POST checks everything, starts the job and goes to its page."""
    if request.method != "POST":
        return _page(request, actor, NewTrainingForm(initial=_initial(request), project=actor.project))
    form = NewTrainingForm(request.POST, project=actor.project)
    if not form.is_valid():
        return _page(request, actor, form, status=422)
    chosen = form.cleaned_data
    try:
        training = start_training(
            actor=actor,
            name=chosen["name"],
            base_model_key=chosen["base_model"],
            snapshot=chosen["snapshot"],
            dataset=chosen["dataset"],
            spec=chosen["spec"],
            suffix=chosen["suffix"],
            idempotency_key=chosen["idempotency_key"],
        )
    except UserError as error:
        error.field = "examples" if error.field in {"snapshot", "dataset", "training_file"} else error.field
        form.add_user_error(error)
        return _page(request, actor, form, status=422)
    return redirect("jobs:detail", slug=actor.project.slug, job_id=training.pk)


def _initial(request: HttpRequest) -> dict[str, str]:
    initial = {"preset": "balanced", "idempotency_key": new_idempotency_key()}
    for kind in ("dataset", "snapshot"):
        if pk := request.GET.get(kind):
            initial["examples"] = f"{kind}:{pk}"
    return initial


def _page(request: HttpRequest, actor: Actor, form: NewTrainingForm, status: int = 200) -> HttpResponse:
    available = [card.key for card in form.cards if card.is_available]
    near, far = form.near_and_far()
    chosen = form["base_model"].value() or (available[0] if available else "")
    context = {
        "form": form,
        "near": near,
        "far": far,
        "chosen_is_far": any(card.key == chosen for card in far),
        "project": actor.project,
        "presets": PRESETS,
        "chosen_base": chosen,
        "chosen_preset": form["preset"].value() or "balanced",
    }
    return render(request, "jobs_app/new.html", context, status=status)
