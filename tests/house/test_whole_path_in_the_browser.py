"""A person walks the whole path in Chromium: first account, sample, data, training, result, deployment, one answer.

Each page is looked at by axe and kept as a picture (folder ARTEFACTS), on desktop and phone, light and dark; a console that
complains fails the walk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.conftest import Site

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
PICTURES = Path(os.environ["ARTEFACTS"]) if os.environ.get("ARTEFACTS") else None
SECOND = 1000
VIEWS = [(1280, "light"), (390, "dark")]
FORCE_MAJEURE = (
    "Neither party shall be liable for failure to perform where the failure is caused by war, flood, earthquake or any "
    "other event beyond its reasonable control."
)


class Visitor:
    """A person with a browser who looks closely at every page."""

    def __init__(self, browser: Any, address: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.seen = 0
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def look(self, name: str) -> None:
        """Axe, sideways scrolling and a picture, at each width and colour scheme."""
        from axe_playwright_python.sync_playwright import Axe

        self.seen += 1
        for width, scheme in VIEWS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.page.wait_for_timeout(200)  # colours glide from one scheme to the other
            if PICTURES:
                PICTURES.mkdir(parents=True, exist_ok=True)
                picture = PICTURES / f"{self.seen:02d}-{name}-{width}-{scheme}.png"
                self.page.screenshot(path=str(picture), full_page=True)
            found = [(v["id"], v["nodes"][0]["html"][:160]) for v in Axe().run(self.page).response["violations"]]
            assert found == [], f"{name} at {width} in {scheme}"
            wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} scrolls sideways by {wide} px at {width}"
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(color_scheme="light")
        assert self.complaints == [], name

    def click(self, role: str, name: str) -> None:
        self.page.get_by_role(role, name=re.compile(name, re.I)).first.click()


@pytest.fixture(scope="module")
def visitor(site: Site) -> Iterator[Visitor]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield Visitor(browser, site.address)
        browser.close()


def test_from_the_first_link_to_an_answer(site: Site, visitor: Visitor) -> None:
    page = visitor.page

    page.goto(site.address)
    visitor.look("welcome")
    page.goto(site.owner_link)
    visitor.look("first-account")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Your name").fill("Ada Advocate")
    page.get_by_label("Password").fill("a quiet clause at dawn")
    visitor.click("button", "Make my account")

    page.wait_for_url("**/projects/new")
    visitor.look("new-project")
    page.get_by_label("Name").fill("Contract clauses")
    visitor.click("button", "Make the project")
    page.wait_for_url("**/p/contract-clauses/")
    visitor.look("empty-home")

    visitor.click("button", "Use the sample")
    page.wait_for_url("**/data/**")
    page.get_by_text(re.compile(r"can be trained on|usable")).first.wait_for(timeout=90 * SECOND)
    visitor.look("data")
    assert page.get_by_text("2,752").first.is_visible()
    page.goto(f"{site.address}/p/contract-clauses/")
    visitor.look("home-with-data")

    visitor.click("link", "Train a model")
    page.wait_for_url("**/train/new**")
    visitor.look("new-training")
    visitor.click("button", "Start training")
    page.wait_for_url(re.compile(r"/train/[0-9a-z]{26}"))
    job_url = page.url
    page.locator('[data-live="phase"]', has_text="Training").wait_for(timeout=120 * SECOND)
    visitor.look("live-job")
    page.close()  # the laptop is closed; the training goes on

    visitor.page = page = visitor.context.new_page()
    page.goto(job_url)
    page.locator('[data-live="state"]', has_text=re.compile("Done|Finished")).wait_for(timeout=600 * SECOND)
    page.goto(job_url)
    assert page.locator(".uplot, svg").count() > 0, "the finished job shows its chart"
    visitor.look("finished-job")

    visitor.click("link", "Evaluate it")
    visitor.look("new-evaluation")
    visitor.click("button", "Start the evaluation")
    page.wait_for_url(re.compile(r"/results/[0-9a-z]{26}"))
    page.locator('[data-live="result"]').wait_for(state="visible", timeout=300 * SECOND)
    page.locator('[data-live="result"] a').first.click()
    page.locator(".verdict").wait_for(timeout=30 * SECOND)
    visitor.look("result")

    page.goto(f"{site.address}/p/contract-clauses/use/")
    visitor.look("nothing-deployed")
    visitor.click("link", "Sign off and put into use")
    page.wait_for_url("**/sign-off**")
    visitor.look("sign-off")
    page.get_by_label("I have read the report").check()
    page.get_by_label("Statement").fill("For sorting clauses; a lawyer reads every result.")
    visitor.click("button", "Sign and put into use")
    page.wait_for_url("**/use/")
    page.locator("[data-playground]").wait_for(timeout=30 * SECOND)
    visitor.look("deployed")
    page.locator("[data-playground-input]").fill(FORCE_MAJEURE)
    visitor.click("button", "Ask")
    pane = page.locator("[data-playground-messages]").first
    pane.get_by_text("Force Majeure", exact=True).wait_for(timeout=60 * SECOND)
    pane.get_by_text(re.compile("gave its words a probability")).wait_for(timeout=30 * SECOND)
    visitor.look("answer")

    for name, where in (("team", "team/"), ("trainings", "train/"), ("results", "results/")):
        page.goto(f"{site.address}/p/contract-clauses/{where}")
        visitor.look(name)
    page.goto(f"{site.address}/jobs")
    visitor.look("all-jobs")
    page.goto(f"{site.address}/api/v1/docs")
    visitor.look("api")


def test_signing_out_and_in_again(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    visitor.context.clear_cookies()
    page.goto(f"{site.address}/p/contract-clauses/")
    visitor.look("sign-in")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Password").fill("wrong password here")
    visitor.click("button", "Sign in")
    assert page.get_by_text("do not fit together").is_visible()
    page.get_by_label("Password").fill("a quiet clause at dawn")
    visitor.click("button", "Sign in")
    page.wait_for_url("**/p/contract-clauses/")
    assert page.get_by_role("heading", name="Contract clauses").first.is_visible()
