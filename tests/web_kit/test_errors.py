"""Errors become a page, a fragment or JSON, by who asks."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseNotAllowed
from django.test import AsyncClient, Client
from django.urls import path

from finetune_engine.errors import Place, UserError


def mistaken(request):
    place = Place(file="claims.csv", row=12, column="answer", found="<script>alert(1)</script>", fix="Fill it in.")
    raise UserError("empty_answer", "Row 12 has <b>no</b> answer.", "file", place=place)


def busy(request):
    raise UserError("too_many_jobs", "Three jobs are waiting already.", status=429)


def missing(request):
    raise Http404


def forbidden(request):
    raise PermissionDenied


def crash(request):
    raise ZeroDivisionError


def fine(request):
    return HttpResponse("ok")


def only_post(request):
    return HttpResponseNotAllowed(["POST"])


async def mistaken_later(request):
    raise UserError("late", "Too late.")


_views = {
    "mistaken": mistaken,
    "busy": busy,
    "missing": missing,
    "forbidden": forbidden,
    "crash": crash,
    "fine": fine,
    "only-post": only_post,
    "later": mistaken_later,
}
urlpatterns = [path(f"{prefix}{name}", view) for prefix in ("", "v1/", "api/v1/") for name, view in _views.items()]
urlpatterns.append(path("predict", mistaken))
handler403 = "web_kit.errors.permission_denied"
handler404 = "web_kit.errors.not_found"
handler500 = "web_kit.errors.server_error"
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


def test_a_program_of_openai_gets_400_in_its_shape(browser):
    answer = browser.get("/v1/mistaken")
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "Row 12 has <b>no</b> answer.",
        "type": "invalid_request_error",
        "param": "file",
        "code": "empty_answer",
        "file": "claims.csv",
        "row": 12,
        "column": "answer",
        "found": "<script>alert(1)</script>",
        "fix": "Fill it in.",
    }


@pytest.mark.parametrize("address", ["/api/v1/mistaken", "/predict"])
def test_our_own_api_keeps_422(browser, address):
    answer = browser.get(address)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "empty_answer")


def test_too_many_requests_is_a_rate_limit_error(browser):
    answer = browser.get("/v1/busy")
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")


def test_a_person_gets_a_page_with_the_place_and_the_way_back(browser):
    answer = browser.get("/mistaken", headers={"Referer": "http://testserver/p/claims/data/"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Row 12 has &lt;b&gt;no&lt;/b&gt; answer." in page
    assert "Fill it in." in page
    assert "claims.csv" in page
    assert 'href="http://testserver/p/claims/data/"' in page
    assert "<script>alert" not in page


def test_the_way_back_never_leads_out_of_the_house(browser):
    page = browser.get("/mistaken", headers={"Referer": "https://evil.example/"}).content.decode()
    assert "evil.example" not in page


def test_htmx_gets_a_notice_for_the_corner_not_a_page(browser):
    answer = browser.get("/mistaken", headers={"HX-Request": "true"})
    assert answer.status_code == 422
    assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#toasts", "beforeend")
    assert "<html" not in answer.content.decode()
    assert "no&lt;/b&gt; answer" in answer.content.decode()


def test_a_boosted_link_gets_the_whole_page(browser):
    answer = browser.get("/mistaken", headers={"HX-Request": "true", "HX-Boosted": "true"})
    assert "<html" in answer.content.decode()


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/v1/missing", 404, "not_found"),
        ("/v1/no-such-route", 404, "not_found"),
        ("/api/v1/forbidden", 403, "forbidden"),
        ("/api/v1/only-post", 405, "method_not_allowed"),
        ("/v1/crash", 500, "server_error"),
    ],
)
def test_programs_never_get_html(browser, address, status, code):
    answer = browser.get(address)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    assert json.loads(answer.content)["error"]["code"] == code


def test_the_allowed_methods_stay_in_the_answer(browser):
    assert browser.get("/v1/only-post")["Allow"] == "POST"


@pytest.mark.parametrize(("address", "status"), [("/missing", 404), ("/forbidden", 403), ("/crash", 500)])
def test_people_get_a_page_in_plain_words(browser, address, status):
    answer = browser.get(address)
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert "Go to the start page" in answer.content.decode()


def test_a_good_answer_passes_untouched(browser):
    assert browser.get("/v1/fine").content == b"ok"


async def test_async_views_are_treated_alike():
    answer = await AsyncClient().get("/v1/later")
    assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (400, "late")
