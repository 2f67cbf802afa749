"""What a project keeps on disk, how long, and cleaning up."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from jobs_app.disk_parts import parts_of
from jobs_app.operations import retention
from jobs_app.queries.housekeeping import disk_use, largest_models
from web_kit.forms import StyledForm
from web_kit.wording import bytes_words, number_words


class RetentionForm(StyledForm):
    """How many days after a job's end; empty keeps for ever."""

    checkpoint_days = forms.IntegerField(
        label=gettext_lazy("Keep saved states for how many days"),
        required=False,
        min_value=1,
        max_value=retention.LONGEST_DAYS,
        help_text=gettext_lazy("After the end of the training. Empty: for ever. Models are never removed by this."),
    )
    log_days = forms.IntegerField(
        label=gettext_lazy("Keep logs for how many days"),
        required=False,
        min_value=1,
        max_value=retention.LONGEST_DAYS,
        help_text=gettext_lazy("The curves and the last lines of each log stay. Empty: for ever."),
    )


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def housekeeping(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Disk by kind; POST decides how long things are kept."""
    days = retention.retention_of(actor.project)
    known = {"checkpoint_days": days.checkpoint_days, "log_days": days.log_days}
    form = RetentionForm(request.POST or None, initial=known)
    if request.method == "POST" and form.is_valid():
        try:
            retention.set_retention(actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("Saved. It is applied once a day."))
            return redirect("jobs:housekeeping", slug=actor.project.slug)
    parts = disk_use(actor.project) + parts_of(actor.project)
    context = {
        "project": actor.project,
        "parts": parts,
        "total": sum(part.held.size for part in parts),
        "has_spare": any(part.can_go and part.can_go.items for part in parts),
        "models": largest_models(actor.project),
        "form": form,
        "may_own": actor.may(Act.OWN),
    }
    return render(request, "jobs_app/housekeeping.html", context, status=422 if form.errors else 200)


@project_page({"POST": Act.OWN})
def clean(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Remove now what can go of one kind; asks by the project's name."""
    if request.POST.get("confirm_name", "").strip() != actor.project.name:
        raise UserError(
            "name_mismatch", _("The name you typed is not the project's name. Nothing was removed."), "confirm_name"
        )
    freed = retention.clean_up(actor=actor, kind=request.POST.get("kind", ""))
    told = {"n": number_words(freed.items), "size": bytes_words(freed.size)}
    messages.success(request, _("Removed: %(n)s, and %(size)s are free again.") % told)
    return redirect("jobs:housekeeping", slug=actor.project.slug)
