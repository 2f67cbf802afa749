"""The page of a finished evaluation: every section, what would make it better, who may see what."""

from __future__ import annotations

import pytest

from tests.evaluation_app.full_report import full_report
from tests.evaluation_app.test_report_files import finished

pytestmark = pytest.mark.django_db


@pytest.fixture
def full(evaluation):
    return finished(evaluation, full_report())


@pytest.fixture
def page(client_for, project):
    def get(user, evaluation) -> str:
        response = client_for(user).get(f"/p/{project.slug}/results/{evaluation.pk}")
        assert response.status_code == 200
        return response.content.decode()

    return get


def whole(evaluation):
    from evaluation_app.queries.report.whole import whole_report

    return whole_report(evaluation)


def test_every_part_that_was_measured_has_its_section(full) -> None:
    assert [section.key for section in whole(full).sections] == [
        "rules",
        "robustness",
        "fairness",
        "forgetting",
        "speed",
        "cost",
        "slices",
        "clusters",
        "people",
        "judge",
        "calibration",
        "prompting",
        "worth",
        "lineage",
        "limitations",
    ]


def test_a_report_of_the_first_version_has_only_what_it_knows(done) -> None:
    assert [section.key for section in whole(done).sections] == ["people", "worth", "lineage", "limitations"]
    assert whole(done).overall is None


def test_a_part_that_was_not_run_has_no_section(evaluation) -> None:
    nothing = dict.fromkeys(("robustness", "fairness", "cost", "capabilities", "judge", "prompting", "performance"))
    keys = {section.key for section in whole(finished(evaluation, full_report() | nothing)).sections}
    assert not keys & {"robustness", "fairness", "cost", "forgetting", "judge", "prompting", "speed"}


def test_the_page_takes_at_most_twelve_queries(client_for, owner, project, full, django_assert_max_num_queries) -> None:
    client = client_for(owner)
    client.get(f"/p/{project.slug}/results/{full.pk}")
    with django_assert_max_num_queries(12):
        client.get(f"/p/{project.slug}/results/{full.pk}")


def test_all_models_stand_in_the_figures_the_subject_first(full) -> None:
    first = whole(full).view.rows[0]
    assert [cell.contender.key for cell in first.cells] == ["tuned", "base", "asked", "tfidf"]
    assert [row.name for row in whole(full).headline.rows][:2] == ["Clauses", "demo-base"]


def test_a_broken_rule_stands_first_whatever_the_score(full, page, viewer) -> None:
    assert whole(full).reasons[0].text == "Broken: Never names a price."
    text = page(viewer, full)
    assert text.index("Broken: Never names a price.") < text.index("79 of 100")
    assert "broken once" in text


def test_what_would_make_it_better_names_the_act_and_its_place(full) -> None:
    acts = {act.anchor: act.text for act in whole(full).advice}
    assert "“Never names a price” is broken by 1 answer" in acts["rules"] or "must not be forgotten" in acts["rules"]
    assert "9 mistakes look alike: “delay, flood, control”" in acts["clusters"]
    assert "“Germany”" in acts["slices"]
    assert "Typing mistakes cost it 23.5%" in acts["robustness"]


def test_more_cases_are_asked_for_by_number(evaluation) -> None:
    verdict = {"kind": "more_cases", "sentence": "More cases needed.", "cases_needed": 300}
    found = whole(finished(evaluation, full_report() | {"acceptance": [], "regressions": None, "verdict": verdict}))
    assert any("about 180 more test cases (300 in all)" in act.text for act in found.advice)
    assert [act.tone for act in found.advice] == sorted(
        (act.tone for act in found.advice), key=["bad", "warn", "info"].index
    )


def test_small_groups_are_not_shown_and_said_among_the_limits(full, page, viewer) -> None:
    text = page(viewer, full)
    assert "fewer than 30 cases: not shown" in text
    assert "1 group with fewer than 30 cases is not shown." in text


def test_limits_name_what_was_left_out_and_what_has_no_price(full) -> None:
    limits = [note.text for note in whole(full).section("limitations").blocks[0].items]
    assert "“The judging model” was not measured. No judge was named." in limits
    assert "No price is known for demo-base, 4 examples." in limits


def test_rows_and_answers_are_never_markup(full, page, viewer) -> None:
    text = page(viewer, full)
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_who_judges_blind_does_not_see_the_report(full, page, reviewer, owner, project, client_for) -> None:
    from evaluation_app.models import Review

    Review.objects.create(project=project, evaluation=full, name="Blind", kind="pairs", seed=1, keys=["tuned", "base"])
    text = page(reviewer, full)
    assert "You are judging these answers blind" in text
    assert "80.8%" not in text
    assert client_for(reviewer).get(f"/p/{project.slug}/results/{full.pk}/report.pdf").status_code == 409
    assert "80.8%" in page(owner, full)


