"""Human reviews: the list, starting one, its progress and results, the last word on split cases, links, corrections."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as notices
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app.queries import source_cards
from evaluation_app.choices import Choice, ReviewKind, ReviewState
from evaluation_app.exports.votes import review_json, votes_csv
from evaluation_app.forms.review import ReviewerForm, ReviewForm
from evaluation_app.models import Evaluation, Review, ReviewerLink, ReviewItem
from evaluation_app.operations.review_corrections import ORIGIN_KIND, send_corrections, withdraw_corrections
from evaluation_app.operations.review_links import invite_reviewer, revoke_reviewer
from evaluation_app.operations.reviews import adjudicate, close_review, discard_review, start_review
from evaluation_app.queries import reviews as reads
from evaluation_app.queries.contenders import subject_key
from evaluation_app.queries.review_cases import model_names, review_cases, strata_of
from evaluation_app.queries.review_results import sides_for_decision
from evaluation_app.views.report import kept_blind
from finetune_engine.errors import UserError
from web_kit.ids import new_id
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def listing(request: HttpRequest, actor: Actor) -> HttpResponse:
    """All reviews of the project, newest first."""
    page = paginate(reads.reviews_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {
        "project": actor.project,
        "cards": reads.review_cards(list(page)),
        "page": page,
        "may_review": actor.may(Act.REVIEW),
    }
    return render(request, "evaluation_app/reviews.html", context)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def new(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Start a review of an evaluation's answers."""
    evaluation = fetch(actor, Evaluation.objects.select_related("trained_model"), pk=evaluation_id)
    names, subject = model_names(evaluation), subject_key(evaluation)
    cases = review_cases(evaluation, [subject], subject)
    data = request.POST if request.method == "POST" else None
    once = {"idempotency_key": new_id()}  # so that a double click starts one
    form = ReviewForm(data, models=names, subject=subject, strata=strata_of(cases), initial=once)
    if form.is_bound and form.is_valid():
        try:
            review = start_review(actor=actor, evaluation=evaluation, **form.wishes())
        except UserError as error:
            form.add_user_error(_at_field(error, form))
        else:
            return redirect("evaluation:review", actor.project.slug, review.pk)
    context = {"project": actor.project, "evaluation": evaluation, "form": form, "cases": len(cases)}
    return render(request, "evaluation_app/review_new.html", context, status=422 if form.is_bound else 200)


