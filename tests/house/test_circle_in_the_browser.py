"""The circle in Chromium: a wrong answer is corrected, reviewed, frozen, learned, asked again, put into use, and right.

The model really is wrong first: its data hold four types of clauses and not the fifth. It really is right afterwards, because
it learned the fifth from what people said of its answers.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetune_engine.data.samples import SAMPLES
from tests.browser import CHROMIUM, chromium, looks_right
from tests.house.conftest import Site, wait_for_state

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
SECOND = 1000
LABELS = ("Confidentiality", "Insurance", "Governing Law", "Payment Terms")
MISSING = "Force Majeure"
PER_LABEL, OTHER_COMPLAINTS, LONGEST = 25, 15, 400
TRAINING = {"num_train_epochs": 3, "seed": 42}
QUESTION = (
    "Neither party shall be liable for failure to perform where the failure is caused by war, flood, earthquake or any "
    "other event beyond its reasonable control."
)


def _clauses(label: str, count: int) -> list[dict[str, str]]:
    found = []
    for line in Path(SAMPLES["contract_clauses"].path).read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # flawed on purpose
            continue
        if row.get("label") == label and len(row.get("text") or "") < LONGEST:
            found.append(row)
    return found[:count]


@dataclass
class Circle:
    """A project with a model in use, the person who uses it, and a program beside them."""

    page: Any
    base: str
    slug: str
    client: httpx.Client
    dataset: str
    asked: int = 0
    took: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def open(self, path: str) -> Any:
        self.page.goto(f"{self.base}{path}")
        return self.page

    def click(self, role: str, name: str) -> None:
        self.page.get_by_role(role, name=re.compile(name, re.I)).first.click()

    def look(self, what: str) -> None:
        """The page as it is, on a desk and on a phone in the dark; and when it was reached."""
        self.took[what] = time.monotonic() - self.began
        for width, scheme in ((390, "dark"), (1280, "light")):
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.page.wait_for_timeout(150)
            looks_right(self.page, f"circle {len(self.took):02d} {what} {width} {scheme}")

    def ask(self) -> Any:
        """The same question in the playground; the bubble of the model in use with its finished answer."""
        page = self.open("use/playground")
        page.locator("[data-playground-input]").fill(QUESTION)
        self.click("button", "^Ask$")
        bubble = page.locator("[data-playground-pane]").first.locator(".bubble-assistant")
        bubble.locator("form[data-feedback]").wait_for(timeout=60 * SECOND)
        return bubble


def _first_version(client: httpx.Client) -> str:
    """Four types of clauses, a training of some seconds, and its model in use; the dataset's id."""
    rows = [row for each in zip(*(_clauses(label, PER_LABEL) for label in LABELS), strict=True) for row in each]
    file = ("clauses.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    dataset = client.post("/api/v1/datasets", files={"file": file}, data={"name": "Clauses"}).json()["id"]
    wait_for_state(client, f"/api/v1/datasets/{dataset}", "ready")
    url = f"/api/v1/datasets/{dataset}/snapshots"
    made = client.post(url, json={"seed": 42}).json()
    snapshot = wait_for_state(client, f"{url}/{made['number']}", "ready")
    wanted = {"base_model": "demo-base", "snapshot": snapshot["id"], "name": "Clause types", "training": TRAINING}
    job = client.post("/api/v1/jobs", json=wanted).json()
    wait_for_state(client, f"/api/v1/jobs/{job['id']}", "succeeded")
    (model,) = client.get("/api/v1/models").json()["data"]
    deployed = client.post(
        "/api/v1/deployments", json={"model": model["id"], "sign_off": "Tried by hand; a lawyer reads every answer."}
    ).json()
    wait_for_state(client, f"/api/v1/deployments/{deployed['id']}", "active", seconds=60)
    return str(dataset)


@pytest.fixture(scope="module")
def circle(site: Site) -> Iterator[Circle]:
    began = time.monotonic()
    with chromium() as make:
        page = make(1280)
        page.goto(site.owner_link)
        page.get_by_label("E-mail address").fill("owner@example.com")
        page.get_by_label("Your name").fill("Olga Owner")
        page.get_by_label("Password").fill("a quiet clause at dawn")
        page.get_by_role("button", name="Make my account").click()
        page.wait_for_url("**/projects/new")
        slug, key = site.project_key("Circle")
        with site.client(key) as client:
            walk = Circle(page, f"{site.address}/p/{slug}/", slug, client, _first_version(client))
            walk.took["first version"] = time.monotonic() - began
            yield walk
            print({name: round(seconds, 1) for name, seconds in walk.took.items()})


def test_the_model_is_wrong_and_a_person_says_what_is_right(circle: Circle) -> None:
    answer = circle.ask()
    said = answer.locator(".bubble-text").inner_text()
    assert said.strip() in LABELS, "it knows only these"
    circle.look("a wrong answer")
    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_label("What it should have answered").fill(MISSING)
    answer.get_by_label("Wrong", exact=True).check()
    answer.get_by_role("button", name="Keep the correction").click()
    answer.get_by_text("Thank you. The correction waits on the page Improve").wait_for(timeout=15 * SECOND)
    circle.look("corrected")


def test_programs_complain_of_the_same_and_all_corrections_are_proposed(circle: Circle) -> None:
    for row in _clauses(MISSING, OTHER_COMPLAINTS):
        told = circle.client.post("/predict", json={"text": row["text"], "temperature": 0}).json()
        assert told["prediction"] != MISSING
        url = f"/api/v1/predictions/{told['request_id']}/feedback"
        said = {"verdict": "bad", "reasons": ["wrong"], "correction": MISSING}
        assert circle.client.post(url, json=said).status_code == 200
    page = circle.open("use/improve")
    assert page.get_by_text("16 corrections are not in the data yet.").is_visible()
    circle.look("complaints")
    page.get_by_role("row", name=re.compile("Neither party")).get_by_role("button", name="Keep as case").click()
    page.get_by_text("1 case added").wait_for()
    circle.click("button", "Propose the chosen as rows")
    page.get_by_text("16 corrections wait in the review queue of the data now.").wait_for()
    wait_for_rows(circle, 16)


def wait_for_rows(circle: Circle, waiting: int, seconds: float = 60) -> None:
    """Until the data has been checked again and this many rows wait for a decision."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stages = circle.client.get("/api/v1/improvement").json()["stages"]
        data = circle.client.get(f"/api/v1/datasets/{circle.dataset}").json()
        if data["counts"]["needs_review"] == waiting and stages.get("proposed", 0) == waiting:
            return
        time.sleep(0.3)
    raise AssertionError(f"{stages}, {data['counts']}")


def test_a_reviewer_accepts_them_and_a_new_snapshot_holds_them(circle: Circle) -> None:
    page = circle.open("use/improve")
    assert page.get_by_text("16 corrections wait for review.").is_visible()
    circle.click("link", "^Review")
    page.wait_for_url("**/review**")
    assert page.get_by_text("Feedback of").first.is_visible(), "the card says who proposed the row"
    circle.look("review")
    for _ in range(16):
        row = page.locator("#review-form input[name=row]").input_value()
        page.keyboard.press("a")
        page.wait_for_function("row => document.querySelector('#review-form input[name=row]')?.value !== row", arg=row)
    page.get_by_text("No row waits for a decision").wait_for()
    page = circle.open("use/improve")
    assert page.get_by_text("16 accepted corrections are in no snapshot yet.").is_visible()
    circle.click("link", "Freeze a new snapshot")
    page.wait_for_url("**/freeze")
    circle.click("button", "Freeze")
    page.wait_for_url(re.compile(r"/snapshots/2$"))
    wait_for_state(circle.client, f"/api/v1/datasets/{circle.dataset}/snapshots/2", "ready")
    page.reload()
    circle.look("new snapshot")


def test_the_next_version_learns_like_the_last_one(circle: Circle) -> None:
    page = circle.open("use/improve")
    circle.click("link", "Train the next version like the last one")
    page.wait_for_url("**/train/new**")
    page.locator("input[name=name]").fill("Clause types, second")
    circle.look("training prefilled")
    circle.click("button", "Start training")
    page.wait_for_url(re.compile(r"/train/[0-9a-z]{26}"))
    job = page.url.rsplit("/", 1)[1]
    wait_for_state(circle.client, f"/api/v1/jobs/{job}", "succeeded")
    page = circle.open("use/improve")
    assert page.get_by_text("learned by Clause types, second").first.is_visible()
    circle.look("learned")


def test_an_evaluation_shows_that_the_case_is_fixed(circle: Circle) -> None:
    page = circle.page
    circle.click("link", "^Evaluate it")
    page.wait_for_url("**/results/new**")
    circle.click("button", "Start the evaluation")
    page.wait_for_url(re.compile(r"/results/[0-9a-z]{26}$"))
    evaluation = page.url.rsplit("/", 1)[1]
    wait_for_state(circle.client, f"/api/v1/evaluations/{evaluation}", "succeeded")
    page = circle.open("results/cases")
    assert page.get_by_text("kept", exact=True).is_visible()
    circle.look("case kept")
    page = circle.open("use/improve")
    assert page.get_by_text("right in Clause types, second").first.is_visible()
    circle.look("fixed")


def test_the_same_question_is_answered_rightly_by_what_is_in_use(circle: Circle) -> None:
    page = circle.open("use/")
    page.get_by_role("row", name=re.compile("Clause types, second")).get_by_role("link", name="Sign off").click()
    page.wait_for_url("**/sign-off**")
    page.get_by_label("I have read the report").check()
    page.get_by_label("Statement").fill("It knows force majeure now; a lawyer reads every answer.")
    circle.click("button", "Sign and put into use")
    page.wait_for_url(re.compile(r"/use/"))
    deployed = circle.client.get("/api/v1/deployments").json()["data"][0]["id"]
    wait_for_state(circle.client, f"/api/v1/deployments/{deployed}", "active", seconds=60)
    answer = circle.ask()
    assert answer.locator(".bubble-text").inner_text().strip() == MISSING
    circle.look("the right answer")
    page = circle.open("use/improve")
    assert page.get_by_role("row", name=re.compile("Neither party")).get_by_text("in use").is_visible()
    circle.look("closed")
