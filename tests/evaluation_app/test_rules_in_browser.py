"""Rules, cases, comparison and history in a real browser: they look right everywhere, and the try-it box works."""

from __future__ import annotations

import polars as pl
import pytest
from django.core.files.storage import default_storage

from datasets_app.models import Snapshot
from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.operations import keep_report, start_evaluation
from evaluation_app.operations.regressions import NewCase, add_cases, remove_case
from evaluation_app.operations.rules import add_rule, remove_rule
from tests.browser import looks_right_everywhere
from tests.evaluation_app.conftest import score
from work_kit.models import Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
QUESTION = "Neither party is liable where a failure is caused by flood, earthquake or war. Which clause is this?"


@pytest.fixture
def versions(transactional_db, actor, trained_model, snapshot, report, tmp_path) -> list[Evaluation]:
    """Three finished evaluations, the last one on newer data, with a rule and two cases that they were held against."""
    newer = Snapshot.objects.create(
        project=snapshot.project, dataset=snapshot.dataset, number=2, state="ready", sha256="2" * 64,
        task_type="classification", counts=snapshot.counts, storage_prefix="snapshots/two",
    )  # fmt: skip
    demand = {"texts": ["Payment", "Term"], "all": False}
    rule = add_rule(actor=actor, name="Names a clause", kind="contains", demand=demand)
    remove_rule(actor=actor, rule=add_rule(actor=actor, name="Old", kind="excludes", demand={"texts": ["refund"]}))
    cases = add_cases(
        actor=actor,
        cases=[
            NewCase([{"role": "user", "content": QUESTION}], "Force Majeure", "A client was misled.", {"kind": "form"}),
            NewCase([{"role": "user", "content": "Rent is due on the third working day."}], "Payment", "", {"kind": "paste"}),
            NewCase([{"role": "user", "content": "An old one."}], "Term", "", {"kind": "api"}),
        ],
    ).cases  # fmt: skip
    remove_case(actor=actor, case=cases[2])
    made = []
    for number, right in enumerate((22, 33, 36)):
        evaluation = start_evaluation(actor=actor, trained_model=trained_model, snapshot=newer if number == 2 else None)
        frame = pl.DataFrame(
            {
                "row": list(range(40)),
                "prompt": [f"Clause {n} of lease {number // 2}: the tenant pays on the third working day." for n in range(40)],
                "reference": ["Payment"] * 40,
                "tuned_answer": ["Payment" if n < right else "I do not know" for n in range(40)],
                "tuned_correct": [n < right for n in range(40)],
            }
        )  # fmt: skip
        frame.write_parquet(tmp_path / f"{number}.parquet")
        with open(tmp_path / f"{number}.parquet", "rb") as file:
            name = default_storage.save(f"evaluations/{evaluation.pk}/samples.parquet", file)
        share = right / 40
        models = [
            {"key": "base", "name": "demo-base", "scores": [score("accuracy", 0.5, 0.35, 0.65), score("perplexity", 90.0)]},
            {"key": "tuned", "name": f"Clauses {number + 1}",
             "scores": [score("accuracy", share, share - 0.13, min(1, share + 0.08)), score("perplexity", 9.0 - 5 * share)]},
        ]  # fmt: skip
        failed = [{"id": cases[0].pk, "prompt": QUESTION, "expected": "Force Majeure", "answer": "Payment", "why": "x"}]
        more = {
            "models": models,
            "regressions": {"n": 2, "passed": 2 - bool(number), "failed": failed if number else []},
            "acceptance": [{"id": rule.pk, "name": rule.name, "kind": "contains", "n": 40, "passed": right, "rate": share}],
            "overall_score": {"value": 0.5 + share / 3},
        }  # fmt: skip
        keep_report(evaluation_id=evaluation.pk, report=report | more, samples_name=name)
        Job.objects.filter(pk=evaluation.pk).update(state="succeeded", phase="done")
        made.append(evaluation)
    return made


@pytest.fixture
def opened(browse, live_server, project, reviewer):
    def make(path: str, user=None):
        page = browse(1280, user=user or reviewer)
        page.goto(f"{live_server.url}/p/{project.slug}/results/{path}")
        return page

    return make


def test_the_pages_look_right_everywhere(opened, versions) -> None:
    one, two, three = (version.pk for version in versions)
    page = opened("rules")
    looks_right_everywhere(page, "rules")
    base = page.url.rsplit("/", 1)[0]
    for path, name in (
        ("cases", "cases"),
        ("cases/new", "new cases"),
        ("history", "history"),
        (f"compare?e={one}&e={two}", "compare same"),
        (f"compare?e={one}&e={two}&e={three}", "compare three"),
        ("compare", "compare choose"),
    ):
        page.goto(f"{base}/{path}")
        looks_right_everywhere(page, name)


def test_a_rule_is_tried_on_stored_answers_before_it_is_kept(opened, versions) -> None:
    page = opened("rules/new?kind=contains")
    looks_right_everywhere(page, "new rule")
    page.get_by_label("Words or phrases").fill("Payment")
    page.get_by_label("An answer to try it on").fill("No clause at all")
    page.get_by_role("button", name="Try it").click()
    page.get_by_text("4 of 40 answers of your newest model").wait_for()
    assert page.get_by_text("Your answer would fail").is_visible()
    looks_right_everywhere(page, "tried rule")
    page.get_by_role("button", name="Keep the rule").click()
    page.wait_for_url("**/results/rules")
    assert page.locator("strong", has_text="The answer must contain “Payment”.").is_visible()


def test_a_dot_of_the_history_leads_to_its_evaluation(opened, versions) -> None:
    page = opened("history")
    page.locator("svg.svg-chart a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/results/{versions[0].pk}")


def test_a_case_is_removed_and_put_back_without_leaving_the_page(opened, versions) -> None:
    page = opened("cases")
    page.get_by_role("button", name="Remove Rent is due").click()
    page.get_by_text("It can be put back below.").wait_for()
    assert RegressionCase.objects.filter(removed_at=None).count() == 1
    page.get_by_text("Removed cases").click()
    page.get_by_role("button", name="Put back Rent is due").click()
    page.get_by_text("The case applies again.").wait_for()
    assert RegressionCase.objects.filter(removed_at=None).count() == 2
