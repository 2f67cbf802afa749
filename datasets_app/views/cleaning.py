"""How the texts of a dataset are cleaned: steps, rules of the house, and what they do to real rows."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.models import Dataset
from datasets_app.operations.policy import set_cleaning
from datasets_app.operations.rechecks import recheck_dataset
from datasets_app.queries.cleaning import CleaningPreview, cleaning_preview, step_lines
from datasets_app.queries.policy import CLEANING, Decided, checked_plan, cleaning_plan, decisions_made, policy_of
from datasets_app.views.ready import is_fragment, page_context, ready_dataset, row_number
from finetune_engine.errors import UserError

SPARE_LINES = 2  # empty lines for new rules
MOST_LINES = 100


@project_page({"GET": Act.VIEW, "POST": Act.TRAIN})
def cleaning(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The page; POST with ``act`` preview (nothing is stored), save, or check (save and check all rows again)."""
    dataset = ready_dataset(actor, dataset_id)
    if request.method != "POST":
        return _page(request, actor, dataset, cleaning_plan(actor.project))
    options = options_of(request.POST)
    act = request.POST.get("act", "preview")
    try:
        checked_plan(options)
        if act == "preview":
            return _page(request, actor, dataset, options, after=row_number(request.POST.get("after")))
        set_cleaning(
            actor=actor,
            steps=options["cleaning"],
            replacements=options["replacements"],
            boilerplate=options["boilerplate"],
        )
    except UserError as error:
        return _page(request, actor, dataset, options, error=error)
    if act == "check":
        return _check_again(request, actor, dataset)
    messages.success(request, _("Saved. It applies to the next upload, and to this file when you check it again."))
    return redirect("datasets:cleaning", actor.project.slug, dataset.pk)


def _check_again(request: HttpRequest, actor: Actor, dataset: Dataset) -> HttpResponse:
    try:
        recheck_dataset(actor=actor, dataset=dataset)
    except UserError as error:
        sentence = _("Saved, but the check did not start: %(why)s") % {"why": error.sentence}
        messages.warning(request, sentence)
        return redirect("datasets:cleaning", actor.project.slug, dataset.pk)
    messages.success(request, _("Saved. All rows are being checked again; decisions of people stay."))
    return redirect("datasets:detail", actor.project.slug, dataset.pk)


def options_of(posted: QueryDict) -> dict[str, Any]:
    """The import options that the form says: ``{cleaning, replacements, boilerplate}``. Lines without anything to find
    are left out."""
    rules = []
    for number in range(MOST_LINES):
        if find := posted.get(f"find-{number}", ""):
            replace, is_regex = posted.get(f"replace-{number}", ""), f"regex-{number}" in posted
            rules.append({"find": find, "replace": replace, "is_regex": is_regex})
    lines = [line.strip() for line in posted.getlist("boilerplate") if line.strip()]
    return {"cleaning": posted.getlist("steps"), "replacements": rules, "boilerplate": lines}


def _page(
    request: HttpRequest,
    actor: Actor,
    dataset: Dataset,
    options: dict[str, Any],
    *,
    after: int = 0,
    error: UserError | None = None,
) -> HttpResponse:
    shown: CleaningPreview | None = None if error else cleaning_preview(dataset, options, after)
    context = page_context(actor, dataset) | {
        "steps": step_lines(dataset, options),
        "rules": [*options["replacements"], *({"find": "", "replace": ""} for _ in range(SPARE_LINES))],
        "boilerplate": [*options["boilerplate"], *[""] * SPARE_LINES],
        "preview": shown,
        "after": after,
        "error": error,
        "decided": decisions_made(policy_of(actor.project)).get(CLEANING, Decided()),
    }
    name = "datasets_app/_cleaning_preview.html" if is_fragment(request) else "datasets_app/cleaning.html"
    return render(request, name, context, status=error.status if error else 200)
