"""The review queue of a dataset: one card at a time, decided by single keys or buttons."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as notices
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import SPLITS, Status, TaskType, code_title
from datasets_app.models import Dataset
from datasets_app.operations import review as queue
from datasets_app.operations.review import Taken
from datasets_app.queries import edits
from datasets_app.queries import review as reads
from datasets_app.queries.review import DEFAULT_FILTERS, Card, NextRow
from datasets_app.queries.rows import ExampleRow, RowFilters, full_rows, visible
from datasets_app.views.ready import is_fragment, page_context, ready_dataset, row_number
from datasets_app.views.rows import filter_query
from finetune_engine.errors import UserError

_NAMES = ("status", "code", "label", "split", "q", "assigned")


def review_filters(request: HttpRequest, actor: Actor) -> RowFilters:
    """The filters in the address; rows that need review when there are none. ``assigned=me`` are the person's own."""
    values = {name: request.GET.get(name, "") for name in _NAMES}
    if not any(name in request.GET for name in _NAMES):
        return DEFAULT_FILTERS
    if values["assigned"] == "me":
        values["assigned"] = actor.user.pk if actor.user else ""
    return RowFilters.checked(**values)


@project_page({"GET": Act.VIEW, "POST": Act.REVIEW})
def review(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The queue. POST ``action`` accept, reject, edit, skip, check or undo for ``row`` and gives the next card."""
    dataset = ready_dataset(actor, dataset_id)
    filters = review_filters(request, actor)
    if request.method != "POST":
        return _page(request, actor, dataset, filters)
    action, row = request.POST.get("action", ""), row_number(request.POST.get("row"))
    try:
        if action in {"undo", "skip"} and row:
            _keep_typed(request, actor, dataset, row)
        if action == "undo":
            undone = queue.undo_last(actor=actor, dataset=dataset)
            said = _("Row %(n)s is as it was before.") % {"n": undone.row}
            return _answer(request, actor, dataset, filters, said=said, row=undone.row)
        if action == "skip":
            queue.skip_example(actor=actor, dataset=dataset, row=row, lead_seconds=_lead(request, dataset, actor, row))
            return _answer(request, actor, dataset, filters, said=_("Row %(n)s is left for later.") % {"n": row})
        return _decide(request, actor, dataset, filters, row)
    except UserError as error:
        if error.status == 422:
            return _page(request, actor, dataset, filters, row=row, error=error.sentence, status=422)
        if action == "edit":
            _keep_typed(request, actor, dataset, row)
        return _answer(request, actor, dataset, filters, problem=error.sentence)


def _decide(request: HttpRequest, actor: Actor, dataset: Dataset, filters: RowFilters, row: int) -> HttpResponse:
    action = request.POST.get("action", "")
    shown = _row(dataset, row)
    before = edits.editable(shown)
    typed = edits.typed_messages(before, request.POST)
    lead = _lead(request, dataset, actor, row)
    if action in {"edit", "check"}:
        check = edits.check_edit(dataset, shown, typed)
        if action == "check" or check.refusal or (check.noted and check.seen != request.POST.get("seen")):
            queue.save_draft(actor=actor, dataset=dataset, row=row, messages=typed)
            return _page(
                request, actor, dataset, filters, row=row, check=check, status=200 if action == "check" else 422
            )
        operations.edit_example(
            actor=actor, dataset=dataset, example=shown.example, messages=typed, lead_seconds=lead, only_undecided=True
        )
    else:
        if action == "accept" and typed != before and request.POST.get("discard") != "1":
            queue.save_draft(actor=actor, dataset=dataset, row=row, messages=typed)
            sentence = _("You changed the text and have not saved it. Save it, or take the change back first.")
            return _page(request, actor, dataset, filters, row=row, error=sentence, status=422)
        operations.decide_example(
            actor=actor, dataset=dataset, example=shown.example, action=action, lead_seconds=lead, only_undecided=True
        )
    done = shown.example.get_status_display() if action != "edit" else _("edited and accepted")
    return _answer(request, actor, dataset, filters, said=_("Row %(n)s: %(done)s.") % {"n": row, "done": done})


def _row(dataset: Dataset, number: int) -> ExampleRow:
    found = visible(dataset).filter(row=number).first()
    if found is None:
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": number}, status=404)
    return full_rows(dataset, [found])[0]


def _lead(request: HttpRequest, dataset: Dataset, actor: Actor, row: int) -> float | None:
    """Seconds that the card was looked at: as the page measured them, else since it was given out."""
    try:
        return float(request.POST.get("lead_seconds") or "")
    except ValueError:
        return queue.seconds_held(actor=actor, dataset=dataset, row=row)


def _keep_typed(request: HttpRequest, actor: Actor, dataset: Dataset, row: int) -> None:
    """What was typed into a card that is left is not lost."""
    before = edits.editable(_row(dataset, row))
    typed = edits.typed_messages(before, request.POST)
    if typed != before:
        queue.save_draft(actor=actor, dataset=dataset, row=row, messages=typed)


def _answer(
    request: HttpRequest,
    actor: Actor,
    dataset: Dataset,
    filters: RowFilters,
    *,
    said: str = "",
    problem: str = "",
    row: int | None = None,
) -> HttpResponse:
    """The next card for htmx; a browser without scripts is sent to it."""
    if is_fragment(request):
        return _page(request, actor, dataset, filters, said=said, problem=problem, row=row)
    if said or problem:
        (notices.success if said else notices.warning)(request, said or problem)
    query = filter_query(filters) if filters != DEFAULT_FILTERS else ""
    here = reverse("datasets:review", args=[actor.project.slug, dataset.pk])
    return redirect(f"{here}?{query}" if query else here)


def _page(
    request: HttpRequest,
    actor: Actor,
    dataset: Dataset,
    filters: RowFilters,
    *,
    row: int | None = None,
    check: edits.EditCheck | None = None,
    said: str = "",
    problem: str = "",
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    taken = _taken(request, actor, dataset, filters, row)
    if taken and request.method == "GET" and _begins_again(taken) and not is_fragment(request):
        return redirect(f"{request.path}?{filter_query(filters)}&after=0&round=1")
    standing = taken.standing if taken else reads.Standing()
    card = taken.card if taken else None
    context = page_context(actor, dataset) | {
        "filters": filters,
        "is_default": filters == DEFAULT_FILTERS,
        "filter_query": "" if filters == DEFAULT_FILTERS else filter_query(filters),
        "kinds": queries.finding_kinds(dataset),
        "statuses": Status,
        "splits": SPLITS if (dataset.mapping or {}).get("split") else (),
        "labels": sorted(dataset.labels)[:200],
        "code_title": code_title(filters.code) if filters.code else "",
        "is_mine": bool(filters.assigned),
        "card": card,
        "found": taken.found if taken else NextRow(None),
        "progress": reads.progress(
            dataset,
            card.sums if card else reads.sums_of(dataset, actor.user),
            median_seconds=standing.median_seconds,
            assigned=card.assigned_left if card else 0,
        ),
        "keep_seconds": int(queue.LOCK_SECONDS / 4) or 1,
        "said": said,
        "problem": problem,
        "error": error,
    }
    if card is not None:
        context |= _card_context(request, dataset, card, check)
    template = "datasets_app/review.html#review" if is_fragment(request) else "datasets_app/review.html"
    return render(request, template, context, status=status)


def _taken(request: HttpRequest, actor: Actor, dataset: Dataset, filters: RowFilters, row: int | None) -> Taken | None:
    if not actor.may(Act.REVIEW) or actor.user is None:
        return None
    if row:
        card = queue.take_row(actor=actor, dataset=dataset, row=row)
        if card is not None:
            return Taken(card, NextRow(row), reads.standing(dataset, actor.user))
    after = request.GET.get("after")
    return queue.take_next(
        actor=actor,
        dataset=dataset,
        filters=filters,
        after=row_number(after) if after and request.method == "GET" else None,
        came_round=request.GET.get("round") == "1",
        looks=1 if request.method == "GET" else reads.MOST_LOOKS,
    )


def _begins_again(taken: Taken) -> bool:
    """Whether the search passed the last row and goes on at the first: in a request of its own, to stay quick."""
    return taken.card is None and taken.found.came_round and taken.found.searched_to == 0


def _card_context(request: HttpRequest, dataset: Dataset, card: Card, check: edits.EditCheck | None) -> dict[str, Any]:
    base = edits.editable(card.row)
    is_posted = row_number(request.POST.get("row")) == card.row.example.row
    typed = edits.typed_messages(base, request.POST) if is_posted else card.draft or base
    if len(typed) != len(base):  # a draft of a text that was edited since
        typed = base
    is_changed = typed != base
    return {
        "row": card.row,
        "bubbles": edits.conversation(dataset, card.row),
        "worse": edits.worse_answer(dataset, card.row),
        "related": [(other, edits.bubbles(dataset, other.messages)) for other in card.related],
        "fields": edits.edit_fields(dataset, typed),
        "has_draft": is_changed and not is_posted,
        "is_editing": is_changed or check is not None or not card.row.messages,
        "check": check or (edits.check_edit(dataset, card.row, typed) if is_changed else None),
        "edited": edits.changed_texts(dataset, card.row.text.messages, card.row.messages)
        if card.row.example.edited_messages is not None
        else [],
        "is_classification": dataset.task_type == TaskType.CLASSIFICATION,
    }


@project_page({"POST": Act.REVIEW})
def draft(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Keep what is being typed into ``row``; answers with what it changes and what speaks against it."""
    dataset = ready_dataset(actor, dataset_id)
    row = row_number(request.POST.get("row"))
    shown = _row(dataset, row)
    before = edits.editable(shown)
    typed = edits.typed_messages(before, request.POST)
    is_changed = typed != before
    if is_changed:
        queue.save_draft(actor=actor, dataset=dataset, row=row, messages=typed)
    else:
        queue.discard_draft(actor=actor, dataset=dataset, row=row)
    is_held = queue.keep_row(actor=actor, dataset=dataset, row=row)
    check = edits.check_edit(dataset, shown, typed) if is_changed else None
    context = {"check": check, "saved": is_changed, "is_held": is_held}
    return render(request, "datasets_app/review.html#edit-check", context)


@project_page({"POST": Act.REVIEW})
def keep(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The card of ``row`` is still open (``release=1``: is closed). Answers ``{"held": true}`` while it is theirs."""
    dataset = ready_dataset(actor, dataset_id)
    row = row_number(request.POST.get("row"))
    if request.POST.get("release") == "1":
        queue.release_row(actor=actor, dataset=dataset, row=row)
        return JsonResponse({"held": False})
    if not visible(dataset).filter(row=row).exists():
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": row}, status=404)
    return JsonResponse({"held": queue.keep_row(actor=actor, dataset=dataset, row=row)})


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def assign(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Give rows to people, evenly; or take them back (``unassign`` a person's id, or ``all``)."""
    dataset = ready_dataset(actor, dataset_id)
    filters = review_filters(request, actor)
    people = reads.reviewers(dataset)
    error = None
    if request.method == "POST":
        try:
            _assign(request, actor, dataset, filters, people)
            return redirect(request.get_full_path())
        except UserError as caught:
            error = caught
    context = page_context(actor, dataset) | {
        "filters": filters,
        "filter_query": filter_query(filters),
        "people": people,
        "counted_to": reads.COUNTED_TO,
        "error": error,
        "typed_count": request.POST.get("count", "100"),
        "chosen": request.POST.getlist("people"),
        "code_title": code_title(filters.code) if filters.code else "",
    }
    return render(request, "datasets_app/review_assign.html", context, status=error.status if error else 200)


def _assign(
    request: HttpRequest, actor: Actor, dataset: Dataset, filters: RowFilters, people: list[reads.ReviewerShare]
) -> None:
    by_id = {share.user.pk: share.user for share in people}
    if back := request.POST.get("unassign"):
        person = None if back == "all" else by_id.get(back)
        if back != "all" and person is None:
            raise UserError("unknown_person", _("This person is not in the project."), field="unassign")
        moved = queue.unassign_rows(actor=actor, dataset=dataset, person=person)
        notices.success(request, ngettext("%(n)s row taken back.", "%(n)s rows taken back.", moved) % {"n": moved})
        return
    chosen = [by_id[pk] for pk in dict.fromkeys(request.POST.getlist("people")) if pk in by_id]
    count = row_number(request.POST.get("count"))
    shares = queue.assign_rows(actor=actor, dataset=dataset, filters=filters, people=chosen, count=count)
    given = sum(shares.values())
    if given:
        sentence = ngettext("%(n)s row given out.", "%(n)s rows given out.", given) % {"n": given}
        notices.success(request, sentence)
    else:
        notices.info(request, _("No row was given out: each that fits is decided, or given to somebody already."))
