"""The page of a running training in Chromium, with a recorded run behind it: live, across a reload and a restart of the web
process; then comparing, using a saved state, the machines and house-keeping. Axe, phone and desktop, light and dark."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.house.conftest import ROOT, free_port
from tests.house.test_whole_path_in_the_browser import CHROMIUM, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium on this machine"),
]
SECOND = 1000


@dataclass
class Stage:
    """A web process of its own with a recorded training."""

    environment: dict[str, str]
    port: int
    web: subprocess.Popen[bytes]
    told: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    def page(self, job: str) -> str:
        return f"{self.address}/p/{self.told['slug']}/train/{self.told[job]}"

    def run(self, *arguments: str) -> None:
        _run(self.environment, *arguments)

    def restart(self) -> None:
        self.web.send_signal(signal.SIGTERM)
        self.web.wait(20)
        self.web = _web(self.environment, self.port)


def _run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.house.recorded_run", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _web(environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    options = [f"--port={port}", "--lifespan=off", "--log-level=error", "--timeout-graceful-shutdown=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "finetune_site.asgi:application", *options], cwd=ROOT, env=environment
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://localhost:{port}/health/live", timeout=5).status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the web process did not start")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with tempfile.TemporaryDirectory(prefix="tunesmith-stage-") as folder:
        environment |= {"DATA_DIR": folder, "LOG_LEVEL": "ERROR", "DJANGO_SETTINGS_MODULE": "finetune_site.settings"}
        told = json.loads(_run(environment, "prepare").splitlines()[-1])
        port = free_port()
        made = Stage(environment, port, _web(environment, port), told)
        try:
            made.run("tell", told["first"], "1", "60", "0")
            made.run("tell", told["watched"], "1", "40", "0")
            yield made
        finally:
            made.web.send_signal(signal.SIGTERM)
            made.web.wait(20)


@pytest.fixture(scope="module")
def visitor(stage: Stage) -> Iterator[Visitor]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        one = Visitor(browser, stage.address)
        one.context.add_cookies([{"name": "sessionid", "value": stage.told["cookie"], "url": stage.address}])
        yield one
        browser.close()


@pytest.fixture(autouse=True)
def without_earlier_complaints(visitor: Visitor) -> None:
    """A browser may say late that a connection was lost when the web process restarted, which it was."""
    visitor.complaints.clear()


def _steps_drawn(visitor: Visitor) -> str:
    return str(visitor.page.locator('[data-live="chart"] canvas').first.get_attribute("aria-label"))


def test_a_running_training_is_drawn_and_goes_on_by_itself(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stage.page("watched"))
    page.locator('[data-live="chart"] canvas').wait_for(timeout=60 * SECOND)
    page.get_by_text("Steps at which the loss was not a number: 1.").wait_for()
    assert page.locator("[data-live-curve]:visible").count() == 4
    assert page.locator('[data-live="samples"] details').first.get_attribute("data-step") == "40"
    assert page.locator('[data-live="samples"] b').count() == 0, "an answer is never markup"
    visitor.look("live-training")

    stage.run("tell", stage.told["watched"], "41", "60", "0.02")
    page.locator('[data-live="samples"] details[data-step="60"][open]').wait_for(timeout=60 * SECOND)
    page.get_by_text("Termination", exact=True).first.wait_for()
    page.locator("#job-checkpoints").get_by_role("button", name="Use the state of step 60").wait_for(
        timeout=60 * SECOND
    )
    assert page.locator('[data-live="amount"]').inner_text() == "60 / 120 steps"


def test_the_web_process_may_restart_and_nothing_is_missed_or_told_twice(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    stage.restart()
    stage.run("tell", stage.told["watched"], "61", "100", "0")
    page.locator('[data-live="samples"] details[data-step="100"]').wait_for(timeout=60 * SECOND)
    for step in (100, 80, 60, 40, 20):
        page.locator(f'[data-live="samples"] details[data-step="{step}"]').wait_for(timeout=60 * SECOND)
    steps = [int(node.get_attribute("data-step") or 0) for node in page.locator('[data-live="samples"] details').all()]
    assert steps == [100, 80, 60, 40, 20]
    assert page.locator('[data-live="samples"] article').count() == 5
    page.locator('[data-live="chart"] canvas[aria-label*="step 100"]').wait_for(timeout=60 * SECOND)
    page.reload()
    page.locator('[data-live="chart"] canvas').wait_for(timeout=60 * SECOND)
    assert page.locator('[data-live="samples"] article').count() == 5
    reading = page.locator('[data-live="reading"]', has_text=re.compile("Possible overfitting|memorise"))
    reading.wait_for(timeout=60 * SECOND)


def test_the_log_shows_what_is_asked_for(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    page.locator("summary", has_text="Log").click()
    lines = page.locator('[data-live="log"] li:visible')
    assert page.locator('[data-live="log"] li.log-info:visible').count() > 0
    page.get_by_label("Show").select_option("warning")
    assert page.locator('[data-live="log"] li.log-info:visible').count() == 0
    assert lines.filter(has_text="longer than 512").count() == 1
    page.get_by_label("containing").fill("no such word")
    assert lines.count() == 0


def test_a_saved_state_becomes_a_model_with_one_press(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stage.page("watched"))
    page.get_by_role("button", name="Use the state of step 80").click()
    page.wait_for_url("**/train/models/**")
    assert page.get_by_text("made of the state that the training had at step 80").is_visible()
    visitor.look("model-of-a-state")
    page.goto(stage.page("watched"))
    page.get_by_role("button", name="Undo the use of step 80").click()
    page.get_by_role("button", name="Use the state of step 80").wait_for()


def test_two_trainings_are_compared_from_the_list(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{stage.address}/p/{stage.told['slug']}/train/")
    visitor.look("trainings")
    for name in ("First try", "Clauses, larger"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url("**/compare?**")
    page.locator('[data-compare-chart="valid_loss"] canvas').wait_for(timeout=60 * SECOND)
    visitor.look("comparison")


def test_who_waits_and_what_is_kept_are_told(stage: Stage, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stage.page("waiting"))
    assert page.get_by_text(re.compile("in line")).first.is_visible()
    visitor.look("waiting-training")
    page.goto(f"{stage.address}/machines")
    visitor.look("machines")
    stage.run("end", stage.told["watched"])
    page.goto(f"{stage.address}/p/{stage.told['slug']}/train/housekeeping")
    page.locator("summary", has_text="Remove: Saved states of trainings").click()
    visitor.look("housekeeping")
