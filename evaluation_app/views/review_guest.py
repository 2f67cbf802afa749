"""The queue for somebody from outside, at ``/review/<secret>/``: this one review's cases and nothing else of the site."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from accounts_app.views.access import AccessRule
from evaluation_app.choices import ReviewState
from evaluation_app.models import ReviewerLink
from evaluation_app.operations.review_links import note_opened
from evaluation_app.permissions import guest, open_link
from evaluation_app.views.review_queue import Place, judge, keep
from web_kit.htmx import is_htmx

_PRIVATE = {"Cache-Control": "no-store, private", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}


def link_page(*methods: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Whoever holds a link that is neither spent nor withdrawn. The view gets ``(request, link, token)``.

    An unknown secret looks like a page that does not exist. There is no cookie and so nothing to forge: whoever can
    write the address knows the secret.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def checked(request: HttpRequest, token: str) -> HttpResponse:
            method = "GET" if request.method == "HEAD" else str(request.method)
            if method not in methods:
                return HttpResponseNotAllowed(methods)
            opened = open_link(token)
            if opened is None:
                raise Http404("no such link")
            if problem := opened.problem or ("closed" if opened.link.review.state == ReviewState.CLOSED else ""):
                response = _spent(request, problem)
            else:
                response = view(request, opened.link, token)
            for name, value in _PRIVATE.items():
                response[name] = value
            return response

        checked.access_rule = AccessRule("link")  # type: ignore[attr-defined]
        return csrf_exempt(checked)

    return decorate


@link_page("GET", "POST")
def guest_queue(request: HttpRequest, link: ReviewerLink, token: str) -> HttpResponse:
    """The next case, as for members."""
    if link.opened_at is None:
        note_opened(link=link)
    return judge(request, _place(link, token))


@link_page("POST")
def guest_draft(request: HttpRequest, link: ReviewerLink, token: str) -> HttpResponse:
    """Keep what is typed, and the case before this person."""
    return keep(request, _place(link, token))


def _spent(request: HttpRequest, problem: str) -> HttpResponse:
    """The page that says why the link leads nowhere any more. A card that is still open is loaded anew to show it."""
    if is_htmx(request):
        return HttpResponse(headers={"HX-Refresh": "true"})
    context: dict[str, Any] = {"problem": problem, "csrf_token": ""}
    status = 200 if problem == "closed" and request.method == "GET" else 410
    return render(request, "evaluation_app/review_link_spent.html", context, status=status)


def _place(link: ReviewerLink, token: str) -> Place:
    return Place(
        review=link.review,
        rater=guest(link),
        here=reverse("guest_review", args=[token]),
        draft_url=reverse("guest_review_draft", args=[token]),
        template="evaluation_app/review_guest.html",
    )
