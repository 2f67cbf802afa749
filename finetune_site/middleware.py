"""Small things that every answer needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def PrivatePagesMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Pages of signed-in people are stored by no cache on the way."""

    def mark(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if "sessionid" in request.COOKIES or request.headers.get("Authorization"):
            add_never_cache_headers(response)
            response["Cache-Control"] = "no-store, private"
        return response

    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            return mark(request, await get_response(request))

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        return mark(request, get_response(request))

    return answer
