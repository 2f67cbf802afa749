"""A person brings a messy workbook into a running site and makes good data of it, in Chromium: upload, columns, rows to
mend, personal data, a contradiction, cleaning, a frozen snapshot and its plots.

Each page is looked at by axe and kept as a picture (folder ARTEFACTS), on desktop and phone, light and dark; a console that
complains fails the walk.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.conftest import Site
from tests.house.test_whole_path_in_the_browser import CHROMIUM, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
SECOND = 1000
KINDS = ("Termination", "Payment", "Confidentiality")
MAIL = "carla.mendes@example.org"
CARD = "4111 1111 1111 1111"
NOTICE = "Either party may end this agreement at the end of a quarter with six weeks of notice."


@pytest.fixture(scope="module")
def visitor(site: Site) -> Iterator[Visitor]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield Visitor(browser, site.address)
        browser.close()


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a legal department keeps: a title above the header, numbers, dates and texts in one column, rows twice, empty
    cells, and things that are nobody else's business."""
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Register"
    sheet.append(["Register of clauses", None, None, None])
    sheet.append([None, None, None, None])
    sheet.append(["No.", "Wording", "Kind", "Page"])
    pages: list[Any] = [3, "12a", 7.5, datetime.date(2024, 3, 1), None]
    rows: list[tuple[str, str | None]] = [
        (f"Clause {i} of the deed: party {i * 7} shall within {i + 3} days do thing {i * 31}.", KINDS[i % 3])
        for i in range(48)
    ]
    rows += [rows[5], rows[6]]
    rows += [(NOTICE, "Termination"), (NOTICE, "Payment")]
    rows += [
        ("The tenant keeps the keys until the last day of the lease.", None),
        ("Rent is due monthly in advance.", " "),
    ]
    rows += [(f"Questions about the invoice go to {MAIL} within ten days.", "Payment")]
    rows += [(f"The deposit was paid with the card {CARD} on signing.", "Payment")]
    for number, (wording, kind) in enumerate(rows, 1):
        sheet.append([number, wording, kind, pages[number % len(pages)]])
    path = tmp_path_factory.mktemp("register") / "Clause register.xlsx"
    book.save(path)
    return path


def test_from_a_messy_workbook_to_a_snapshot(site: Site, visitor: Visitor, workbook: Path) -> None:
    page = visitor.page
    _sign_in(site, visitor)

    page.goto(f"{site.address}/p/clause-desk/data/upload")
    visitor.look("data-upload")
    page.set_input_files("input[type=file]", str(workbook))
    visitor.click("button", "Upload and look at it")
    page.wait_for_url(re.compile(r"/uploads/[0-9a-z]{26}"), timeout=60 * SECOND)
    _map_columns(visitor)
    visitor.look("data-preview")
    page.locator("#import-form").get_by_role("button", name="Import").click()

    page.wait_for_url(re.compile(r"/data/[0-9a-z]{26}/"), timeout=60 * SECOND)
    page.get_by_text(re.compile("can be trained on")).first.wait_for(timeout=120 * SECOND)
    dataset = page.url.split("#")[0].split("?")[0]
    assert page.locator("figure.plot").count() >= 3, "the page draws what the data is like"
    visitor.look("data-overview")

    _mend_two_rows(visitor, dataset)
    _decide_on_personal_data(visitor, dataset)
    _settle_a_contradiction(visitor, dataset)
    _look_at_the_cleaning(visitor, dataset)
    _freeze(visitor, dataset)


