"""A model's archive, as it is sent."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.text import slugify

from accounts_app.permissions import Actor
from datasets_app.streaming import attachment, stored_parts
from serving_app.models import ModelExport
from serving_app.operations.exports import record_download


def archive_download(request: HttpRequest, actor: Actor, export: ModelExport) -> HttpResponseBase:
    """The archive as a zip named after its model, once its audit entry stands. Raises Http404 while there is none."""
    if not export.storage_name:
        raise Http404("no archive")
    record_download(actor=actor, export=export)
    name = f"{slugify(export.trained_model.name) or 'model'}-{export.kind}-{export.pk[-6:]}.zip"
    return attachment(request, stored_parts(export.storage_name), name=name, content_type="application/zip")
