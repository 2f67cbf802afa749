"""Errors as answers: a page or fragment for people, JSON in OpenAI's shape for programs.

What a person can mend (``UserError``) is shown as it is and not logged as an error. Everything else is left to
Django, except that programs get JSON instead of an HTML page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import loader
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from web_kit.htmx import is_htmx

OPENAI_PREFIX = "/v1"
API_PREFIXES = ("/api", OPENAI_PREFIX, "/predict")


def is_api_path(path: str) -> bool:
    """True for addresses that programs call: ``/api/...``, ``/v1/...`` and ``/predict``."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in API_PREFIXES)


def is_openai_path(path: str) -> bool:
    """True for the OpenAI-compatible face, where a bad request is 400, never 422."""
    return path == OPENAI_PREFIX or path.startswith(f"{OPENAI_PREFIX}/")


def error_type(status: int) -> str:
    """OpenAI's ``type`` for an HTTP status."""
    special = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return special.get(status, "invalid_request_error" if status < 500 else "server_error")


def error_body(
    status: int, message: str, *, code: str | None = None, param: str | None = None, place: dict[str, Any] | None = None
) -> dict[str, Any]:
    """``{"error": {"message", "type", "param", "code", ...}}``; ``place`` adds file, row, column and the like."""
    shape = {"message": message, "type": error_type(status), "param": param, "code": code}
    return {"error": shape | (place or {})}


def json_error(request: HttpRequest, error: UserError) -> JsonResponse:
    """The answer to a program for ``error``. Also fit as an exception handler of django-ninja."""
    status = 400 if error.status == 422 and is_openai_path(request.path) else error.status
    body = error_body(status, error.sentence, code=error.code, param=error.field, place=error.place.as_dict())
    return JsonResponse(body, status=status, json_dumps_params={"ensure_ascii": False})


def page_error(request: HttpRequest, error: UserError) -> HttpResponse:
    """The answer to a person: a notice for htmx (shown in ``#toasts``), else a whole page with the way back."""
    if is_htmx(request):
        response = render(request, "web_kit/_user_error.html", {"error": error}, status=error.status)
        response["HX-Retarget"] = "#toasts"
        response["HX-Reswap"] = "beforeend"
        return response
    context = {"error": error, "back_url": _way_back(request)}
    return render(request, "web_kit/user_error.html", context, status=error.status)


def _way_back(request: HttpRequest) -> str:
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    return referer if is_ours else "/"


def answer_to(request: HttpRequest, exception: Exception) -> HttpResponse | None:
    """The response for ``exception``, or None when Django's own handling is right."""
    if isinstance(exception, UserError):
        return json_error(request, exception) if is_api_path(request.path) else page_error(request, exception)
    if not is_api_path(request.path):
        return None
    if isinstance(exception, Http404):
        return _plain_json(404)
    if isinstance(exception, PermissionDenied):
        return _plain_json(403)
    if isinstance(exception, BadRequest | SuspiciousOperation):
        return _plain_json(400)
    return None


def _plain_json(status: int) -> JsonResponse:
    return JsonResponse(_plain_body(status), status=status)


def _plain_body(status: int) -> dict[str, Any]:
    sentences = {
        400: ("bad_request", _("The request could not be read.")),
        401: ("invalid_api_key", _("A valid API key is needed: Authorization: Bearer tsk_...")),
        403: ("forbidden", _("This key or person may not do that.")),
        404: ("not_found", _("There is nothing at this address, or it belongs to another project.")),
        405: ("method_not_allowed", _("This address does not accept this method.")),
        413: ("too_large", _("The request is larger than the server accepts.")),
        429: ("too_many_requests", _("Too many requests. Wait a moment, then try again.")),
    }
    code, sentence = sentences.get(
        status,
        ("server_error", _("The server failed. Nothing is known to be wrong with your request."))
        if status >= 500
        else ("bad_request", _("The request could not be carried out.")),
    )
    return error_body(status, sentence, code=code)


def as_json_for_programs(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """HTML error pages on API addresses (unknown route, CSRF, wrong method, crash) become JSON; others pass."""
    if response.status_code < 400 or not is_api_path(request.path) or not isinstance(response, HttpResponse):
        return response
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return response
    response.content = json.dumps(_plain_body(response.status_code)).encode()
    response["Content-Type"] = "application/json"
    if "Content-Length" in response:
        response["Content-Length"] = str(len(response.content))
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``."""
    return _plain_json(400) if is_api_path(request.path) else render(request, "400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler403``."""
    return _plain_json(403) if is_api_path(request.path) else render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler404``."""
    return _plain_json(404) if is_api_path(request.path) else render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``: asks nothing of the database or the session, which may be what failed."""
    if is_api_path(request.path):
        return _plain_json(500)
    return HttpResponse(loader.render_to_string("500.html"), status=500)


class UserErrorMiddleware:
    """Turns errors that views raise into answers. Works in sync and async stacks without a thread switch."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The response, with JSON in place of HTML error pages for programs."""
        if self.is_async:
            return self._call_async(request)
        return as_json_for_programs(request, self.get_response(request))

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        return as_json_for_programs(request, await self.get_response(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Called by Django when a view raises."""
        return answer_to(request, exception)
