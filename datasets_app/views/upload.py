"""From a file on somebody's disk, or on the web, to an import: upload, look, import."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.forms import AddressForm, AppendForm, ImportForm, ReadingForm, UploadForm, guessed_values
from datasets_app.models import Dataset, Source, Upload
from datasets_app.operations.import_settings import import_settings, remembered_options
from datasets_app.operations.uploads import check_size
from datasets_app.queries.arriving import arriving_files
from datasets_app.sniffing import FirstLook, first_look
from finetune_engine.errors import UserError
from web_kit.errors import error_body
from web_kit.htmx import is_htmx
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
            return _gone_to(request, _preview_url(request, actor, stored))
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


@project_page({"POST": Act.TRAIN})
def from_address(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Fetch a file from the web and go on to its preview."""
    form = AddressForm(request.POST)
    if form.is_valid():
        try:
            stored = operations.fetch_upload(actor=actor, url=form.cleaned_data["url"])
            return redirect(_preview_url(request, actor, stored))
        except UserError as error:
            form.add_user_error(error)
            return _upload_page(request, actor, UploadForm(), status=error.status, address=form)
    return _upload_page(request, actor, UploadForm(), status=422, address=form)


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _gone_to(request: HttpRequest, url: str) -> HttpResponse:
    return JsonResponse({"url": url}, status=201) if _wants_json(request) else redirect(url)


def _preview_url(request: HttpRequest, actor: Actor, stored: Upload) -> str:
    url = reverse("datasets:preview", args=[actor.project.slug, stored.pk])
    into = _into(request, actor)
    return f"{url}?into={into.pk}" if into else url


def _into(request: HttpRequest, actor: Actor) -> Dataset | None:
    """The dataset that the file shall be added to; None for a new one. Raises Http404."""
    key = request.GET.get("into", "")
    return fetch(actor, queries.datasets_of(actor.project), pk=key) if key else None


def _upload_page(
    request: HttpRequest, actor: Actor, form: UploadForm, status: int = 200, address: AddressForm | None = None
) -> HttpResponse:
    context = {
        "actor": actor,
        "form": form,
        "address_form": address or AddressForm(),
        "into": _into(request, actor),
        "arriving": arriving_files(actor),
        "max_bytes": settings.MAX_UPLOAD_BYTES,
        "csv_example": CSV_EXAMPLE,
        "jsonl_example": JSONL_EXAMPLE,
    }
    return render(request, "datasets_app/upload.html", context, status=status)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def preview(request: HttpRequest, actor: Actor, upload_id: str) -> HttpResponse:
    """What the file seems to be, with its first rows as the model will see them; POST imports it, or with
    ``look=1`` only looks again with other settings. With ``?into=`` the rows are added to that dataset; with
    ``&number=`` the file is that one of the dataset, and is read in another way."""
    stored = fetch(actor, Upload, pk=upload_id, deleted_at=None)
    into = _into(request, actor)
    page = _Preview(request, actor, stored, into, _source(request, into, stored))
    if request.method != "POST":
        return page.first()
    form = page.form(request.POST)
    if not form.is_valid():
        return page.shown(page.look, form, status=422)
    options = form.reading | {"task_type": form.cleaned_data.get("task_type") or "auto"}
    if "look" in request.POST:
        return page.shown(page.looked(options), form)
    try:
        return page.imported(form, options)
    except UserError as error:
        form.add_user_error(error)
        return page.shown(page.look, form, status=error.status)


def _source(request: HttpRequest, into: Dataset | None, stored: Upload) -> Source | None:
    """The file of the dataset that shall be read in another way; None for a new one. Raises Http404."""
    number = request.GET.get("number", "")
    if into is None or not number:
        return None
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        raise Http404
    return get_object_or_404(Source, dataset=into, number=int(number), upload=stored)


class _Preview:
    """The preview page of one upload: the automatic look, and what follows from it."""

    def __init__(
        self, request: HttpRequest, actor: Actor, stored: Upload, into: Dataset | None, source: Source | None
    ) -> None:
        self.request, self.actor, self.stored, self.into, self.source = request, actor, stored, into, source
        self.cleaning = import_settings(actor.project, {})
        self.look = first_look(stored, self.cleaning)

    def form(self, data: Any = None, **kwargs: Any) -> ReadingForm:
        """The form for a new dataset, or for one more file of a dataset."""
        return (AppendForm if self.into else ImportForm)(data, look=self.look, **kwargs)

    def looked(self, options: dict[str, Any]) -> FirstLook:
        """The look with these settings."""
        return first_look(self.stored, {**self.cleaning, **options})

    def first(self) -> HttpResponse:
        """The page before anything was chosen; an earlier file's choice counts for one with the same columns."""
        if self.source is not None:
            return self._as_read()
        chosen = remembered_options(self.actor.project, self.look.columns)
        values = guessed_values(self.look, self.stored.name, chosen)
        look = self.looked(chosen) if chosen else self.look
        return self.shown(look, self.form(initial=values | {"idempotency_key": new_id()}), remembered=bool(chosen))

    def _as_read(self) -> HttpResponse:
        """The page of a file that is part of a dataset: as it is read now."""
        assert self.source is not None
        chosen = {"format": "auto", "mapping": None, **self.source.options}
        values = guessed_values(self.look, self.stored.name, chosen)
        return self.shown(self.looked(chosen), self.form(initial=values | {"idempotency_key": new_id()}))

    def imported(self, form: ReadingForm, options: dict[str, Any]) -> HttpResponse:
        """Begin the import and go to its page."""
        key = form.cleaned_data["idempotency_key"] or None
        if self.into is None:
            dataset = operations.create_dataset(
                actor=self.actor,
                upload=self.stored,
                name=form.cleaned_data["name"],
                columns=self.look.columns,
                idempotency_key=key,
                **options,
            )
            return redirect("datasets:detail", self.actor.project.slug, dataset.pk)
        if self.source is not None:
            readings = {self.source.number: form.reading}
            operations.recheck_dataset(actor=self.actor, dataset=self.into, readings=readings, idempotency_key=key)
        else:
            operations.append_file(
                actor=self.actor,
                dataset=self.into,
                upload=self.stored,
                columns=self.look.columns,
                idempotency_key=key,
                **form.reading,
            )
        return redirect("datasets:sources", self.actor.project.slug, self.into.pk)

    def shown(self, look: FirstLook, form: ReadingForm, status: int = 200, remembered: bool = False) -> HttpResponse:
        """The page, or for htmx only the part that follows the choices."""
        context = {
            "actor": self.actor,
            "upload": self.stored,
            "into": self.into,
            "source": self.source,
            "look": look,
            "form": form,
            "is_table": bool(self.look.columns),
            "was_remembered": remembered,
            "is_fragment": is_htmx(self.request),
        }
        template = "datasets_app/preview.html" + ("#look" if is_htmx(self.request) else "")
        return render(self.request, template, context, status=status)
