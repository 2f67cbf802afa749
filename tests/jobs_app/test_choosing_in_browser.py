"""Advice, model, start form: in a real browser, with the estimate renewed as fields change."""

from __future__ import annotations

import pytest

from tests.browser import looks_right

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def counted(dataset, snapshot):
    """The dataset and its snapshot with what the import would have counted, and data to train on at length."""
    told = {
        "avg_prompt_length": 60.0,
        "avg_completion_length": 2.0,
        "max_prompt_length": 120,
        "max_completion_length": 4,
        "avg_tokens": 82.0,
        "max_tokens": 160,
    }
    dataset.accepted, dataset.flagged, dataset.needs_review, dataset.rejected = 46, 2, 1, 1
    for row in (dataset, snapshot):
        row.statistics = told
        row.save()
    return dataset


def test_from_advice_over_the_model_to_a_form_that_tells_what_it_takes(browse, live_server, project, counted) -> None:
    page = browse()
    page.goto(f"{live_server.url}/p/{project.slug}/train/advice")
    page.get_by_label("How many good examples do you have?").fill("1500")
    page.get_by_label("Very special: its own words and rules").check()
    page.get_by_label("They must not leave our house").check()
    page.get_by_role("button", name="Get advice").click()
    page.get_by_role("heading", name="Fine-tuning is likely to pay for this task.").wait_for()
    looks_right(page, "advice")
    page.get_by_role("link", name="Choose a model").click()
    page.get_by_role("heading", name="Best first").wait_for()
    looks_right(page, "choose")
    page.locator("#model-demo-base").get_by_role("link", name="Train with it").click()
    outlook = page.locator("#outlook")
    outlook.get_by_text("What it will take").wait_for()
    looks_right(page, "new")
    before = outlook.locator("dl").inner_text()
    with page.expect_response(lambda answer: "new/estimate" in answer.url):
        page.get_by_label("Thorough").check()
    outlook.locator("dl").filter(has_not_text=before).wait_for()
    assert page.complaints == []


def test_on_a_phone_in_the_dark_nothing_is_cut_off(browse, live_server, project, counted) -> None:
    page = browse(360, color_scheme="dark")
    for name in ("advice", "choose", "new"):
        page.goto(f"{live_server.url}/p/{project.slug}/train/{name}")
        looks_right(page, f"{name}-phone-dark")


def test_without_scripts_the_form_works_the_estimate_out_again(browse, live_server, project, counted) -> None:
    page = browse(java_script_enabled=False)
    page.goto(f"{live_server.url}/p/{project.slug}/train/new")
    before = page.locator("#outlook dl").inner_text()
    page.get_by_label("Thorough").check()
    page.get_by_role("button", name="Work it out again").click()
    assert page.locator("#outlook dl").inner_text() != before
    assert page.get_by_label("Thorough").is_checked()
