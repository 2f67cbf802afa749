"""Alerts: opened once, told, and closed when it is over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from serving_app.histograms import CONFIDENCE_EDGES, LATENCY_EDGES, counted

pytestmark = pytest.mark.django_db


@pytest.fixture
def traffic(project):
    from serving_app.models import TrafficBucket

    def make(**changes):
        at = timezone.now()
        told = {
            "project": project,
            "model_name": "m",
            "start_at": at - timedelta(seconds=at.timestamp() % 300),
            "requests": 100,
        }
        return TrafficBucket.objects.update_or_create(project=project, model_name="m", defaults=told | changes)[0]

    return make


@pytest.fixture
def rule(actor):
    from serving_app.operations.alerts import add_alert_rule

    def make(kind="error_rate", threshold=0.05, **more):
        return add_alert_rule(actor=actor, kind=kind, threshold=threshold, **more)

    return make


def opened() -> list:
    from serving_app.models import Alert

    return list(Alert.objects.order_by("id"))


def check() -> int:
    from serving_app.operations import check_alerts

    return check_alerts()


def test_an_alert_opens_once_and_closes_when_it_is_over(rule, traffic) -> None:
    rule()
    traffic(failed=10)
    assert [check(), check()] == [1, 0]
    (alert,) = opened()
    assert alert.sentence == "10.0% of the questions failed (limit 5.0%)."
    assert alert.closed_at is None
    traffic(failed=1)
    assert check() == 1
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_figure_that_hovers_at_the_limit_is_not_told_again_and_again(rule, traffic) -> None:
    rule(threshold=0.10)
    moved = []
    for failed in (11, 10, 11, 10, 11):
        traffic(failed=failed)
        moved.append(check())
    assert moved == [1, 0, 0, 0, 0]
    traffic(failed=9)
    assert check() == 1


def test_a_few_questions_open_nothing(rule, traffic) -> None:
    rule()
    traffic(requests=19, failed=19)
    assert check() == 0


def test_silence_ends_an_alert(rule, traffic) -> None:
    rule()
    bucket = traffic(failed=50)
    check()
    bucket.delete()
    assert check() == 1
    assert opened()[0].closed_at is not None


def test_each_kind_reads_its_own_figure(rule, traffic, project, actor) -> None:
    from serving_app.models import DriftReport, Feedback
    from serving_app.operations import deploy_model

    deployment = deploy_model(actor=actor, base_model_key="demo-base")
    traffic(
        failed=50,
        needs_human=40,
        latency=counted([20.0] * 50, LATENCY_EDGES),
        confidence=counted([0.2] * 50, CONFIDENCE_EDGES),
        confidence_sum=0.2 * 50,
        prompt_tokens=900,
        completion_tokens=200,
    )
    for number in range(6):
        Feedback.objects.create(project=project, request_id=str(number), model_name="m", verdict="bad")
    DriftReport.objects.create(
        project=project, deployment=deployment, questions=90, since=timezone.now(), findings=[{"is_over": True}]
    )
    limits = {
        "error_rate": 0.1, "latency": 5, "no_replica": 1, "confidence": 0.5, "needs_human": 0.2, "bad_feedback": 0.5,
        "drift": 0, "tokens": 1_000,
    }  # fmt: skip
    for kind, threshold in limits.items():
        rule(kind, threshold)
    assert check() == len(limits)
    assert {alert.rule.kind for alert in opened()} == set(limits)


def test_a_model_server_that_comes_back_ends_the_alert(rule, actor) -> None:
    from serving_app.operations import announce_replica, deploy_model

    deploy_model(actor=actor, base_model_key="demo-base")
    rule("no_replica", 1)
    assert check() == 1
    announce_replica(address="unix:/here", host="here", pid=1)
    assert check() == 1
    assert opened()[0].closed_at is not None


def test_without_a_model_in_use_no_server_is_missed(rule) -> None:
    rule("no_replica", 1)
    assert check() == 0


def test_one_rule_that_cannot_be_read_does_not_stop_the_others(rule, traffic, monkeypatch) -> None:
    from serving_app import alerts

    def broken(_project, _minutes):
        raise RuntimeError

    rule("tokens", 5)
    rule()
    traffic(failed=50)
    kind = alerts.KINDS["tokens"]
    monkeypatch.setitem(alerts.KINDS, "tokens", type(kind)("count", 1.0, 60, broken, ""))
    assert check() == 1


def test_owners_get_a_letter_and_programs_a_message(rule, traffic, actor, owner, trainer, project, settings) -> None:
    from work_kit.models import Delivery, WebhookEndpoint

    settings.MAIL_IS_SENT = True
    for events in (["serving.alert.opened"], ["fine_tuning.job.failed"]):
        WebhookEndpoint.objects.create(project=project, url="https://example.org/x", secret="s", events=events)
    rule()
    traffic(failed=50)
    check()
    letter = Delivery.objects.get(endpoint=None)
    assert letter.recipient == owner
    assert "50.0% of the questions failed" in letter.payload["text"]
    message = Delivery.objects.get(recipient=None)
    assert message.event == message.payload["type"] == "serving.alert.opened"
    assert message.payload["data"]["id"] == opened()[0].pk
    assert message.payload["data"]["value"] == 0.5
    traffic(failed=0)
    check()
    assert Delivery.objects.filter(endpoint=None).count() == 2
    assert Delivery.objects.filter(recipient=None).count() == 1  # nobody asked to hear of the end


def test_the_letter_is_really_sent_to_one_who_is_still_there(
    rule, traffic, owner, project, settings, mailoutbox
) -> None:
    from accounts_app.models import Membership
    from work_kit.notifications.postman import send_due

    settings.MAIL_IS_SENT = True
    rule()
    traffic(failed=50)
    check()
    send_due()
    assert [message.to for message in mailoutbox] == [[owner.email]]
    assert "/use/alerts" in mailoutbox[0].body
    traffic(failed=0)
    check()
    Membership.objects.filter(user=owner).delete()
    send_due()
    assert len(mailoutbox) == 1


def test_an_owner_who_wants_no_letters_gets_none(rule, traffic, actor, settings) -> None:
    from work_kit.models import Delivery
    from work_kit.notifications.operations import set_mail_wish

    settings.MAIL_IS_SENT = True
    set_mail_wish(actor=actor, about="nothing")
    rule()
    traffic(failed=50)
    check()
    assert Delivery.objects.count() == 0


def test_the_usual_rules_come_with_one_press_and_only_once(client_for, owner, project) -> None:
    from serving_app.models import AlertRule

    client = client_for(owner)
    for _ in range(2):
        client.post(f"/p/{project.slug}/use/alerts/usual")
    assert AlertRule.objects.filter(project=project).count() == 5
    page = client.get(f"/p/{project.slug}/use/alerts").content.decode()
    assert "Share of failed requests over 5.0% in 15 min" in page
    assert "Watch what most projects watch" not in page


def test_a_share_is_written_in_percent_and_a_wrong_limit_is_refused(client_for, owner, project) -> None:
    from serving_app.models import AlertRule

    client, url = client_for(owner), f"/p/{project.slug}/use/alerts"
    assert client.post(url, {"kind": "error_rate", "threshold": "7.5"}).status_code == 302
    assert AlertRule.objects.get().threshold == 0.075
    assert client.post(url, {"kind": "error_rate", "threshold": "250"}).status_code == 422
    assert client.post(url, {"kind": "tokens", "threshold": "nan"}).status_code == 422


def test_switching_a_rule_off_closes_its_alert_without_a_message(client_for, owner, project, rule, traffic) -> None:
    from work_kit.models import Delivery

    one = rule()
    traffic(failed=50)
    check()
    told = Delivery.objects.count()
    client_for(owner).post(f"/p/{project.slug}/use/alerts/{one.pk}", {"to": "off"})
    assert opened()[0].closed_at is not None
    assert check() == 0
    assert Delivery.objects.count() == told


def test_a_viewer_sees_the_rules_and_changes_none(client_for, viewer, project, rule) -> None:
    one = rule()
    client = client_for(viewer)
    page = client.get(f"/p/{project.slug}/use/alerts").content.decode()
    assert "Share of failed requests" in page
    assert "Switch off" not in page
    assert client.post(f"/p/{project.slug}/use/alerts/{one.pk}", {"to": "delete"}).status_code == 403


def test_rules_by_the_api(client, api_key, outsider) -> None:
    from accounts_app.models import Project

    mine = api_key("admin")

    def call(method, url, body=None, key=mine):
        headers = {"Authorization": f"Bearer {key}"}
        return getattr(client, method)(f"/api/v1{url}", body, content_type="application/json", headers=headers)

    made = call("post", "/alert-rules", {"kind": "latency", "threshold": 3}).json()
    assert (made["unit"], made["window_minutes"]) == ("seconds", 15)
    changed = call("patch", f"/alert-rules/{made['id']}", {"is_enabled": False}).json()
    assert (changed["is_enabled"], changed["threshold"]) == (False, 3.0)
    assert call("post", "/alert-rules", {"kind": "weather", "threshold": 3}).status_code == 422
    assert len(call("post", "/alert-rules/usual").json()["data"]) == 4
    theirs = api_key("admin", of=Project.objects.get(memberships__user=outsider))
    assert call("delete", f"/alert-rules/{made['id']}", key=theirs).status_code == 404
    assert call("delete", f"/alert-rules/{made['id']}").status_code == 204
    assert client.get("/api/v1/alerts", headers={"Authorization": f"Bearer {api_key('read')}"}).json()["data"] == []


@pytest.mark.parametrize(("threshold", "bottom"), [(0.5, 0.55), (0.95, 0.975), (0.975, 0.9875)])
def test_a_high_limit_on_confidence_can_be_met_again(threshold, bottom) -> None:
    from serving_app.alerts import KINDS

    kind = KINDS["confidence"]
    assert kind.is_back(bottom + 1e-9, threshold)
    assert not kind.is_back(bottom - 1e-6, threshold)


def test_a_limit_on_confidence_above_all_that_is_counted_does_not_open_and_close_in_turn() -> None:
    from serving_app.alerts import KINDS

    assert KINDS["confidence"].is_past(0.975, 1.0)
    assert not KINDS["confidence"].is_back(0.975, 1.0)


def test_a_server_that_keeps_ending_opens_one_alert_in_ten_minutes(rule, traffic) -> None:
    from serving_app.models import Alert

    rule()
    for failed in (10, 0, 10, 0):
        traffic(failed=failed)
        check()
    assert len(opened()) == 1
    Alert.objects.update(closed_at=timezone.now() - timedelta(minutes=11))
    traffic(failed=10)
    assert check() == 1


def test_a_time_that_cannot_be_counted_is_refused_as_a_limit(rule) -> None:
    from finetune_engine.errors import UserError

    with pytest.raises(UserError, match="120 seconds"):
        rule("latency", 120.0)
    assert rule("latency", 119.0).threshold == 119.0


def test_the_refusal_of_a_limit_is_written_as_people_write(rule) -> None:
    from finetune_engine.errors import UserError

    with pytest.raises(UserError) as refused:
        rule("error_rate", 1.5)
    assert refused.value.sentence.endswith("at most 1 (100%).")


def test_a_rule_about_time_is_written_without_the_word_of_the_field(client_for, owner, project, rule) -> None:
    rule("latency", 5.0)
    page = client_for(owner).get(f"/p/{project.slug}/use/alerts").content.decode()
    assert "Time for 95 of 100 answers over 5 s in 15 min" in page
    assert "Time for 95 of 100 answers (seconds)" in page
    assert "percentile" not in page
