"""Taking a model away as files."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from jobs_app.models import TrainedModel
from jobs_app.queries import models_with_files
from serving_app.archive_files import archive_download
from serving_app.choices import ExportKind
from serving_app.operations.exports import delete_export, start_export
from serving_app.queries.exports import WHAT_FOR, ExportCard, export_card, exports_of
from web_kit.pagination import paginate
from work_kit.choices import State
from work_kit.operations import request_stop
from work_kit.queries import log_lines

CANDIDATES = 30
SHOWN_LINES = 30


@project_page({"GET": Act.VIEW, "POST": Act.TRAIN})
def exports(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The list of archives, and the form that makes one."""
    if request.method == "POST":
        model = fetch(actor, TrainedModel, pk=request.POST.get("model", ""))
        start_export(actor=actor, trained_model=model, kind=request.POST.get("kind", ""))
        messages.success(request, _("The archive is being made. It appears below when it is whole."))
        return redirect("serving:exports", actor.project.slug)
    page = paginate(exports_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    cards = [export_card(row) for row in page]
    context = {
        "project": actor.project,
        "cards": cards,
        "page": page,
        "is_waiting": any(card.is_open for card in cards),
        "models": list(models_with_files(actor.project)[:CANDIDATES]),
        "wanted": request.GET.get("model", ""),
        "kinds": [(kind.value, kind.label, WHAT_FOR[kind]) for kind in ExportKind],
        "may_train": actor.may(Act.TRAIN),
        **_newest_failure(cards),
    }
    return render(request, "serving_app/exports.html", context)


def _newest_failure(cards: list[ExportCard]) -> dict[str, Any]:
    """The failed archive that was begun last, and what its making wrote down: the advice beside it speaks of that."""
    failed = next((card for card in cards if card.state == State.FAILED), None)
    lines = log_lines(failed.id, SHOWN_LINES) if failed is not None else []
    return {"failed": failed, "log": [line.data["message"] for line in lines if line.data.get("message")]}


@project_page({"GET": Act.VIEW})
def download_export(request: HttpRequest, actor: Actor, export_id: str) -> HttpResponseBase:
    """The archive as a file."""
    return archive_download(request, actor, fetch(actor, exports_of(actor.project), pk=export_id))


@project_page({"POST": Act.TRAIN})
def cancel_export(request: HttpRequest, actor: Actor, export_id: str) -> HttpResponse:
    """Stop making it."""
    export = fetch(actor, exports_of(actor.project), pk=export_id)
    request_stop(actor=actor, job=export.work, action="cancel")
    return redirect("serving:exports", actor.project.slug)


@project_page({"POST": Act.TRAIN})
def remove_export(request: HttpRequest, actor: Actor, export_id: str) -> HttpResponse:
    """Delete the archive; it can be made again."""
    delete_export(actor=actor, export=fetch(actor, exports_of(actor.project), pk=export_id))
    messages.success(request, _("The archive was deleted. The model itself is untouched."))
    return redirect("serving:exports", actor.project.slug)