@project_page({"GET": Act.VIEW})
def review(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """Before closing who has done how much, afterwards what came out."""
    shown = _review(actor, review_id)
    if shown.state == ReviewState.CLOSED and (hidden := shade(request, actor, shown.evaluation)) is not None:
        return hidden  # the same answers are being judged once more
    return _page(request, actor, shown)


@project_page({"POST": Act.TRAIN})
def close(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """End the review and open the names; or (``action`` discard) take one away that nobody has voted in."""
    shown = _review(actor, review_id)
    if request.POST.get("action") == "discard":
        discard_review(actor=actor, review=shown)
        notices.success(request, _("The review is taken away."))
        return redirect("evaluation:reviews", actor.project.slug)
    close_review(actor=actor, review=shown)
    notices.success(request, _("The review is closed. The names of the models are open now."))
    return redirect("evaluation:review", actor.project.slug, shown.pk)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def decide(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """The last word where raters differ, blind like the votes. POST ``item`` and ``choice`` (empty takes it back)."""
    shown = _review(actor, review_id)
    if request.method == "POST":
        item = shown.items.filter(pk=request.POST.get("item", "")).first()
        if item is None:
            raise UserError("no_such_case", _("This review has no such case."), status=404)
        adjudicate(actor=actor, item=item, choice=request.POST.get("choice", ""), note=request.POST.get("note", ""))
        return redirect("evaluation:review_decide", actor.project.slug, shown.pk)
    split = reads.split_items(shown) if shown.state == ReviewState.OPEN else []
    sides = sides_for_decision(shown, split, actor)
    waiting = [item for item in split if not item.decision]
    context = {
        "project": actor.project,
        "review": shown,
        "waiting": len(waiting),
        "decided": [_decided(item, sides[item.pk]) for item in split if item.decision],
        "item": waiting[0] if waiting else None,
        "card": reads.blind_card(waiting[0], sides[waiting[0].pk]) if waiting else None,
    }
    return render(request, "evaluation_app/review_decide.html", context)


@project_page({"POST": Act.OWN})
def invite(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """A link for somebody from outside, shown once on the page that answers."""
    shown = _review(actor, review_id)
    form = ReviewerForm(request.POST)
    if form.is_valid():
        try:
            link, token = invite_reviewer(actor=actor, review=shown, **form.cleaned_data)
        except UserError as error:
            if error.code == "review_closed":
                raise  # there is no form any more to show it in
            form.add_user_error(error)
        else:
            url = request.build_absolute_uri(reverse("guest_review", args=[token]))
            response = _page(request, actor, shown, more={"link_url": url, "link": link})
            response["Cache-Control"] = "no-store, private"
            return response
    return _page(request, actor, shown, more={"reviewer_form": form}, status=422)


@project_page({"POST": Act.OWN})
def revoke(request: HttpRequest, actor: Actor, review_id: str, link_id: str) -> HttpResponse:
    """A link stops working."""
    shown = _review(actor, review_id)
    link = ReviewerLink.objects.select_related("review").filter(review=shown, pk=link_id).first()
    if link is None:
        raise UserError("no_such_link", _("This review has no such link."), status=404)
    revoke_reviewer(actor=actor, link=link)
    notices.success(request, _("The link of %(name)s does not work any more.") % {"name": link.name})
    return redirect("evaluation:review", actor.project.slug, shown.pk)


@project_page({"POST": Act.TRAIN})
def corrections(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """Send the corrections to the data, or (``action`` withdraw) take them out again."""
    shown = _review(actor, review_id)
    if request.POST.get("action") == "withdraw":
        withdraw_corrections(actor=actor, review=shown)
        notices.success(request, _("The corrections are being taken out of the dataset again."))
    else:
        sent = send_corrections(actor=actor, review=shown)
        if sent.added:
            sentence = ngettext(
                "%(n)s correction is on its way to the review queue of the data, where somebody decides on it.",
                "%(n)s corrections are on their way to the review queue of the data, where somebody decides on them.",
                sent.added,
            )
            notices.success(request, sentence % {"n": sent.added})
        else:
            notices.info(request, _("All of them are in the dataset already."))
    return redirect("evaluation:review", actor.project.slug, shown.pk)


@project_page({"GET": Act.VIEW})
def export_csv(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """Every vote of a closed review as a table."""
    shown = _told_apart(actor, review_id)
    return _file(actor, shown, HttpResponse(votes_csv(shown), content_type="text/csv; charset=utf-8"), "csv")


@project_page({"GET": Act.VIEW})
def export_json(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """The results of a closed review with every case and vote."""
    shown = _told_apart(actor, review_id)
    told = JsonResponse(review_json(shown), json_dumps_params={"ensure_ascii": False, "indent": 1})
    return _file(actor, shown, told, "json")


def _file(actor: Actor, shown: Review, response: HttpResponse, ending: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="review-{shown.pk}.{ending}"'
    record(actor=actor, project=actor.project, act="review.download", subject=f"review {shown.pk}")
    return response


def shade(request: HttpRequest, actor: Actor, evaluation: Evaluation) -> HttpResponse | None:
    """The page that stands in for an evaluation's answers before people who judge them blind at this moment; None when
    there is nothing to hide from this person."""
    if not reads.is_kept_blind(actor, evaluation):
        return None
    context = {"project": actor.project, "review": reads.open_review(evaluation)}
    return render(request, "evaluation_app/review_shade.html", context)


def _review(actor: Actor, review_id: str) -> Review:
    rows = Review.objects.select_related("evaluation", "evaluation__snapshot", "evaluation__snapshot__dataset")
    return fetch(actor, rows.select_related("evaluation__trained_model"), pk=review_id)


def _told_apart(actor: Actor, review_id: str) -> Review:
    """The review for a file that tells the models apart. Raises UserError (409) for who judges the same answers blind."""
    shown = _review(actor, review_id)
    if reads.is_kept_blind(actor, shown.evaluation):
        raise kept_blind()
    return shown


def _page(
    request: HttpRequest, actor: Actor, shown: Review, *, more: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    results = reads.review_results(shown)
    is_open = shown.state == ReviewState.OPEN
    may_train = actor.may(Act.TRAIN)
    context: dict[str, Any] = {
        "project": actor.project,
        "review": shown,
        "results": results,
        "is_open": is_open,
        "is_pairs": shown.kind == ReviewKind.PAIRS,
        "wanted": (results.items + results.hardest_items) * results.raters_per_item,
        "may_train": may_train,
        "may_own": actor.may(Act.OWN),
        "may_review": actor.may(Act.REVIEW),
    }
    if is_open and may_train:
        split = reads.split_items(shown)
        context |= {"split": split, "undecided": sum(not item.decision for item in split)}
    if is_open and actor.may(Act.OWN):
        context |= {"reviewer_form": ReviewerForm(), "links": shown.links.order_by("id")}
    if not is_open:
        context |= _closed(shown, results)
    return render(request, "evaluation_app/review.html", context | (more or {}), status=status)


def _closed(shown: Review, results: reads.ReviewResults) -> dict[str, Any]:
    found = reads.corrections_of(shown)
    dataset = shown.evaluation.snapshot.dataset
    cards = [] if dataset.deleted_at else source_cards(dataset)
    origin = (ORIGIN_KIND, shown.pk)
    mine = [card for card in cards if (card.source.origin.get("kind"), card.source.origin.get("id")) == origin]
    names = {model["key"]: model["name"] for model in results.models}
    return {
        "corrections": found,
        "sources": [card for card in mine if card.state != "removed"],
        "dataset": None if dataset.deleted_at else dataset,
        "names": names,
        "subject": results.models[0]["name"] if results.models else "",
        "other": results.models[1]["name"] if len(results.models) > 1 else "",
        "decisions": [
            (item, names.get(item.decision) or str(Choice(item.decision).label))
            for item in shown.items.exclude(decision="").select_related("decided_by")
        ],
    }


def _decided(item: ReviewItem, sides: tuple[str, str]) -> tuple[ReviewItem, str]:
    """A decided case with the words of what was decided, on the sides that this person sees."""
    left, right = sides
    words = {left: _("Answer 1 is better"), right: _("Answer 2 is better")}
    return item, words.get(item.decision) or str(Choice(item.decision).label)


def _at_field(error: UserError, form: ReviewForm) -> UserError:
    """The form has two fields for the models."""
    if error.field == "keys":
        return UserError(error.code, error.sentence, field="second", status=error.status)
    return error
