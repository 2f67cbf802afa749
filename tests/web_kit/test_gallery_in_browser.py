"""The components in a real browser: no console error, nothing wider than a phone, nothing that axe objects to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.urls import include, path

from web_kit import views

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
urlpatterns = [path("gallery/", include("web_kit.urls"))]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the gallery, served by uvicorn through the product's own middleware."""
    import uvicorn
    from django.core.asgi import get_asgi_application

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with override_settings(ROOT_URLCONF=__name__), pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "PACE_SECONDS", 0.004)
        server = uvicorn.Server(
            uvicorn.Config(get_asgi_application(), port=port, log_level="error", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.started
        yield f"http://127.0.0.1:{port}/gallery/"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console said."""
    return []


@pytest.fixture
def open_page(chromium, site, complaints) -> Iterator[Any]:
    """Opens an address of the gallery; at the end no script may have complained."""
    contexts = []

    def opened(address: str = "", *, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto(site + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _end_of_run(page: Any) -> None:
    page.locator('[data-live="result"]').wait_for(state="visible", timeout=20_000)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "dark"), (360, "light")])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(open_page, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page("?errors", width=width, scheme=scheme, reduced_motion="reduce")
    _end_of_run(page)
    too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    found = Axe().run(page).response["violations"]
    assert too_wide <= 0
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []


def test_a_live_job_runs_to_its_end_and_says_what_it_means(open_page):
    page = open_page()
    _end_of_run(page)
    assert page.locator('[data-live="phase"]').inner_text() == "Finished"
    assert page.locator('[data-live="state"]').inner_text() == "Finished"
    assert "began to memorise" in page.locator('[data-live="reading"]').inner_text()
    assert page.locator('[data-live="amount"]').inner_text() == "120 / 120 steps"
    assert page.locator('progress[data-live="progress"]').evaluate("bar => bar.value / bar.max") == 1
    assert "not a number: 3." in page.locator('[data-live="gaps"]').inner_text()
    assert page.locator('[data-live="chart"] canvas').count() == 1
    # The words for the picture follow the last point after a moment, so that a screen reader is not flooded.
    page.locator('[data-live="chart"] canvas[aria-label*="at step 120"]').wait_for(timeout=10_000)
    assert page.locator('[data-live-only="running"]').is_hidden()


def test_lines_of_the_log_are_neither_lost_nor_doubled(open_page):
    page = open_page()
    _end_of_run(page)
    assert page.locator('ol[data-live="log"] li').count() == 5  # three drawn by the server, two from the stream
    page.reload()
    _end_of_run(page)
    assert page.locator('ol[data-live="log"] li').count() == 5


def test_the_logarithmic_scale_can_be_switched(open_page):
    page = open_page()
    _end_of_run(page)
    page.locator("[data-live-log-scale]").check()
    assert page.locator('[data-live="chart"] canvas').count() == 1


def test_without_scripts_the_state_is_there_and_the_page_renews_itself(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator('[data-live="amount"]').inner_text() == "40 / 120 steps"
    assert page.locator('[data-live="chart"] svg').count() == 1
    assert page.locator("[data-theme-toggle]").is_hidden()
    assert page.locator('head noscript meta[http-equiv="refresh"], head meta[http-equiv="refresh"]').count() == 1


def test_the_chosen_look_stays_after_a_reload(open_page):
    page = open_page()
    page.locator("[data-theme-toggle]").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(14, 20, 22)"


def test_the_playground_writes_text_never_markup(open_page):
    page = open_page()
    page.locator("[data-playground-input]").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Control+Enter")
    page.locator("[data-playground-pane] .bubble-foot", has_text="Confidence 83%").nth(1).wait_for(timeout=10_000)
    assert page.locator("[data-playground-pane] img").count() == 0
    assert "You asked: <img src=x onerror=alert(1)>" in page.locator('[data-model="base"] .chat').inner_text()
    assert page.locator("[data-playground-stop]").is_hidden()


def test_a_broken_line_is_told_in_the_words_of_the_page(open_page, complaints):
    page = open_page()
    page.route("**/gallery/ask*", lambda route: route.abort())
    page.locator("[data-playground-input]").fill("Is anybody there?")
    page.keyboard.press("Control+Enter")
    page.locator('[data-model="base"] .bubble-foot', has_text="The model did not answer. Try again.").wait_for()
    complaints.clear()  # the browser names what failed to load


def test_an_answer_can_be_stopped(open_page):
    page = open_page()
    page.locator("[data-playground-input]").fill("word " * 3000)
    page.locator("form[data-playground] .button-primary").click()
    page.locator("[data-playground-stop]").click()
    page.locator('[data-model="base"] .bubble-foot', has_text="Stopped.").wait_for(timeout=5000)
    assert page.locator('[data-model="base"] [aria-busy]').count() == 0


def test_an_upload_shows_its_name_and_ends_on_the_page_the_server_names(open_page, tmp_path):
    file = tmp_path / "claims.csv"
    file.write_text("text,label\nWater,home\n")
    page = open_page()
    page.locator("#gallery-file").set_input_files(file)
    assert page.locator("[data-upload-name]").inner_text() == "claims.csv (22 bytes)"
    with page.expect_navigation():
        page.locator("#gallery-upload button:not([type])").click()
    assert page.url.endswith("/gallery/")


@pytest.fixture
def refused_upload(open_page, tmp_path):
    """Sends a file to a server that answers with this refusal."""

    def send(**answer: Any) -> Any:
        file = tmp_path / "claims.csv"
        file.write_text("text,label\n")
        page = open_page()
        page.route("**/gallery/upload", lambda route: route.fulfill(**answer))
        page.locator("#gallery-file").set_input_files(file)
        page.locator("#gallery-upload button:not([type])").click()
        return page

    return send


def test_a_refused_upload_says_why_and_can_be_sent_again(refused_upload, complaints):
    page = refused_upload(status=422, json={"error": {"message": "The file has <b>no</b> rows."}})
    page.get_by_text("The file has <b>no</b> rows.").wait_for()
    assert page.locator("#gallery-upload button:not([type])").is_enabled()
    complaints.clear()  # the browser itself notes every 422


def test_a_refused_form_takes_the_place_of_the_one_that_was_sent(refused_upload, complaints):
    form = '<form id="gallery-upload" data-upload><input type="file" name="file"><p>Choose another.</p></form>'
    page = refused_upload(status=422, content_type="text/html", body=f"<html><body>{form}</body></html>")
    page.get_by_text("Choose another.").wait_for()
    assert page.locator("#gallery-upload").count() == 1
    complaints.clear()


def test_a_glossary_word_opens_by_keyboard_and_closes_on_escape(open_page):
    page = open_page()
    word = page.locator("button.term", has_text="LoRA").first
    word.focus()
    page.keyboard.press("Enter")
    note = page.locator(f"#{word.get_attribute('popovertarget')}")
    assert note.is_visible()
    page.keyboard.press("Escape")
    assert note.is_hidden()


def test_the_first_tab_leads_past_the_navigation(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_refused_form_takes_the_focus_to_its_summary(open_page):
    page = open_page("?errors")
    assert page.evaluate("document.activeElement.hasAttribute('data-form-errors')")


def test_copying_takes_the_text_of_its_own_box(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".secret-once [data-copy]").click()
    page.get_by_text("Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "tsk_4f1c0e9a7b"