def test_the_verdict_of_people_is_shown_from_the_closed_review(full, project) -> None:
    from django.utils import timezone

    from evaluation_app.models import Review

    unchanged = {"value": 0.7, "ci_low": 0.55, "ci_high": 0.82, "n": 40}
    results = {
        "review": "r",
        "name": "Corrections",
        "kind": "correction",
        "is_closed": True,
        "items": 40,
        "hardest_items": 0,
        "raters_per_item": 1,
        "votes": 40,
        "complete_items": 40,
        "models": [{"key": "tuned", "name": "Clauses"}],
        "unchanged": unchanged,
    }
    Review.objects.create(
        project=project,
        evaluation=full,
        name="Corrections",
        kind="correction",
        state="closed",
        seed=1,
        keys=["tuned"],
        closed_at=timezone.now(),
        results=results,
    )
    section = whole(full).section("people")
    assert section.state == "reviewed"
    assert "70 % of 40 answers needed no correction." in section.blocks[0].items[0].text


def test_assumptions_typed_on_their_page_turn_into_money(full, client_for, trainer, project) -> None:
    client = client_for(trainer)
    url = f"/p/{project.slug}/results/assumptions?evaluation={full.pk}"
    typed = {
        "today": "manual",
        "currency": "eur",
        "horizon_months": "12",
        "share_source": "accuracy",
        "monthly_volume_low": "500",
        "monthly_volume_expected": "1000",
        "monthly_volume_high": "1500",
        "hourly_rate_expected": "30",
        "minutes_today_expected": "10",
        "minutes_saved_expected": "6",
        "data_preparation_cost_expected": "600",
    }
    answer = client.post(url, typed)
    assert answer["Location"] == f"/p/{project.slug}/results/{full.pk}"
    # 1000 x (30/60 x 6 x 0.808 - 0.000414) = 2423.59
    assert whole(full).kpis.monthly_savings.expected == 2423.59
    assert "2,423.59 EUR" in client.get(answer["Location"]).content.decode()
    assert 'value="1500"' in client.get(url).content.decode()


def test_assumptions_out_of_order_are_refused_beside_the_field(client_for, trainer, project) -> None:
    typed = {"today": "manual", "currency": "EUR", "horizon_months": "12", "share_source": "accuracy"}
    typed |= {"hourly_rate_low": "50", "hourly_rate_expected": "30"}
    answer = client_for(trainer).post(f"/p/{project.slug}/results/assumptions", typed)
    assert answer.status_code == 422
    assert "low &lt;= expected" in answer.content.decode()


def test_the_api_reads_and_changes_the_assumptions(client, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('train')}"}
    body = {"hourly_rate": {"low": 20, "expected": 30, "high": 45}, "today": "manual"}
    answer = client.put("/api/v1/report-assumptions", body, content_type="application/json", headers=headers)
    assert answer.status_code == 200, answer.content
    read = client.get("/api/v1/report-assumptions", headers={"Authorization": f"Bearer {api_key('read')}"}).json()
    assert read["hourly_rate"] == {"low": "20", "expected": "30", "high": "45"}
    wrong = client.put(
        "/api/v1/report-assumptions", {"hourly_rate": -1}, content_type="application/json", headers=headers
    )
    assert wrong.status_code == 422


def test_a_report_of_one_model_alone_has_a_page_and_all_files(evaluation, page, viewer, client_for, project) -> None:
    report = full_report() | {"against": None, "comparison": None, "comparisons": [], "prompting": None}
    report["models"] = [model for model in report["models"] if model["key"] == "tuned"]
    report["slices"] = [one | {"against": None} for one in report["slices"]]
    alone = finished(evaluation, report)
    assert "80.8%" in page(viewer, alone)
    for name in ("report.json", "report.csv", "report.html", "report.pdf", "model-card.md"):
        assert client_for(viewer).get(f"/p/{project.slug}/results/{alone.pk}/{name}").status_code == 200, name


def test_what_was_asked_for_and_gave_nothing_is_among_the_limits(evaluation) -> None:
    report = full_report()
    report["suites_run"].remove("cost")
    report["overall_score"]["parts"][2] |= {"score": None, "reason": "No column names groups."}
    limits = [note.text for note in whole(finished(evaluation, report)).section("limitations").blocks[0].items]
    assert "“Fairness” was not measured. No column names groups." in limits
    assert "“Cost” was not measured." in limits


def test_how_often_an_attack_is_obeyed_stands_first_among_its_figures(full) -> None:
    section = next(one for one in whole(full).sections if one.key == "robustness")
    table = next(one for one in section.blocks if getattr(one, "title", "") == "Attempts to trick it")
    assert [column.label for column in table.columns][:3] == ["Disturbance", "Cases", "Attack obeyed"]
    assert [cell.text for cell in table.rows[0].cells][:3] == ["direct injection", "50", "34.0%"]


def test_what_qualifies_the_verdict_stands_apart_from_it(full, page, trainer) -> None:
    full.verdict_sentence = "Ship: it is right. Look at this before using it: capitals hurt."
    full.save()
    body = page(trainer, full)
    assert "<p>Ship: it is right.</p>" in body
    assert '<p class="small">Look at this before using it: capitals hurt.</p>' in body
