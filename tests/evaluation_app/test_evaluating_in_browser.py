"""Starting an evaluation and reading its answers, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser import looks_right
from tests.evaluation_app.test_samples import with_samples  # noqa: F401  five answered cases

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_form_says_at_once_what_the_cases_can_show_and_starts_what_was_chosen(
    browse, live_server, project, trained_model, connection
) -> None:
    from evaluation_app.models import Evaluation

    page = browse()
    page.goto(f"{live_server.url}/p/{project.slug}/results/new")
    page.get_by_label("At most how many cases").fill("20")
    page.get_by_text("Would better instructions have done?").click()
    page.get_by_label("Instructions for the base model").fill("Name the kind of clause.")
    page.get_by_label("4 examples").check()
    page.locator("#outlook").get_by_text("20 cases:").wait_for()
    page.get_by_role("checkbox", name="Robustness").check()
    page.get_by_text("Advanced").first.click()
    looks_right(page, "new evaluation")
    page.get_by_role("button", name="Start the evaluation").click()
    page.wait_for_url("**/results/0*")
    evaluation = Evaluation.objects.get()
    assert (evaluation.case_limit, evaluation.suites) == (20, ["quality", "robustness"])
    assert evaluation.contenders.get(key="model_2").prompt == {"system": "Name the kind of clause.", "shots": 4}


def test_without_scripts_a_button_works_the_sentence_out_again(browse, live_server, project, trained_model) -> None:
    page = browse(390, java_script_enabled=False)
    page.goto(f"{live_server.url}/p/{project.slug}/results/new")
    page.get_by_label("At most how many cases").fill("10")
    page.get_by_role("button", name="Work it out again").click()
    assert "10 cases: even a 15-point gain is almost always missed." in page.locator("#outlook").inner_text()
    assert page.get_by_label("At most how many cases").input_value() == "10"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_pages_hold_on_every_screen(browse, live_server, project, with_samples, connection, width, scheme) -> None:  # noqa: F811
    page = browse(width, color_scheme=scheme)
    here = f"{live_server.url}/p/{project.slug}/results"
    for path, name in (("/new", "form"), ("/", "list"), (f"/{with_samples.pk}/samples", "answers")):
        page.goto(here + path)
        looks_right(page, f"evaluation {name} {width} {scheme}")


def test_cases_are_found_and_kept(browse, live_server, project, with_samples) -> None:  # noqa: F811
    from evaluation_app.models import RegressionCase

    page = browse()
    page.goto(f"{live_server.url}/p/{project.slug}/results/{with_samples.pk}/samples")
    page.get_by_label("Which cases").select_option("worsened")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_label("Choose row 9").check()
    assert page.get_by_role("row").count() == 2, "the head and the one case"
    page.get_by_role("button", name="Must never break").click()
    page.wait_for_url("**/results/cases")
    assert RegressionCase.objects.get().origin["row"] == 9
