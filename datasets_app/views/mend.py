"""The grid of rejected rows: edit in place, save a row, and it is checked again at once."""

from __future__ import annotations

import csv
import io

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations
from datasets_app.choices import TaskType
from datasets_app.models import Dataset, Example
from datasets_app.operations.mending import NewText, mend_row, mend_rows, summary
from datasets_app.queries.mending import MendRow, mend_page, mend_row_of
from datasets_app.queries.rows import full_rows, visible
from datasets_app.views.ready import is_fragment, page_context, ready_dataset, row_number
from finetune_engine.errors import UserError


@project_page({"GET": Act.VIEW, "POST": Act.REVIEW})
def mend(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The grid; POST with ``act`` save or undo and a ``row``, or paste with ``text``."""
    dataset = ready_dataset(actor, dataset_id)
    if request.method != "POST":
        return _page(request, actor, dataset)
    if request.POST.get("act") == "paste":
        return _paste(request, actor, dataset)
    example = _row(dataset, row_number(request.POST.get("row")))
    if request.POST.get("act") == "undo":
        operations.undo_decision(actor=actor, dataset=dataset, example=example)
        return _answer(request, actor, dataset, _grid_row(dataset, example))
    return _save(request, actor, dataset, example)


def _save(request: HttpRequest, actor: Actor, dataset: Dataset, example: Example) -> HttpResponse:
    prompt, answer = request.POST.get("prompt"), request.POST.get("answer")
    try:
        notes = mend_row(actor=actor, dataset=dataset, example=example, prompt=prompt, answer=answer)
    except UserError as error:
        row = _grid_row(
            dataset, example, prompt=prompt, answer=answer, error=error.sentence, error_field=error.field or ""
        )
        return _answer(request, actor, dataset, row, status=error.status)
    return _answer(request, actor, dataset, _grid_row(dataset, example, notes=notes))


def _paste(request: HttpRequest, actor: Actor, dataset: Dataset) -> HttpResponse:
    after = row_number(request.POST.get("after"))
    try:
        waiting = [row.example.row for row in mend_page(dataset, after).items if not row.is_done]
        results = mend_rows(actor=actor, dataset=dataset, texts=pasted_rows(request.POST.get("text", ""), waiting))
    except UserError as error:
        return _page(request, actor, dataset, after=after, error=error, status=error.status)
    say = messages.warning if any(one.error for one in results) else messages.success
    say(request, summary(results))
    return redirect(_here(actor, dataset, after))


def pasted_rows(text: str, waiting: list[int]) -> list[NewText]:
    """Lines as a spreadsheet copies them: ``input TAB answer``, which fill the rows of ``waiting`` in order, or
    ``row TAB input TAB answer``. Raises UserError for anything else."""
    try:
        lines = [cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter="\t") if any(cells)]
    except csv.Error as error:
        sentence = _("This could not be read as lines of a spreadsheet. Copy the cells again, or fewer of them.")
        raise UserError("bad_paste", sentence, field="text") from error
    if not lines:
        raise UserError("nothing_to_mend", _("Paste some lines first."), field="text")
    if all(len(cells) >= 3 and row_number(cells[0].strip()) for cells in lines):
        return [NewText(row_number(cells[0].strip()), cells[1], cells[2]) for cells in lines]
    if any(len(cells) != 2 for cells in lines):
        raise UserError(
            "bad_paste",
            _("Paste two columns (input and answer), or three (number of the row, input and answer)."),
            field="text",
        )
    if len(lines) > len(waiting):
        raise UserError(
            "too_many_rows",
            _("You pasted %(n)s lines, and %(m)s rows of this page wait. Put the number of the row in a first column.")
            % {"n": len(lines), "m": len(waiting)},
            field="text",
        )
    return [NewText(row, cells[0], cells[1]) for row, cells in zip(waiting, lines, strict=False)]


def _row(dataset: Dataset, number: int) -> Example:
    found = visible(dataset).filter(row=number).first()
    if found is None:
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": number}, status=404)
    return found


def _grid_row(
    dataset: Dataset,
    example: Example,
    *,
    prompt: str | None = None,
    answer: str | None = None,
    error: str = "",
    error_field: str = "",
    notes: list[str] | None = None,
) -> MendRow:
    row = full_rows(dataset, [example])[0]
    return mend_row_of(row, prompt=prompt, answer=answer, error=error, error_field=error_field, notes=notes)


def _here(actor: Actor, dataset: Dataset, after: int, row: int = 0) -> str:
    url = reverse("datasets:mend", args=[actor.project.slug, dataset.pk])
    return f"{url}{f'?after={after}' if after else ''}{f'#row-{row}' if row else ''}"


def _answer(request: HttpRequest, actor: Actor, dataset: Dataset, row: MendRow, status: int = 200) -> HttpResponse:
    """The row alone for htmx; for a plain form the page, by redirect when all went well."""
    after = row_number(request.POST.get("after"))
    if is_fragment(request):
        context = page_context(actor, dataset) | {"row": row, "after": after, "swapped": True} | _labels(dataset)
        return render(request, "datasets_app/_mend_row.html", context, status=422 if status >= 400 else 200)
    if status == 200:
        return redirect(_here(actor, dataset, after, row.example.row))
    return _page(request, actor, dataset, after=after, changed=row, status=status)


def _page(
    request: HttpRequest,
    actor: Actor,
    dataset: Dataset,
    *,
    after: int | None = None,
    changed: MendRow | None = None,
    error: UserError | None = None,
    status: int = 200,
) -> HttpResponse:
    after = row_number(request.GET.get("after")) if after is None else after
    page = mend_page(dataset, after)
    rows = [changed if changed and row.example.pk == changed.example.pk else row for row in page.items]
    context = page_context(actor, dataset) | _labels(dataset)
    context |= {"page": page, "rows": rows, "after": after, "error": error, "pasted": request.POST.get("text", "")}
    return render(request, "datasets_app/mend.html", context, status=status)


def _labels(dataset: Dataset) -> dict[str, object]:
    has_labels = dataset.task_type == TaskType.CLASSIFICATION
    return {"has_labels": has_labels, "known_labels": sorted(dataset.labels)[:200] if has_labels else []}
