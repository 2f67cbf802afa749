"""The report, the signature and the assumptions in a real browser."""

from __future__ import annotations

import pytest

from tests.browser import looks_right
from tests.evaluation_app.full_report import full_report
from tests.evaluation_app.test_report_files import finished

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_report_holds_on_every_screen(browse, live_server, project, evaluation, owner, width, scheme) -> None:
    finished(evaluation, full_report())
    page = browse(width, user=owner, color_scheme=scheme)
    here = f"{live_server.url}/p/{project.slug}/results"
    model = evaluation.trained_model_id
    paths = (
        (f"/{evaluation.pk}", "report"),
        (f"/models/{model}/sign-off?evaluation={evaluation.pk}", "sign-off"),
        (f"/assumptions?evaluation={evaluation.pk}", "assumptions"),
    )
    for path, name in paths:
        page.goto(here + path)
        looks_right(page, f"{name} {width} {scheme}")


def test_an_owner_signs_and_the_model_is_in_use(browse, live_server, project, evaluation, owner) -> None:
    from serving_app.queries import current_deployment

    finished(evaluation, full_report())
    page = browse(user=owner)
    page.goto(f"{live_server.url}/p/{project.slug}/results/{evaluation.pk}")
    page.get_by_role("link", name="Sign off", exact=True).click()
    page.get_by_label("I have read the report").check()
    page.get_by_label("Statement").fill("Used as a first draft only; a lawyer reads every answer.")
    page.get_by_role("button", name="Sign and put into use").click()
    page.wait_for_url("**/use/")
    assert current_deployment(project).trained_model == evaluation.trained_model


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_word_of_any_length_does_not_widen_the_page(
    browse, live_server, project, evaluation, owner, width, scheme
) -> None:
    word = "שלום " + "X" * 300
    report = full_report()
    report["acceptance"][0]["name"] = report["findings"][0]["text"] = report["clusters"][0]["title"] = word
    report["models"][1]["name"] = report["models"][1]["per_class"][0]["label"] = word
    report["fairness"]["groups"][0] |= {"column": word, "sentence": word}
    finished(evaluation, report)
    page = browse(width, user=owner, color_scheme=scheme)
    page.goto(f"{live_server.url}/p/{project.slug}/results/{evaluation.pk}")
    assert page.evaluate("document.documentElement.scrollWidth") == width
