"""Rows beside each other: contradictions, near-duplicates, exact repetitions and spellings of labels."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations
from datasets_app.choices import TaskType
from datasets_app.models import Dataset
from datasets_app.operations.contradictions import settle_group, undo_group, undo_spelling, use_spelling
from datasets_app.queries.groups import (
    CONTRADICTION,
    NEAR,
    Group,
    group_at,
    group_page,
    repetitions,
    spelling_variants,
)
from datasets_app.queries.rows import visible
from datasets_app.views.ready import is_fragment, page_context, ready_dataset, row_number
from finetune_engine.errors import UserError

TABS = (
    (CONTRADICTION, gettext_lazy("Contradictions"), "contradiction"),
    (NEAR, gettext_lazy("Almost the same"), "duplicate_near"),
    ("labels", gettext_lazy("Spellings of labels"), "label_variants"),
    ("exact", gettext_lazy("Exact repetitions"), "duplicate_exact"),
)


@project_page({"GET": Act.VIEW, "POST": Act.REVIEW})
def duplicates(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The page of one ``kind``; POST with ``group`` and ``only`` (the row to keep) or ``act`` keep, keep_first,
    keep_all, edit or undo, or with ``found`` and ``act`` spelling or undo_spelling."""
    dataset = ready_dataset(actor, dataset_id)
    kind = _kind(request, dataset)
    if request.method != "POST":
        return _page(request, actor, dataset, kind)
    if "found" in request.POST:
        return _spelling(request, actor, dataset)
    group = group_at(dataset, kind, row_number(request.POST.get("group")))
    error = None
    try:
        _decide(request, actor, dataset, group)
    except UserError as refused:
        error = refused
    group = group_at(dataset, kind, group.anchor)
    if is_fragment(request):
        context = _context(actor, dataset, kind) | {"group": group, "error": error}
        return render(request, "datasets_app/_group.html", context, status=422 if error else 200)
    if error:
        return _page(request, actor, dataset, kind, just=group, error=error)
    return redirect(f"{_url(actor, dataset)}?{_query(request, kind, just=group.anchor)}#group-{group.anchor}")


def _decide(request: HttpRequest, actor: Actor, dataset: Dataset, group: Group) -> None:
    act = request.POST.get("act", "")
    if "only" in request.POST:
        settle_group(actor=actor, dataset=dataset, rows=group.rows, keep={row_number(request.POST["only"])})
    elif act == "undo":
        undo_group(actor=actor, dataset=dataset, rows=group.rows)
    elif act == "edit":
        _edit(request, actor, dataset, group)
    elif act == "keep":
        shown = [member.number for member in group.members]
        wanted = {row_number(text) for text in request.POST.getlist("keep")}
        settle_group(actor=actor, dataset=dataset, rows=shown, keep=wanted)
    elif act in {"keep_first", "keep_all"}:
        settle_group(
            actor=actor, dataset=dataset, rows=group.rows, keep=group.rows[:1] if act == "keep_first" else group.rows
        )
    else:
        raise UserError("unknown_action", _("Rows beside each other are kept, edited, or put back."), field="act")


def _edit(request: HttpRequest, actor: Actor, dataset: Dataset, group: Group) -> None:
    number = row_number(request.POST.get("row"))
    example = visible(dataset).filter(row=number).first() if number in group.rows else None
    if example is None:
        raise UserError("no_such_row", _("This group has no row %(n)s.") % {"n": number}, status=404)
    operations.edit_example(actor=actor, dataset=dataset, example=example, answer=request.POST.get("answer", ""))


def _spelling(request: HttpRequest, actor: Actor, dataset: Dataset) -> HttpResponse:
    change = undo_spelling if request.POST.get("act") == "undo_spelling" else use_spelling
    changed, is_done = change(actor=actor, dataset=dataset, found=request.POST["found"])
    sentence = ngettext("%(n)s row changed.", "%(n)s rows changed.", changed) % {"n": changed}
    if not is_done:
        sentence = f"{sentence} {_('There are more: press the button again.')}"
    messages.success(request, sentence)
    return redirect(f"{_url(actor, dataset)}?kind=labels")


def _kind(request: HttpRequest, dataset: Dataset) -> str:
    wanted = request.POST.get("kind") or request.GET.get("kind", "")
    if wanted in {kind for kind, _title, _code in TABS}:
        return wanted
    return next((kind for kind, _title, code in TABS if dataset.codes.get(code)), CONTRADICTION)


def _url(actor: Actor, dataset: Dataset) -> str:
    return reverse("datasets:duplicates", args=[actor.project.slug, dataset.pk])


def _query(request: HttpRequest, kind: str, just: int) -> str:
    after, everything = row_number(request.POST.get("after")), request.POST.get("all") == "1"
    return f"kind={kind}&after={after}&just={just}{'&all=1' if everything else ''}"


def _context(actor: Actor, dataset: Dataset, kind: str) -> dict[str, Any]:
    has_labels = dataset.task_type == TaskType.CLASSIFICATION
    return page_context(actor, dataset) | {"kind": kind, "has_labels": has_labels}


def _page(
    request: HttpRequest,
    actor: Actor,
    dataset: Dataset,
    kind: str,
    *,
    just: Group | None = None,
    error: UserError | None = None,
) -> HttpResponse:
    asked = request.POST if error else request.GET
    after, everything = row_number(asked.get("after")), asked.get("all") == "1"
    tabs = [
        {"kind": name, "title": title, "count": dataset.codes.get(code, 0)}
        for name, title, code in TABS
        if name != "labels" or dataset.task_type == TaskType.CLASSIFICATION
    ]
    context = _context(actor, dataset, kind) | {"tabs": tabs, "after": after, "all": everything, "error": error}
    if kind in {CONTRADICTION, NEAR}:
        context |= _groups(dataset, kind, after, row_number(asked.get("just")), everything, just)
    elif kind == "labels":
        context["variants"] = spelling_variants(dataset)
    else:
        context["repetitions"], context["next_cursor"] = repetitions(dataset, after)
    if context["has_labels"]:
        context["known_labels"] = sorted(dataset.labels)[:200]
    return render(request, "datasets_app/duplicates.html", context, status=error.status if error else 200)


def _groups(
    dataset: Dataset, kind: str, after: int, just_number: int, everything: bool, just: Group | None
) -> dict[str, Any]:
    """The groups of a page; the one just settled stays on it, so that it can be taken back."""
    page = group_page(dataset, kind, after, with_settled=everything)
    groups = list(page.items)
    shown = {group.anchor for group in groups}
    if just is None and just_number and just_number not in shown:
        try:
            just = group_at(dataset, kind, just_number)
        except UserError:
            just = None
    if just is not None:
        groups = sorted([g for g in groups if g.anchor != just.anchor] + [just], key=lambda group: group.anchor)
    return {"groups": groups, "next_cursor": page.next_cursor}
