"""The upload in a real browser: parts, a lost connection, a reload, the live preview, and the same without scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets_app.models import Dataset, PendingUpload, Upload
from datasets_app.views import arriving
from tests.browser import looks_right

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ROWS = [
    {
        "title": f"Clause {i}",
        "body": f"The party shall do thing {i} within {i + 3} days of notice.",
        "kind": "AB"[i % 2],
    }
    for i in range(4000)
]


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A file of about seven parts."""
    monkeypatch.setattr(arriving, "PART_BYTES", 64 * 1024)
    path = tmp_path / "clauses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def here(live_server, project) -> str:
    return f"{live_server.url}/p/{project.slug}/data/"


def offsets_of(page) -> list[str]:
    """Collects the offset of every part that the page sends."""
    seen: list[str] = []
    page.on("request", lambda r: seen.append(r.url.partition("offset=")[2]) if "/parts?" in r.url else None)
    return seen


def test_a_lost_connection_costs_one_part(browse, file, here):
    page = browse()
    offsets, lost = offsets_of(page), []

    def lose_once(route):
        if "offset=131072" in route.request.url and not lost:
            lost.append(route.request.url)
            route.abort("internetdisconnected")
        else:
            route.continue_()

    page.route("**/parts?*", lose_once)
    page.goto(here + "upload")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*", timeout=30_000)
    assert lost
    assert offsets.count("0") == 1
    assert offsets.count("131072") == 2
    stored = Upload.objects.get()
    assert (stored.name, stored.size) == ("clauses.jsonl", file.stat().st_size)


def test_after_a_reload_the_same_file_goes_on_where_it_stopped(browse, file, here):
    page = browse()
    page.route("**/parts?offset=131072", lambda route: route.abort())
    page.goto(here + "upload")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_selector("text=The connection is lost")
    page.unroute("**/parts?offset=131072")
    page.complaints.clear()
    page.goto(here + "upload")
    looks_right(page, "the upload page with an unfinished file")
    assert page.is_visible("text=Not finished")
    offsets = offsets_of(page)
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*", timeout=30_000)
    assert offsets[0] == "131072"
    assert "0" not in offsets
    assert PendingUpload.objects.count() == 1


def test_what_is_cancelled_is_thrown_away(browse, file, here):
    page = browse()
    page.route("**/parts?offset=131072", lambda route: route.abort())
    page.goto(here + "upload")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_selector("text=The connection is lost")
    with page.expect_response("**/cancel"):
        page.click("button:has-text('Cancel')")
    page.wait_for_selector("text=Nothing was kept")
    assert PendingUpload.objects.get().state == "cancelled"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_preview_follows_the_choices_and_a_second_file_is_added(
    browse, file, here, run_jobs, tmp_path, width, scheme, project
):
    page = browse(width, color_scheme=scheme)
    page.goto(here + "upload")
    looks_right(page, "the upload page")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*", timeout=30_000)
    looks_right(page, "the preview that asks")
    if not page.is_visible("#id_completion"):
        page.click("summary:has-text('How to read it')")
    page.select_option("#id_completion", "kind")
    with page.expect_response(lambda r: "/uploads/" in r.url and r.request.method == "POST"):
        page.fill("#id_prompt_template", "{title} says: {body}")
        page.press("#id_prompt_template", "Tab")
    page.wait_for_selector("text=Clause 3 says: The party shall do thing 3", timeout=15_000)
    page.complaints.clear()  # a half choice is answered with 422, which the console of a browser remarks on
    looks_right(page, "the preview with a template")
    page.screenshot(path=str(tmp_path / f"preview-{width}.png"), full_page=True)
    page.click("button:has-text('Import')")
    page.wait_for_selector("[data-live-job]")
    run_jobs()
    dataset = Dataset.objects.get()
    assert dataset.state == "ready", dataset.error
    page.goto(f"{here}{dataset.pk}/files")
    looks_right(page, "the files")
    page.screenshot(path=str(tmp_path / f"files-{width}.png"), full_page=True)
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({**row, "title": "More"}) + "\n" for row in ROWS[:50]))
    page.click("text=Add a file")
    page.set_input_files("input[type=file]", str(more))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*", timeout=30_000)
    assert page.is_visible("text=Read like your last file with the same columns")
    page.click("text=Add these rows")
    page.wait_for_url("**/files")
    page.wait_for_selector("text=Being added")
    looks_right(page, "the files while one is added")
    run_jobs()
    page.goto(f"{here}{dataset.pk}/files")
    assert page.is_visible("text=4,001 to 4,050")
    print("screenshots in", tmp_path)


def test_without_scripts_the_plain_form_does_the_same(browse, file, here):
    page = browse(java_script_enabled=False)
    page.goto(here + "upload")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*")
    page.select_option("#id_completion", "kind")
    page.fill("#id_prompt_template", "{title} says: {body}")
    page.click("text=Look again with these settings")
    assert page.is_visible("text=Clause 3 says: The party shall do thing 3")
    assert not PendingUpload.objects.exists()
