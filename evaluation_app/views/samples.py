"""The single answers of an evaluation: filtered, page by page, and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app.exports.cells import guarded
from datasets_app.streaming import attachment
from evaluation_app.choices import SAMPLES_PER_PAGE
from evaluation_app.models import Evaluation
from evaluation_app.queries import sample_rows
from evaluation_app.queries.contenders import contender_cards
from evaluation_app.queries.reviews import open_review
from evaluation_app.queries.sample_choices import sample_choices
from evaluation_app.queries.sample_filter import SampleFilter, filter_of
from evaluation_app.queries.samples import SampleRow, iter_samples
from evaluation_app.views.reviews import shade
from finetune_engine.errors import UserError


@project_page({"GET": Act.VIEW})
def samples(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Every case with all answers."""
    evaluation = _evaluation(actor, evaluation_id)
    if (hidden := shade(request, actor, evaluation)) is not None:
        return hidden
    chosen = filter_of(request.GET.dict())
    rows, following = sample_rows(evaluation, read_cursor(request.GET.get("cursor")), SAMPLES_PER_PAGE, chosen=chosen)
    context = {
        "project": actor.project,
        "evaluation": evaluation,
        "rows": rows,
        "following": following,
        "chosen": chosen,
        "choices": sample_choices(evaluation, chosen),
        "models": contender_cards(evaluation),
        "may_keep": actor.may(Act.REVIEW),
        "blind_review": open_review(evaluation),
        "is_whole": not chosen and not request.GET.get("cursor"),
    }
    return render(request, "evaluation_app/samples.html", context)


@project_page({"GET": Act.VIEW})
def samples_csv(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponseBase:
    """The same cases, with the same filters, as a table for a spreadsheet."""
    evaluation = _evaluation(actor, evaluation_id)
    if (hidden := shade(request, actor, evaluation)) is not None:
        return hidden
    lines = csv_lines(evaluation, filter_of(request.GET.dict()))
    name = f"answers-{evaluation.pk}.csv"
    return attachment(request, lines, name=name, content_type="text/csv; charset=utf-8")


def csv_lines(evaluation: Evaluation, chosen: SampleFilter) -> Iterator[bytes]:
    """One line per case, an answer and a verdict for each model. Begins with the mark that tells spreadsheets UTF-8. Raises
    UserError at once for a filter that cannot be meant: in the midst of a download nobody could be told."""
    return _lines(iter_samples(evaluation, chosen=chosen), [card.name for card in contender_cards(evaluation)])


def _lines(rows: Iterator[SampleRow], names: list[str]) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    out.write("\ufeff")
    is_begun = False
    for row in rows:
        if not is_begun:
            is_begun, names = True, [one.name for one in row.answers]
            writer.writerow(_head(names))
        cells: list[object] = [row.row, guarded(row.prompt), guarded(row.reference), guarded(row.label or "")]
        for one in row.answers:
            cells += [guarded(one.answer or ""), "" if one.correct is None else int(one.correct)]
        cells.append(guarded("; ".join(f"{name}={value}" for name, value in row.metadata.items())))
        writer.writerow(cells)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    if not is_begun:
        writer.writerow(_head(names))
        yield out.getvalue().encode()


def _head(names: list[str]) -> list[str]:
    told = [part for name in names for part in (name, f"{name}: right")]
    return [guarded(cell) for cell in ("row", "asked", "expected", "label", *told, "metadata")]


def _evaluation(actor: Actor, evaluation_id: str) -> Evaluation:
    rows = Evaluation.objects.select_related("work", "trained_model").prefetch_related("contenders")
    return fetch(actor, rows, pk=evaluation_id)


def read_cursor(text: str | None) -> int | None:
    """A row number from the address; None for the beginning. Raises UserError for anything else."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        sentence = _("This page marker is not valid. Start again from the first page.")
        raise UserError("bad_cursor", sentence, "cursor", status=400)
    return int(text)
