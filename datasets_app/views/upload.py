"""From a file on somebody's disk to an import: upload, look, import."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app import operations
from datasets_app.forms import ImportForm, UploadForm, guessed_values
from datasets_app.models import Upload
from datasets_app.operations.uploads import check_size
from datasets_app.sniffing import FirstLook, first_look
from finetune_engine.errors import UserError
from web_kit.errors import error_body
from web_kit.ids import new_id

CSV_EXAMPLE = """text,label
"Either party may end this agreement with 30 days notice.",Termination
"Invoices are due within 14 days.",Payment
"""
JSONL_EXAMPLE = """{"prompt": "What is the notice period?", "completion": "Thirty days."}
{"prompt": "When are invoices due?", "completion": "Within 14 days."}
"""


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def upload(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Take one file and go on to its preview. A script that shows progress asks for JSON and gets ``{"url"}``."""
    if request.method != "POST":
        return _upload_page(request, actor, UploadForm())
    form = UploadForm(request.POST, request.FILES)
    try:
        check_size(int(request.META.get("CONTENT_LENGTH") or 0))
        if form.is_valid():
            file = form.cleaned_data["file"]
            stored = operations.store_upload(actor=actor, file=file, name=file.name)
            return _gone_to(request, reverse("datasets:preview", args=[actor.project.slug, stored.pk]))
    except UserError as error:
        if _wants_json(request):
            body = error_body(error.status, error.sentence, code=error.code, param=error.field)
            return JsonResponse(body, status=error.status)
        form.add_user_error(error)
        return _upload_page(request, actor, form, status=error.status)
    if _wants_json(request):
        sentence = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return JsonResponse(error_body(422, sentence, code="invalid_request", param="file"), status=422)
    return _upload_page(request, actor, form, status=422)


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _gone_to(request: HttpRequest, url: str) -> HttpResponse:
    return JsonResponse({"url": url}, status=201) if _wants_json(request) else redirect(url)


def _upload_page(request: HttpRequest, actor: Actor, form: UploadForm, status: int = 200) -> HttpResponse:
    context = {
        "actor": actor,
        "form": form,
        "max_bytes": settings.MAX_UPLOAD_BYTES,
        "csv_example": CSV_EXAMPLE,
        "jsonl_example": JSONL_EXAMPLE,
    }
    return render(request, "datasets_app/upload.html", context, status=status)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def preview(request: HttpRequest, actor: Actor, upload_id: str) -> HttpResponse:
    """What the file seems to be, with its first rows as the model will see them; POST imports it, or with
    ``look=1`` only looks again with other settings."""
    stored = fetch(actor, Upload, pk=upload_id, deleted_at=None)
    look = first_look(stored, {})
    if request.method != "POST":
        form = ImportForm(initial=guessed_values(look, stored.name) | {"idempotency_key": new_id()}, look=look)
        return _preview_page(request, actor, stored, look, form)
    form = ImportForm(request.POST, look=look)
    if not form.is_valid():
        return _preview_page(request, actor, stored, look, form, status=422)
    options: dict[str, Any] = {
        "format": form.cleaned_data["format"] or "auto",
        "mapping": form.mapping,
        "task_type": form.cleaned_data["task_type"] or "auto",
    }
    if "look" in request.POST:
        return _preview_page(request, actor, stored, first_look(stored, options), form)
    try:
        dataset = operations.create_dataset(
            actor=actor,
            upload=stored,
            name=form.cleaned_data["name"],
            idempotency_key=form.cleaned_data["idempotency_key"] or None,
            **options,
        )
    except UserError as error:
        form.add_user_error(error)
        return _preview_page(request, actor, stored, look, form, status=error.status)
    return redirect("datasets:detail", actor.project.slug, dataset.pk)


def _preview_page(
    request: HttpRequest, actor: Actor, stored: Upload, look: FirstLook, form: ImportForm, status: int = 200
) -> HttpResponse:
    context = {"actor": actor, "upload": stored, "look": look, "form": form, "is_table": bool(look.columns)}
    return render(request, "datasets_app/preview.html", context, status=status)
