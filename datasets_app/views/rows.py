"""The rows of a dataset: the list with its filters, one row in full, decisions, and the rejected ones as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import SPLITS, TaskType, code_title
from datasets_app.exports.cells import guarded
from datasets_app.models import BulkAct, Dataset, Example
from datasets_app.queries import edits
from datasets_app.queries.review import recent_bulk_acts
from datasets_app.queries.rows import WIDE_WINDOW, ExampleRow, RowFilters, full_rows, visible
from datasets_app.streaming import attachment
from datasets_app.views.ready import ready_dataset, row_number
from finetune_engine.errors import UserError
from web_kit.htmx import is_htmx

FILTERS = ("status", "code", "split", "q", "label", "assigned")
BULK_SECONDS = 8.0  # so long a page may work on many rows; then it shows how far it is and goes on


def filters_of(request: HttpRequest) -> RowFilters:
    """The filters in the address. Raises UserError for a status or split that does not exist."""
    return RowFilters.checked(**{name: request.GET.get(name, "") for name in FILTERS})


def filter_query(filters: RowFilters) -> str:
    """The filters as a query string, without the empty ones."""
    return urlencode({name: value for name, value in vars(filters).items() if value})


@project_page({"GET": Act.VIEW})
def examples(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The rows, filtered."""
    dataset = ready_dataset(actor, dataset_id)
    filters = filters_of(request)
    goes_on = is_htmx(request) and bool(request.GET.get("after"))
    window = WIDE_WINDOW if goes_on else None
    rows = queries.example_rows(dataset, row_number(request.GET.get("after")), filters, window=window)
    card = queries.dataset_card(dataset)
    context = {
        "actor": actor,
        "dataset": dataset,
        "card": card,
        "rows": rows,
        "filters": filters,
        "filter_query": filter_query(filters),
        "after": row_number(request.GET.get("after")),
        "code_title": code_title(filters.code) if filters.code else "",
        "may_review": actor.may(Act.REVIEW),
        "labels": sorted(dataset.labels)[:200],
        "bulk_acts": recent_bulk_acts(dataset) if actor.may(Act.REVIEW) else [],
        "goes_on": goes_on,
        "going": request.GET.get("going", ""),
        "how_many": _how_many(dataset, filters),
        "has_splits": bool((dataset.mapping or {}).get("split")),
        "splits": SPLITS,
    }
    template = "datasets_app/examples.html#found" if goes_on else "datasets_app/examples.html"
    return render(request, template, context)


def _how_many(dataset: Dataset, filters: RowFilters) -> int | None:
    """How many rows a filter leaves, where a counter knows; None where only counting would tell."""
    if list(filters.as_dict()) == ["status"]:
        return int(getattr(dataset, filters.status))
    return None


def _row(dataset: Dataset, number: int) -> ExampleRow:
    found = visible(dataset).select_related("decided_by").filter(row=number).first()
    if found is None:
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": number}, status=404)
    return full_rows(dataset, [found])[0]


@project_page({"GET": Act.VIEW, "POST": Act.REVIEW})
def example(request: HttpRequest, actor: Actor, dataset_id: str, row: int) -> HttpResponse:
    """One row; POST decides on it (``action`` accept, reject, edit, undo)."""
    dataset = ready_dataset(actor, dataset_id)
    shown = _row(dataset, row)
    if request.method == "POST":
        try:
            return _decide(request, actor, dataset, shown.example)
        except UserError as error:
            return _example_page(request, actor, dataset, shown, error)
    return _example_page(request, actor, dataset, shown)


def _decide(request: HttpRequest, actor: Actor, dataset: Dataset, row: Example) -> HttpResponse:
    action = request.POST.get("action", "")
    if action == "edit":
        operations.edit_example(
            actor=actor,
            dataset=dataset,
            example=row,
            prompt=request.POST.get("prompt"),
            answer=request.POST.get("answer"),
        )
    elif action == "undo":
        operations.undo_decision(actor=actor, dataset=dataset, example=row)
    else:
        operations.decide_example(actor=actor, dataset=dataset, example=row, action=action)
    filters = filters_of(request)
    here = reverse("datasets:example", args=[actor.project.slug, dataset.pk, row.row])
    following = queries.neighbours(dataset, row.row, filters) if filters.any and action != "undo" else None
    if following is not None:
        messages.success(request, _("Row %(n)s: %(done)s.") % {"n": row.row, "done": row.get_decision_display()})
        here = reverse("datasets:example", args=[actor.project.slug, dataset.pk, following])
    query = filter_query(filters)
    return redirect(f"{here}?{query}" if query else here)


def _example_page(
    request: HttpRequest, actor: Actor, dataset: Dataset, row: ExampleRow, error: UserError | None = None
) -> HttpResponse:
    filters = filters_of(request)
    context = {
        "actor": actor,
        "dataset": dataset,
        "row": row,
        "bubbles": edits.conversation(dataset, row),
        "worse": edits.worse_answer(dataset, row),
        "edited": edits.changed_texts(dataset, row.text.messages, row.messages) if row.is_edited else [],
        "error": error,
        "typed_prompt": request.POST.get("prompt", row.prompt),
        "typed_answer": request.POST.get("answer", row.answer),
        "filters": filters,
        "filter_query": filter_query(filters),
        "next_row": queries.neighbours(dataset, row.example.row, filters),
        "may_review": actor.may(Act.REVIEW),
        "known_labels": sorted(dataset.labels)[:200] if dataset.task_type == TaskType.CLASSIFICATION else [],
    }
    return render(request, "datasets_app/example.html", context, status=error.status if error else 200)


