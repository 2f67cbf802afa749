"""The data pages in a real browser: the whole path on desktop and phone, with axe on each page and a quiet console."""

from __future__ import annotations

import json

import pytest

from datasets_app.models import Snapshot
from tests.browser import looks_right

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [1280, 390])
def test_from_the_upload_to_the_snapshot(live_server, browse, client_for, project, trainer, run_jobs, tmp_path, width):
    page = browse(width)
    rows = [{"text": f"Clause {i} on <b>matter</b> {i * 3} of the deed", "label": "AB"[i % 2]} for i in range(40)]
    rows += [{"text": "Nobody labelled this clause", "label": ""}]
    file = tmp_path / "clauses.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    here = f"{live_server.url}/p/{project.slug}/data/"

    page.goto(here)
    looks_right(page, "the empty list")
    page.goto(here + "upload")
    looks_right(page, "the upload")
    page.set_input_files("input[type=file]", str(file))
    page.click("text=Upload and look at it")
    page.wait_for_url("**/uploads/*")
    looks_right(page, "the preview")
    page.click("button:has-text('Import')")
    page.wait_for_selector("[data-live-job]")
    looks_right(page, "the import, waiting")
    run_jobs()
    page.wait_for_selector("text=can be trained on", timeout=20_000)
    looks_right(page, "the data page")
    detail = page.url
    page.goto(detail + "rows?status=rejected")
    looks_right(page, "the rows")
    page.click("td a")
    looks_right(page, "one row")
    page.keyboard.press("e")
    page.fill("#edit-answer", "A")
    page.click("text=Save and accept")
    page.wait_for_selector("text=edited by a person")
    page.goto(detail + "freeze")
    looks_right(page, "how to freeze")
    page.click("button:has-text('Freeze')")
    page.wait_for_url("**/snapshots/1")
    run_jobs()
    page.wait_for_selector("text=kept back to judge the model", timeout=20_000)
    looks_right(page, "the snapshot")
    page.goto(detail + "snapshots")
    looks_right(page, "all snapshots")
    snapshot = Snapshot.objects.get(project=project)
    assert sum(snapshot.counts.values()) == 41, "forty good rows and the one that was mended"
