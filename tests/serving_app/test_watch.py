"""How a model in use does: the page and its JSON twin, read from counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from serving_app.histograms import CONFIDENCE_EDGES, LATENCY_EDGES, counted

pytestmark = pytest.mark.django_db


@pytest.fixture
def bucket(project):
    """``bucket(minutes_ago, ...)``: five minutes of traffic."""
    from serving_app.models import TrafficBucket

    def make(minutes_ago: float = 10, *, seconds=(0.4,) * 10, sure=(0.9,) * 10, **changes):
        at = timezone.now() - timedelta(minutes=minutes_ago)
        told = {
            "project": project,
            "model_name": "demo-base",
            "start_at": at - timedelta(seconds=at.timestamp() % 300),
            "requests": len(seconds),
            "latency": counted(seconds, LATENCY_EDGES),
            "latency_sum": sum(seconds),
            "confidence": counted(sure, CONFIDENCE_EDGES),
            "confidence_sum": sum(sure),
        }
        return TrafficBucket.objects.create(**told | changes)

    return make


@pytest.fixture
def watched(client, api_key):
    key = api_key("read")

    def ask(**query):
        answer = client.get("/api/v1/watch", query, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.content
        return answer.json()

    return ask


def test_an_empty_page_says_what_will_be_here(client_for, viewer, project) -> None:
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch").content.decode()
    assert "Nothing was asked in this time" in page
    assert "A comparison needs a trained model in use" in page


def test_the_sentences_say_what_the_plots_show(client_for, viewer, project, bucket, monkeypatch) -> None:
    from serving_app.models import Feedback

    monkeypatch.delenv("MACHINE_HOUR_COST", raising=False)
    bucket(10, seconds=(0.4,) * 20, failed=2, requests=25, refused=3, exact_hits=5, needs_human=4, prompt_tokens=1234)
    Feedback.objects.create(project=project, request_id="f", model_name="demo-base", verdict="good")
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch", {"range": "hour"}).content.decode()
    assert "25 questions" in page
    assert "Half of the answers come within 375 ms" in page  # the middle of the bin from 0.3 to 0.45
    assert "Of 25 questions 2 failed on our side and 3 were refused because of the call itself." in page
    assert "4 of the answers (20.0%) were put before a person." in page
    assert "People called 1 of 1 answers good and 0 bad." in page
    assert "25.0% of the answers came from a cache" in page
    assert "1,234 tokens were read" in page
    assert "MACHINE_HOUR_COST" in page
    assert "The same as a table" in page
    assert 'hx-trigger="every 30s"' in page


def test_a_known_rate_becomes_money(watched, bucket, monkeypatch) -> None:
    monkeypatch.setenv("MACHINE_HOUR_COST", "3.60 EUR")
    bucket(10, seconds=(1.0,) * 1_000)
    assert "about 1.00 EUR" in watched()["cost"]


def test_steps_and_totals_agree(watched, bucket) -> None:
    bucket(10)
    bucket(200)
    told = watched()
    assert told["total"]["requests"] == 20 == sum(step["requests"] for step in told["steps"])
    assert told["total"]["latency_p50"] == pytest.approx(0.375)
    assert told["total"]["mean_confidence"] == pytest.approx(0.9)
    assert len([step for step in told["steps"] if step["requests"]]) == 2


def test_one_model_and_no_shadow(watched, bucket) -> None:
    bucket(10)
    bucket(10, model_name="other", seconds=(2.0,) * 3)
    bucket(10, model_name="other", seconds=(9.0,) * 90, is_shadow=True)
    assert watched()["models"] == ["demo-base", "other"]
    assert watched()["total"]["requests"] == 13
    assert watched(model="other")["total"]["requests"] == 3


def test_a_question_refused_before_its_model_was_known_names_none(watched, bucket, project) -> None:
    from serving_app.queries.predictions import logged_models

    bucket(10)
    bucket(10, model_name="", refused=10)
    assert watched()["models"] == logged_models(project) == ["demo-base"]
    assert watched()["total"]["refused"] == 10


def test_a_mean_confidence_is_no_guess_from_the_bins(watched, bucket) -> None:
    bucket(10, sure=(0.999,) * 30)
    bucket(15, sure=(0.991,) * 10)
    assert watched()["total"]["mean_confidence"] == pytest.approx(0.997)


def test_a_model_that_came_into_use_bears_the_name_that_people_gave_it(
    client_for, viewer, trained, project, bucket
) -> None:
    from serving_app.models import Deployment

    model = trained("Clause types")
    Deployment.objects.create(project=project, trained_model=model, model_name=model.api_name)
    bucket(1)
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch", {"range": "hour"}).content.decode()
    assert "“Clause types”" in page
    assert "Clause types came into use" in page


def test_a_span_is_what_was_asked_for(watched, bucket, project) -> None:
    from serving_app.models import TrafficBucket

    for day in (1, 2, 3):
        TrafficBucket.objects.create(
            project=project, model_name="m", start_at=datetime(2026, 1, day, 12, tzinfo=UTC), requests=day
        )
    assert watched(**{"from": "2026-01-02", "to": "2026-01-02"})["total"]["requests"] == 2
    assert watched(**{"from": "2026-01-01", "to": "2026-01-03"})["total"]["requests"] == 6


@pytest.mark.parametrize(
    "query", [{"from": "soon"}, {"from": "2026-02-01", "to": "2026-01-01"}, {"from": "2020-01-01", "to": "2026-01-01"}]
)
def test_a_span_that_makes_no_sense_is_refused(client, api_key, query) -> None:
    answer = client.get("/api/v1/watch", query, headers={"Authorization": f"Bearer {api_key('read')}"})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] in ("from", "to")


def test_another_projects_traffic_is_not_seen(client, api_key, outsider, bucket) -> None:
    from accounts_app.models import Project

    bucket(10)
    theirs = Project.objects.get(memberships__user=outsider)
    headers = {"Authorization": f"Bearer {api_key('read', of=theirs)}"}
    assert client.get("/api/v1/watch", headers=headers).json()["total"]["requests"] == 0


def test_a_change_of_the_model_is_marked(client_for, viewer, project, actor, trained, bucket) -> None:
    from serving_app.operations import deploy_model

    bucket(10)
    deploy_model(actor=actor, trained_model=trained("Second"), sign_off="Tried by hand; good enough.")
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch").content.decode()
    assert "came into use</title>" in page
    assert "A dashed upright line stands where another model came into use" in page


def test_the_page_asks_few_questions_however_much_was_asked(
    client_for, viewer, project, bucket, django_assert_max_num_queries
) -> None:
    for minutes in range(5, 60 * 24, 5):
        bucket(minutes)
    client = client_for(viewer)
    with django_assert_max_num_queries(12):
        page = client.get(f"/p/{project.slug}/use/watch", {"range": "month"}).content.decode()
    assert "2,870 questions" in page


def test_what_a_model_is_called_is_never_markup(client_for, viewer, project, bucket) -> None:
    from serving_app.models import Deployment

    bucket(10, model_name="<script>x</script>")
    Deployment.objects.create(project=project, base_model_key="b", model_name="<script>x</script>")
    page = client_for(viewer).get(f"/p/{project.slug}/use/watch").content.decode()
    assert "<script>x" not in page


@pytest.mark.browser
def test_the_pages_read_well_in_a_browser(
    browse, live_server, viewer, project, bucket, actor, transactional_db
) -> None:
    from serving_app.models import Alert, AlertRule, Deployment, DriftReport, Feedback
    from tests.browser import looks_right

    for minutes in range(5, 60, 5):
        slow = 0.3 + minutes / 100
        sure = (0.95,) * 6 + (0.4,) * 4
        told = {"exact_hits": 2, "needs_human": 1, "prompt_tokens": 900, "completion_tokens": 150, "requests": 11}
        bucket(minutes, seconds=(slow,) * 8 + (slow * 4,) * 2, sure=sure, failed=minutes % 3 == 0, **told)
    long_name = f"ft:demo-base:{project.slug}:" + "clauses-of-commercial-leases-second-reading:01k"
    bucket(20, model_name=long_name, failed=3, refused=2, left=1, requests=16)
    at = timezone.now() - timedelta(minutes=25)
    deployment = Deployment.objects.create(
        project=project, model_name=long_name, base_model_key="demo-base", activated_at=at, state="active"
    )
    finding = {
        "name": "length",
        "value": 0.31,
        "limit": 0.2,
        "is_over": True,
        "sentence": "A question has 90 characters.",
    }
    DriftReport.objects.create(
        project=project,
        deployment=deployment,
        questions=412,
        since=at,
        findings=[finding, finding | {"is_over": False}],
    )
    for number in range(9):
        verdict = "bad" if number % 3 == 0 else "good"
        Feedback.objects.create(project=project, request_id=str(number), model_name="demo-base", verdict=verdict)
    rule = AlertRule.objects.create(project=project, kind="latency", threshold=1.0)
    sentence = "95 of 100 answers come within 5 s (limit 1 s)."
    Alert.objects.create(project=project, rule=rule, value=5, sentence=sentence)
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = browse(width, user=viewer, color_scheme=scheme)
        page.goto(f"{live_server.url}/p/{project.slug}/use/watch?range=hour")
        page.get_by_text("The same as a table").click()
        looks_right(page, f"watch {width} {scheme}")
        page.goto(f"{live_server.url}/p/{project.slug}/use/alerts")
        looks_right(page, f"alerts {width} {scheme}")


@pytest.mark.browser
def test_the_figures_are_fetched_again_by_themselves(browse, live_server, viewer, project, bucket) -> None:
    bucket(10)
    page = browse(1280, user=viewer)
    page.goto(f"{live_server.url}/p/{project.slug}/use/watch?range=hour")
    assert "10 questions" in page.inner_text("#panel-traffic")
    bucket(20)
    page.evaluate(
        "htmx.ajax('GET', location.href, {target: '#watch-figures', select: '#watch-figures', swap: 'outerHTML'})"
    )
    page.wait_for_function("document.querySelector('#panel-traffic').innerText.includes('20 questions')")
    assert page.get_attribute("#watch-figures", "hx-trigger") == "every 30s"
    assert page.complaints == []


def test_a_mark_stands_over_the_step_in_which_the_model_changed(project) -> None:
    from serving_app.panels import _plot
    from serving_app.queries.watch import Change, Figures, Span, Watch
    from web_kit.svg_time import LEFT, RIGHT, WIDTH

    since = datetime(2026, 1, 1, tzinfo=UTC)
    span = Span(since, since + timedelta(minutes=35), timedelta(minutes=30))
    steps = [Figures() for _start in span.starts]
    change = Change(since + timedelta(minutes=30), "m", "M")
    watch = Watch(span, "", [], Figures(), steps, [change], [], {})
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert f'x1="{middle:g}"' in _plot(watch, lambda one: one.requests, label="x")
