"""Personal data of a dataset: what was found, in its context, and what shall happen to it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.choices import PiiAction
from datasets_app.models import Dataset
from datasets_app.operations import policy as operations
from datasets_app.queries.personal import personal_examples
from datasets_app.queries.policy import KindDecision, all_kinds, kind_decisions, names_are_found
from datasets_app.views.ready import page_context, ready_dataset, row_number
from finetune_engine.errors import UserError


@project_page({"GET": Act.VIEW, "POST": Act.TRAIN})
def personal(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The page; POST takes one field per kind (``email=mask``)."""
    dataset = ready_dataset(actor, dataset_id)
    if request.method != "POST":
        return _page(request, actor, dataset)
    wanted = {kind: request.POST[kind] for kind in all_kinds() if kind in request.POST}
    if not wanted:
        raise UserError("nothing_decided", _("Choose what shall happen to at least one kind of personal data."))
    operations.set_pii_decisions(actor=actor, decisions=_changed(actor, dataset, wanted))
    messages.success(request, _("Decided. Snapshots that you freeze from now on follow it, in every dataset."))
    return redirect("datasets:personal", actor.project.slug, dataset.pk)


def _changed(actor: Actor, dataset: Dataset, wanted: dict[str, str]) -> dict[str, str]:
    """The choices to record: those that differ, and those that confirm what nobody had decided for a kind found here."""
    return {
        one.kind: wanted[one.kind]
        for one in kind_decisions(actor.project, dataset)
        if one.kind in wanted and (wanted[one.kind] != one.action or (one.rows and one.decided.at is None))
    }


def _page(request: HttpRequest, actor: Actor, dataset: Dataset) -> HttpResponse:
    decisions = kind_decisions(actor.project, dataset)
    found = [one for one in decisions if one.rows]
    shown = next((one for one in found if one.kind == request.GET.get("kind")), found[0] if found else None)
    after = row_number(request.GET.get("after"))
    context = page_context(actor, dataset) | {
        "found": found,
        "others": [one for one in decisions if not one.rows],
        "undecided": [one for one in found if one.decided.at is None],
        "kept": [one for one in found if one.action == PiiAction.KEEP],
        "actions": PiiAction.choices,
        "names_are_found": names_are_found(),
        "shown": shown,
        "examples": _examples(dataset, decisions, shown, after),
        "after": after,
    }
    return render(request, "datasets_app/personal.html", context)


def _examples(dataset: Dataset, decisions: list[KindDecision], shown: KindDecision | None, after: int) -> object:
    if shown is None:
        return None
    return personal_examples(dataset, shown.kind, {one.kind: one.action for one in decisions}, after)
