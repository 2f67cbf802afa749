"""The prediction log: found again, taken away, and deleted when it is old."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from web_kit.ids import new_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def logged(project):
    from serving_app.models import Prediction

    def make(**changes):
        told = {
            "request_id": new_id(),
            "project": project,
            "door": "predict",
            "model_name": "demo-base",
            "input": {"messages": [{"role": "user", "content": changes.get("question_text", "May I sublet?")}]},
            "question_text": "May I sublet?",
            "output": "With consent.",
            "latency_seconds": 0.2,
            "at": timezone.now(),
        }
        return Prediction.objects.create(**told | changes)

    return make


def listed(client, key, **query) -> list[str]:
    answer = client.get("/api/v1/predictions", query, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.content
    return [entry["id"] for entry in answer.json()["data"]]


def test_each_filter_finds_its_own(client, project, api_key, logged) -> None:
    key = api_key("read")
    logged()
    wanted = {
        "q": ("rent", logged(question_text="How high is the rent?")),
        "model": ("other", logged(model_name="other")),
        "verdict": ("bad", logged(verdict="bad")),
        "status": ("failed", logged(status=503, output="")),
        "cached": ("semantic", logged(cached=True, cache_kind="semantic")),
        "human": ("waiting", logged(needs_human=True)),
        "below": ("0.5", logged(confidence=0.9, calibrated=0.3)),
        "door": ("chat", logged(door="chat")),
        "until": ("2020-01-31", logged(at=timezone.now().replace(year=2020, month=1, day=31))),
    }
    for name, (value, row) in wanted.items():
        assert listed(client, key, **{name: value}) == [row.request_id], name


def test_a_request_id_is_found_as_it_is_written(client, project, api_key, logged) -> None:
    row, _other = logged(), logged()
    assert listed(client, api_key("read"), q=f" {row.request_id.upper()} ") == [row.request_id]


def test_a_filter_that_cannot_be_read_names_itself(client, project, api_key, client_for, owner) -> None:
    answer = client.get(
        "/api/v1/predictions", {"since": "tomorrow"}, headers={"Authorization": f"Bearer {api_key('read')}"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "since"
    page = client_for(owner).get(f"/p/{project.slug}/use/predictions", {"below": "very"})
    assert page.status_code == 422
    assert "between 0 and 100 percent" in page.content.decode()


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "2026-02-31", "0001-01-01T00:00:00+14:00"])
def test_a_day_outside_all_time_is_refused(client, api_key, day) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    for url, name in (("predictions", "until"), ("watch", "to")):
        assert client.get(f"/api/v1/{url}", {name: day}, headers=headers).status_code == 422


def test_a_search_reads_the_newest_rows_only(client, project, api_key, logged, monkeypatch) -> None:
    from serving_app.queries import predictions

    monkeypatch.setattr(predictions, "SEARCHED", 2)
    logged(output="needle")
    newer = [logged(output="needle"), logged()]
    assert listed(client, api_key("read"), q="needle") == [newer[0].request_id]


def test_the_filters_hold_on_the_page_and_lead_to_the_one_answer(client_for, viewer, project, logged) -> None:
    good, bad = logged(output="Yes, gladly.", verdict="good"), logged(output="Never.", verdict="bad")
    page = client_for(viewer).get(f"/p/{project.slug}/use/predictions", {"verdict": "bad"}).content.decode()
    assert "Never." in page
    assert "Yes, gladly." not in page
    one = client_for(viewer).get(f"/p/{project.slug}/use/predictions/{bad.request_id}").content.decode()
    assert "Never." in one
    assert "May I sublet?" in one
    assert good.request_id not in one


def test_another_projects_answer_is_missing(client_for, outsider, client, api_key, logged) -> None:
    from accounts_app.models import Project

    row = logged()
    theirs = Project.objects.get(memberships__user=outsider)
    assert client_for(outsider).get(f"/p/{theirs.slug}/use/predictions/{row.request_id}").status_code == 404
    headers = {"Authorization": f"Bearer {api_key('read', of=theirs)}"}
    assert client.get(f"/api/v1/predictions/{row.request_id}", headers=headers).status_code == 404


def download(client, project, **query) -> bytes:
    answer = client.get(f"/p/{project.slug}/use/predictions/export", query)
    assert answer.status_code == 200
    assert "attachment" in answer["Content-Disposition"]
    return b"".join(answer.streaming_content)


def test_a_table_holds_no_formula_and_keeps_the_filter(client_for, viewer, project, logged) -> None:
    logged(output='=HYPERLINK("http://evil")', verdict="bad")
    logged(output="fine")
    told = download(client_for(viewer), project, form="csv", verdict="bad").decode()
    rows = list(csv.DictReader(io.StringIO(told)))
    assert [row["output"] for row in rows] == ['\'=HYPERLINK("http://evil")']


def test_jsonl_is_as_it_is_and_reaches_past_one_batch(client_for, viewer, project, logged, monkeypatch) -> None:
    from serving_app.queries import predictions

    monkeypatch.setattr(predictions, "_BATCH", 2)
    wanted = [logged(output=f"={number}").request_id for number in range(5)]
    lines = [json.loads(line) for line in download(client_for(viewer), project, form="jsonl").splitlines()]
    assert [line["id"] for line in lines] == wanted[::-1]
    assert lines[0]["output"] == "=4"


def test_a_download_is_in_the_audit_trail_without_the_search(client_for, viewer, project, logged) -> None:
    from accounts_app.models import AuditEntry

    logged(question_text="about Mrs Miller")
    download(client_for(viewer), project, form="csv", q="Miller", verdict="none")
    entry = AuditEntry.objects.filter(act="prediction.export").get()
    assert {name: entry.data[name] for name in ("form", "filters", "searched")} == {
        "form": "csv",
        "filters": {"verdict": "none"},
        "searched": True,
    }


def test_the_api_exports_with_the_same_filters(client, project, api_key, logged) -> None:
    row = logged(verdict="good")
    logged()
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    answer = client.get("/api/v1/predictions/export", {"form": "jsonl", "verdict": "good"}, headers=headers)
    lines = b"".join(answer.streaming_content).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row.request_id]
    assert client.get("/api/v1/predictions/export", {"form": "exe"}, headers=headers).status_code == 422


def test_old_answers_go_and_feedback_and_counts_stay(project, actor, logged) -> None:
    from serving_app.models import Feedback, Prediction, TrafficBucket
    from serving_app.operations import prune_log

    old = logged(at=timezone.now() - timedelta(days=91))
    young = logged(at=timezone.now() - timedelta(days=89))
    kept = Feedback.objects.create(
        project=project, prediction=old, request_id=old.request_id, model_name="m", verdict="bad", answer="x"
    )
    TrafficBucket.objects.create(project=project, model_name="m", start_at=old.at, requests=1)
    assert prune_log() == 1
    assert list(Prediction.objects.all()) == [young]
    kept.refresh_from_db()
    assert (kept.prediction_id, kept.answer) == (None, "x")
    assert TrafficBucket.objects.count() == 1


def test_a_project_decides_how_long(project, actor, logged) -> None:
    from serving_app.models import Prediction
    from serving_app.operations import prune_log
    from serving_app.operations.log_policy import set_log_policy

    logged(at=timezone.now() - timedelta(days=1_000))
    set_log_policy(actor=actor, keep_days=None, masks_personal_data=False, keeps_texts=True)
    assert prune_log() == 0
    set_log_policy(actor=actor, keep_days=7, masks_personal_data=False, keeps_texts=True)
    assert prune_log() == 1
    assert Prediction.objects.count() == 0


def test_pruning_goes_on_where_it_stopped(project, logged, monkeypatch) -> None:
    from serving_app.operations import log_policy

    monkeypatch.setattr(log_policy, "BATCH", 2)
    monkeypatch.setattr(log_policy, "MOST_AT_ONCE", 4)
    for _ in range(5):
        logged(at=timezone.now() - timedelta(days=400))
    assert log_policy.prune_log() == 4
    assert log_policy.prune_log() == 1


def test_only_an_owner_decides_and_it_is_written_down(client_for, trainer, owner, project) -> None:
    from accounts_app.models import AuditEntry
    from serving_app.models import LogPolicy

    url = f"/p/{project.slug}/use/predictions/settings"
    assert client_for(trainer).post(url, {"keep_days": 3}).status_code == 403
    assert client_for(owner).post(url, {"keep_days": "30", "masks_personal_data": "on"}).status_code == 302
    policy = LogPolicy.objects.get(project=project)
    assert (policy.keep_days, policy.masks_personal_data, policy.keeps_texts) == (30, True, False)
    assert AuditEntry.objects.filter(act="log_policy.set").count() == 1
    assert client_for(owner).post(url, {"keep_days": "0"}).status_code == 422


def test_the_policy_by_the_api(client, project, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    body = {"keep_days": None, "masks_personal_data": True, "keeps_texts": True}
    url = "/api/v1/predictions/policy"
    assert client.put(url, body, content_type="application/json", headers=headers).json() == body
    assert client.get(url, headers=headers).json() == body
    weak = {"Authorization": f"Bearer {api_key('read')}"}
    assert client.put(url, body, content_type="application/json", headers=weak).status_code == 403


@pytest.mark.browser
def test_the_log_reads_well_in_a_browser(browse, live_server, owner, project, logged, transactional_db) -> None:
    from tests.browser import looks_right

    row = logged(
        question_text="May I end the lease early? " * 12, output="Yes, with two months' notice. " * 9, confidence=0.71,
        calibrated=0.62, needs_human=True, verdict="bad", correction="No.", prompt_tokens=80, completion_tokens=30,
        params={"temperature": 0.0, "max_tokens": 200}, model_name=f"ft:demo-base:{project.slug}:clauses:01k",
    )  # fmt: skip
    logged(status=503, output="", error="No model server is running.")
    logged(shadow_of=new_id(), output="Of course.", confidence=0.4)
    logged(cached=True, cache_kind="exact", input={}, question_text="", output="")
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = browse(width, user=owner, color_scheme=scheme)
        for name, path in (("log", "?cached=no"), ("answer", f"/{row.request_id}"), ("log-settings", "/settings")):
            page.goto(f"{live_server.url}/p/{project.slug}/use/predictions{path}")
            looks_right(page, f"{name} {width} {scheme}")


def test_a_word_as_long_as_an_id_is_found_as_a_text(client, project, api_key, logged) -> None:
    word = "Rechtsschutzversicherungen"
    found = logged(question_text=f"Was zahlen {word}?")
    assert listed(client, api_key("read"), q=word) == [found.request_id]


def test_questions_noted_beside_cached_answers_are_no_older_than_the_log(project, logged) -> None:
    from serving_app.models import SemanticServing
    from serving_app.operations import prune_log

    for days, verdict in ((91, ""), (91, "wrong"), (89, "")):
        SemanticServing.objects.create(
            project=project, request_id=new_id(), asked="Anna?", kept_question="Anna", similarity=0.9,
            verdict=verdict, at=timezone.now() - timedelta(days=days),
        )  # fmt: skip
    assert prune_log() == 1
    assert SemanticServing.objects.filter(verdict="").count() == 1
    assert SemanticServing.objects.filter(verdict="wrong").exists()


def test_an_answer_that_nobody_got_says_so_in_the_log(client_for, viewer, project, logged) -> None:
    logged(shadow_of=new_id())
    page = client_for(viewer).get(f"/p/{project.slug}/use/predictions").content.decode()
    assert "only listened along" in page


def test_an_answers_page_tells_the_whole_conversation_in_words(logged, client_for, viewer, project) -> None:
    call = {"id": "1", "function": {"name": "look_up", "arguments": "{}"}}
    row = logged(
        status=499,
        input={
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "May I leave?"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
            ]
        },
    )
    page = client_for(viewer).get(f"/p/{project.slug}/use/predictions/{row.request_id}").content.decode()
    for words in (
        "Instruction",
        "Question",
        "Answer before",
        "May I leave?",
        "look_up",
        "the caller left before the end",
    ):
        assert words in page
    assert "&#x27;type&#x27;" not in page


def test_what_was_turned_into_numbers_is_shown(logged, client_for, viewer, project) -> None:
    row = logged(door="embeddings", input={"texts": ["May I sublet?", "May I paint it?"]}, output="")
    page = client_for(viewer).get(f"/p/{project.slug}/use/predictions/{row.request_id}").content.decode()
    for words in ("May I sublet?", "May I paint it?", "Numbers, which are not kept."):
        assert words in page
    assert "The text was not kept." not in page