def _sign_in(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(site.owner_link)
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Your name").fill("Ada Advocate")
    page.get_by_label("Password").fill("a quiet clause at dawn")
    visitor.click("button", "Make my account")
    page.wait_for_url("**/projects/new")
    page.get_by_label("Name").fill("Clause desk")
    visitor.click("button", "Make the project")
    page.wait_for_url("**/p/clause-desk/")


def _map_columns(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_text("first rows").first.wait_for(timeout=60 * SECOND)
    fold = page.locator("details", has_text="How to read it")
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()
    page.get_by_label("Input: what the model is given").select_option(["Wording"])
    page.get_by_label("Answer: what the model shall say").select_option("Kind")
    page.get_by_label("Label", exact=False).last.select_option("Kind")
    page.locator("#look").get_by_text("Accepted", exact=True).first.wait_for(timeout=60 * SECOND)


def _mend_two_rows(visitor: Visitor, dataset: str) -> None:
    """The two rows whose cell for the kind is empty, by keyboard."""
    page = visitor.page
    page.goto(f"{dataset}mend")
    visitor.look("data-mend")
    empty = page.locator('input[data-cell="answer"]')
    assert empty.count() == 2
    empty.first.focus()
    page.keyboard.type("Termination")
    page.keyboard.press("Enter")
    page.locator("tr.mend-done").first.wait_for(timeout=30 * SECOND)
    page.keyboard.type("Payment")
    page.keyboard.press("Enter")
    page.locator("tr.mend-done").nth(1).wait_for(timeout=30 * SECOND)
    visitor.look("data-mended")


def _decide_on_personal_data(visitor: Visitor, dataset: str) -> None:
    page = visitor.page
    page.goto(f"{dataset}personal")
    assert page.get_by_text("2 kinds wait for your decision").is_visible()
    visitor.look("data-personal")
    page.get_by_label("Payment card numbers: what happens to it").select_option("reject")
    visitor.click("button", "Save the decisions")
    page.get_by_text("Decided: no personal data").wait_for(timeout=30 * SECOND)
    page.goto(f"{dataset}personal?kind=email")
    assert page.locator("mark", has_text=MAIL).is_visible()
    assert page.locator("ins", has_text="[EMAIL_1]").is_visible()
    visitor.look("data-personal-decided")


def _settle_a_contradiction(visitor: Visitor, dataset: str) -> None:
    page = visitor.page
    page.goto(f"{dataset}duplicates?kind=contradiction")
    visitor.look("data-contradiction")
    page.keyboard.press("1")
    page.get_by_text("Settled", exact=True).first.wait_for(timeout=30 * SECOND)
    visitor.look("data-contradiction-settled")
    page.goto(f"{dataset}duplicates?kind=exact")
    assert page.locator("tbody tr").count() == 2


def _look_at_the_cleaning(visitor: Visitor, dataset: str) -> None:
    page = visitor.page
    page.goto(f"{dataset}cleaning")
    page.get_by_label("Rule 1: find").fill("deed")
    page.get_by_label("Rule 1: put in its place").fill("contract")
    page.locator("#preview ins", has_text="contract").first.wait_for(timeout=30 * SECOND)
    visitor.look("data-cleaning")
    visitor.click("button", "Save and check again")
    page.get_by_text("Saved. All rows are being checked again").wait_for(timeout=30 * SECOND)
    page.locator("[data-live-job]").wait_for(state="detached", timeout=120 * SECOND)
    page.goto(f"{dataset}rows?q=contract")
    assert page.get_by_text("Clause 1 of the contract").first.is_visible()
    page.goto(f"{dataset}rows?status=accepted&q=tenant")
    assert page.get_by_text("edited by a person").first.is_visible(), "what a person decided outlives the check"


def _freeze(visitor: Visitor, dataset: str) -> None:
    page = visitor.page
    page.goto(f"{dataset}freeze")
    visitor.look("data-freeze")
    page.get_by_role("button", name=re.compile(r"Freeze \d+ rows")).click()
    page.wait_for_url("**/snapshots/1", timeout=30 * SECOND)
    page.get_by_text("kept back to judge the model").first.wait_for(timeout=120 * SECOND)
    page.goto(f"{dataset}snapshots/1")
    assert page.locator("figure.plot").count() >= 1
    visitor.look("data-snapshot")
    with page.expect_download() as begun:
        page.locator('a[href*="format=jsonl"]').first.click()
    text = Path(begun.value.path()).read_text()
    assert "[EMAIL_1]" in text
    assert MAIL not in text
    assert CARD not in text
    assert text.count(NOTICE) == 1, "one of the two answers was kept"