@project_page({"POST": Act.REVIEW})
def findings(request: HttpRequest, actor: Actor, dataset_id: str, code: str) -> HttpResponse:
    """Accept or reject all undecided rows with one finding."""
    dataset = ready_dataset(actor, dataset_id)
    filters = RowFilters.checked(code=code, status=request.POST.get("status", ""))
    return _decide_many(request, actor, dataset, filters)


@project_page({"POST": Act.REVIEW})
def bulk(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Accept or reject (``action``) all undecided rows of the filters, which come as fields."""
    dataset = ready_dataset(actor, dataset_id)
    filters = RowFilters.checked(**{name: request.POST.get(name, "") for name in FILTERS})
    return _decide_many(request, actor, dataset, filters)


@project_page({"POST": Act.REVIEW})
def bulk_act(request: HttpRequest, actor: Actor, dataset_id: str, bulk_id: int) -> HttpResponse:
    """Go on with an act on many rows (``action=continue``), or take it back (``undo``)."""
    dataset = ready_dataset(actor, dataset_id)
    act = BulkAct.objects.filter(dataset=dataset, pk=bulk_id).first()
    if act is None:
        raise UserError("no_such_act", _("There is no such act on many rows."), status=404)
    if request.POST.get("action") != "undo":
        return _decide_many(request, actor, dataset, RowFilters.checked(**act.filters), act)
    back = operations.undo_bulk(actor=actor, bulk=act, seconds=BULK_SECONDS)
    text = ngettext("%(n)s row is as it was before.", "%(n)s rows are as they were before.", back) % {"n": back}
    if act.undone_at is None:
        text += " " + _("There are more: undo once more to go on.")
    elif act.rows:
        one = "%(n)s row stays as it is, because somebody has decided on it since."
        many = "%(n)s rows stay as they are, because somebody has decided on them since."
        text += " " + ngettext(one, many, act.rows) % {"n": act.rows}
    messages.success(request, text)
    going = f"undo-{act.pk}" if act.undone_at is None else ""
    return _to_rows(actor, dataset, RowFilters.checked(**act.filters), going)


def _decide_many(
    request: HttpRequest, actor: Actor, dataset: Dataset, filters: RowFilters, act: BulkAct | None = None
) -> HttpResponse:
    action = act.action if act else request.POST.get("action", "")
    act = operations.decide_rows(
        actor=actor, dataset=dataset, filters=filters, action=action, seconds=BULK_SECONDS, bulk=act
    )
    if act.reached_row is not None:
        text = _("%(n)s rows changed so far. There are more: press “Go on”.") % {"n": act.rows}
        messages.info(request, text)
    elif act.rows:
        messages.success(request, ngettext("%(n)s row changed.", "%(n)s rows changed.", act.rows) % {"n": act.rows})
    else:
        messages.info(request, _("No row changed: each is decided already, or has nothing that could be accepted."))
    return _to_rows(actor, dataset, filters, f"continue-{act.pk}" if act.reached_row is not None else "")


def _to_rows(actor: Actor, dataset: Dataset, filters: RowFilters, going: str = "") -> HttpResponse:
    """Back to the list; ``going`` is a long act that the page goes on with by itself."""
    url = reverse("datasets:examples", args=[actor.project.slug, dataset.pk])
    query = "&".join(part for part in (filter_query(filters), going and f"going={going}") if part)
    return redirect(f"{url}?{query}" if query else url)


@project_page({"GET": Act.VIEW})
def rejected(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponseBase:
    """The rejected rows with their reasons, as CSV."""
    dataset = ready_dataset(actor, dataset_id)
    operations.record_download(actor=actor, act="dataset.download_rejected", subject=f"dataset {dataset.pk}")
    return rejected_csv(request, dataset)


def rejected_csv(request: HttpRequest, dataset: Dataset) -> HttpResponseBase:
    """``row,line,reasons,codes,input,answer,original`` of every rejected row, written while it is read."""
    name = f"rejected-{dataset.pk}.csv"
    return attachment(request, _csv_lines(dataset), name=name, content_type="text/csv; charset=utf-8")


def _csv_lines(dataset: Dataset) -> Iterator[bytes]:
    def line(cells: list[object]) -> bytes:
        out = io.StringIO()
        csv.writer(out).writerow(cells)
        return out.getvalue().encode()

    yield "\N{BYTE ORDER MARK}".encode() + line(["row", "line", "reasons", "codes", "input", "answer", "original"])
    for row, reasons in queries.rejected_rows(dataset):
        cells = [reasons, " ".join(row.example.codes), row.prompt, row.answer, row.text.original]
        yield line([row.example.row, row.text.line or "", *map(guarded, cells)])
