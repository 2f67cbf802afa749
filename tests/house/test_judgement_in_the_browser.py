"""A lawyer judges a real, small model in Chromium: rules, cases that must not be forgotten, everything measured, the report and
its files, a blind vote, a signature, and the model in use."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.data.samples import SAMPLES
from tests.house.conftest import Site, wait_for_state
from tests.house.test_whole_path_in_the_browser import CHROMIUM, SECOND, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
ROWS = 160
CASES = 12
QUESTION = "This Agreement is governed by the laws of the State of New York, without regard to conflicts of law."


@dataclass
class Desk:
    """A project with a trained model, and a person who sits before it."""

    visitor: Visitor
    base: str
    client: Any
    evaluation: str = ""

    @property
    def page(self) -> Any:
        return self.visitor.page

    def open(self, path: str) -> Any:
        self.page.goto(f"{self.base}{path}")
        return self.page

    def file(self, name: str) -> bytes:
        """A file beside the report, fetched as the browser would."""
        response = self.page.request.get(f"{self.base}results/{self.evaluation}/{name}")
        assert response.status == 200, name
        return bytes(response.body())


def _train(client: Any, lines: list[str]) -> None:
    """A dataset, a snapshot and one pass of training, as a program would do it."""
    sent = {"file": ("clauses.jsonl", "\n".join(lines).encode())}
    dataset = client.post("/api/v1/datasets", files=sent, data={"name": "Clauses"}).json()
    wait_for_state(client, f"/api/v1/datasets/{dataset['id']}", "ready")
    url = f"/api/v1/datasets/{dataset['id']}/snapshots"
    split = {"train": 0.8, "validation": 0.05, "test": 0.15}
    made = client.post(url, json={"seed": 42, "split": split}).json()
    snapshot = wait_for_state(client, f"{url}/{made['number']}", "ready")
    training = {"num_train_epochs": 1}
    wanted = {"base_model": "demo-base", "snapshot": snapshot["id"], "name": "Clause types", "training": training}
    job = client.post("/api/v1/jobs", json=wanted).json()
    wait_for_state(client, f"/api/v1/jobs/{job['id']}", "succeeded", seconds=400)


@pytest.fixture(scope="module")
def desk(site: Site) -> Iterator[Desk]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        visitor = Visitor(browser, site.address)
        page = visitor.page
        page.goto(site.owner_link)
        page.get_by_label("E-mail address").fill("owner@example.com")
        page.get_by_label("Your name").fill("Olga Owner")
        page.get_by_label("Password").fill("a quiet clause at dawn")
        visitor.click("button", "Make my account")
        page.wait_for_url("**/projects/new")
        slug, key = site.project_key("Judgement")
        with site.client(key) as client:
            _train(client, Path(SAMPLES["contract_clauses"].path).read_text().splitlines()[:ROWS])
            yield Desk(visitor, f"{site.address}/p/{slug}/", client)
        browser.close()


def test_rules_and_a_case_are_written_before_anything_is_measured(desk: Desk) -> None:
    page = desk.open("results/rules/new?kind=labels")
    assert page.get_by_label("Allowed labels").input_value().count("\n") > 3, "the labels of the data are filled in"
    page.get_by_label("Name").fill("One of our labels")
    desk.visitor.click("button", "Keep the rule")
    page.wait_for_url("**/results/rules")
    desk.open("results/rules/new?kind=length")
    page.get_by_label("At most").fill("1")
    page.get_by_label("An answer to try it on").fill("Governing Law")
    desk.visitor.click("button", "Try it")
    page.get_by_text("The answer has 2 words, at most 1 are allowed.").wait_for()
    desk.visitor.click("button", "Keep the rule")
    page.wait_for_url("**/results/rules")
    desk.visitor.look("rules")
    desk.open("results/cases/new")
    page.get_by_label("Question").fill(QUESTION)
    page.get_by_label("Right answer").fill("An answer that no model gives")
    desk.visitor.click("button", "Add the case")
    page.wait_for_url("**/results/cases")
    assert page.get_by_text("not asked yet").is_visible()


def test_everything_is_measured_while_one_watches(desk: Desk) -> None:
    page = desk.open("results/new")
    page.get_by_text("Would better instructions have done?").click()
    page.get_by_label("Instructions for the base model").fill("Answer with the type of the contract clause.")
    page.locator('input[name="prompt_shots"]').nth(1).check()
    for box in page.locator('input[name="suites"]:enabled').all():
        box.check()
    page.get_by_label("At most how many cases").fill(str(CASES))
    desk.visitor.look("new-evaluation-with-everything")
    desk.visitor.click("button", "Start the evaluation")
    page.wait_for_url(re.compile(r"/results/[0-9a-z]{26}$"))
    desk.evaluation = page.url.rsplit("/", 1)[1]
    page.locator('[data-live="state"]', has_text="Running").wait_for(timeout=120 * SECOND)
    page.locator('[data-live="result"]').wait_for(state="visible", timeout=400 * SECOND)
    page.locator('[data-live="result"] a').first.click()
    page.locator(".verdict").first.wait_for(timeout=30 * SECOND)


def test_the_report_shows_every_part_and_what_was_demanded(desk: Desk) -> None:
    page = desk.open(f"results/{desk.evaluation}")
    for part in ("robustness", "fairness", "speed", "cost", "forgetting", "rules", "prompting", "worth", "lineage"):
        assert page.locator(f"#{part}").count() == 1, part
    rules = page.locator("#rules").inner_text()
    assert "One of our labels" in rules
    assert "An answer that no model gives" in rules, "the case that it got wrong stands there"
    desk.visitor.look("full-report")


def test_the_report_can_be_taken_along_in_every_form(desk: Desk) -> None:
    assert desk.file("report.pdf").startswith(b"%PDF-")
    assert len(list(csv.reader(io.StringIO(desk.file("report.csv").decode("utf-8-sig"))))) > 20
    assert b"<html" in desk.file("report.html")
    assert desk.file("model-card.md").decode().count("\n#") > 3
    report = desk.client.get(f"/api/v1/evaluations/{desk.evaluation}").json()["report"]
    assert [rule["n"] for rule in report["acceptance"]] == [CASES, CASES]
    assert (report["regressions"]["n"], report["regressions"]["passed"]) == (1, 0)
    assert {model["kind"] for model in report["models"]} == {"base", "trained", "prompted"}
    for part in ("quality", "performance", "robustness", "fairness", "cost", "capabilities", "overall_score"):
        assert report[part], part


def test_the_case_names_the_version_that_broke_it(desk: Desk) -> None:
    page = desk.open("results/cases")
    assert page.get_by_text("forgotten", exact=True).is_visible()
    assert page.get_by_text("First broken by").is_visible()
    desk.visitor.look("case-forgotten")


def test_a_row_of_the_report_is_kept_as_a_case(desk: Desk) -> None:
    page = desk.open(f"results/{desk.evaluation}/samples")
    desk.visitor.look("every-case")
    page.locator('input[name="row"]').first.check()
    desk.visitor.click("button", "keep the chosen cases")
    page.wait_for_url("**/results/cases")
    assert page.get_by_text("from an evaluation, row").is_visible()


def test_one_figure_over_time_begins_with_its_first_version(desk: Desk) -> None:
    page = desk.open("results/history")
    assert page.get_by_text("The drawing begins with the second version.").is_visible()
    desk.visitor.look("history")


def test_people_judge_blind_and_the_home_page_waits_for_their_votes(desk: Desk) -> None:
    page = desk.open(f"results/{desk.evaluation}/review")
    page.get_by_label("How many cases", exact=True).fill("4")
    page.get_by_label("And how many of the hardest").fill("0")
    desk.visitor.click("button", "Draw the cases and start")
    page.wait_for_url(re.compile(r"/results/reviews/[0-9a-z]{26}$"))
    review = page.url
    desk.visitor.click("link", "^Judge$")
    page.wait_for_url("**/queue")
    desk.visitor.look("vote")
    page.reload()  # the checker of accessibility leaves marks that a swapped fragment would carry on
    page.get_by_role("button", name="Equally good").click()
    page.get_by_role("heading", name="Case 2").wait_for()
    desk.open("")
    assert page.get_by_text("A review waits: 3 votes are missing.").is_visible()
    page.goto(review)
    page.locator("details.confirm summary").filter(has_text="Close and show").click()
    page.locator("details.confirm[open] button", has_text="Close and show the results").click()
    page.get_by_text("The names of the models are open now.").wait_for()
    desk.visitor.look("review-closed")


def test_an_owner_signs_and_the_model_is_in_use(desk: Desk) -> None:
    page = desk.open("use/")
    desk.visitor.click("link", "Sign off and put into use")
    page.wait_for_url("**/sign-off**")
    desk.visitor.look("sign-off")
    page.get_by_label("I have read the report").check()
    page.get_by_label("Statement").fill("Only to sort clauses for a lawyer who reads each of them.")
    desk.visitor.click("button", "Sign and put into use")
    page.wait_for_url("**/use/")
    assert page.get_by_text("Name for callers").is_visible()
    desk.open("")
    assert page.get_by_text("Signed off.").is_visible()
