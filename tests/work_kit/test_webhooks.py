"""Webhooks from the outbox, over real sockets, and read with the official ``openai`` package."""

from __future__ import annotations

import json
import threading
import time

import openai
import pytest
from django.db import connection
from werkzeug import Request, Response

from finetune_engine.errors import UserError
from work_kit import kinds
from work_kit.models import Delivery, Job, WebhookEndpoint
from work_kit.notifications import operations, outbox, postman, queries
from work_kit.operations import claim_job, end_attempt, request_stop, submit_job, succeed_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(httpserver, settings):
    """A program that listens: ``receiver.taken`` are the requests, ``receiver.statuses`` what it answers, in turn."""
    settings.OUTBOUND_ALLOWED_HOSTS = [f"localhost:{httpserver.port}"]
    httpserver.taken, httpserver.statuses = [], []

    def take(request: Request) -> Response:
        httpserver.taken.append((dict(request.headers), request.get_data(as_text=True)))
        return Response(status=httpserver.statuses.pop(0) if httpserver.statuses else 204)

    httpserver.expect_request("/hook", method="POST").respond_with_handler(take)
    return httpserver


@pytest.fixture
def endpoint(actor, receiver):
    """A webhook to it, with its secret as ``endpoint.plain``."""
    endpoint, secret = operations.add_endpoint(actor=actor, url=receiver.url_for("/hook"))
    endpoint.plain = secret
    return endpoint


@pytest.fixture
def toy(toy):
    toy.announced = ("fine_tuning.job", "ftjob-")
    return toy


@pytest.fixture
def ended(actor, toy):
    """``ended("succeeded")``: a job that ends so, through the job engine."""

    def end(state: str) -> Job:
        job = submit_job(actor=actor, kind=toy.name, title="Rows", params={})
        if state == "cancelled":
            return request_stop(actor=actor, job=job, action="cancel")
        lease = claim_job(queue="cpu", host="here", device="cpu")
        if state == "succeeded":
            succeed_job(lease, kinds.kind_of(toy.name), {})
        else:
            end_attempt(lease, reason="bad_data", failure={"code": "empty", "message": "The file is empty."})
        job.refresh_from_db()
        assert job.state == state
        return job

    return end


def make_due() -> None:
    Delivery.objects.filter(delivered_at=None, given_up_at=None).update(available_at="2020-01-01T00:00:00Z")


def client(secret: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="unused", webhook_secret=secret)


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_the_openai_package_unwraps_what_is_sent_when_a_job_ends(endpoint, receiver, ended, state):
    job = ended(state)
    assert postman.send_due() == 1
    headers, body = receiver.taken[0]
    event = client(endpoint.plain).webhooks.unwrap(body, headers)
    assert type(event).__name__ == f"FineTuningJob{state.title()}WebhookEvent"
    assert (event.type, event.object, event.data.id) == (f"fine_tuning.job.{state}", "event", f"ftjob-{job.pk}")
    assert event.id.startswith("evt_")
    assert event.created_at == int(job.finished_at.timestamp())
    assert set(json.loads(body)) == {"id", "object", "created_at", "type", "data"}


def test_a_wrong_secret_and_an_old_time_are_rejected_by_the_package(endpoint, receiver, ended):
    ended("succeeded")
    postman.send_due()
    headers, body = receiver.taken[0]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client("whsec_" + "A" * 44).webhooks.unwrap(body, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client(endpoint.plain).webhooks.unwrap(body.replace("succeeded", "failed"), headers)
    name = next(name for name in headers if name.lower() == "webhook-timestamp")
    with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
        client(endpoint.plain).webhooks.unwrap(body, headers | {name: str(int(time.time()) - 600)})


def test_a_message_that_was_taken_is_not_sent_again(endpoint, receiver, ended):
    ended("succeeded")
    assert (postman.send_due(), postman.send_due(), len(receiver.taken)) == (1, 0, 1)
    delivery = Delivery.objects.get()
    assert (delivery.response_status, delivery.problem, delivery.attempts) == (204, "", 1)
    assert delivery.delivered_at is not None


def test_a_job_that_does_not_end_after_all_leaves_no_message(endpoint, actor, toy, ended):
    from django.db import transaction

    with transaction.atomic():
        ended("succeeded")
        assert Delivery.objects.exists()
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()
    assert not Job.objects.filter(state="succeeded").exists()


def test_each_refusal_is_followed_by_a_longer_pause_with_the_same_id_until_it_is_given_up(endpoint, receiver, ended):
    ended("failed")
    receiver.statuses = [500] * 7
    pauses = []
    for _ in range(7):
        make_due()
        assert postman.send_due() == 1
        delivery = Delivery.objects.get()
        pauses.append(None if delivery.given_up_at else (delivery.available_at - queries_now()).total_seconds())
    assert [pause and round(pause / wanted, 1) for pause, wanted in zip(pauses, outbox.PAUSES, strict=False)] == [1] * 6
    assert pauses[6] is None
    assert len({headers["Webhook-Id"] for headers, _body in receiver.taken}) == 1
    assert queries.endpoint_card(endpoint).is_failing
    assert "500" in delivery.problem
    make_due()
    assert postman.send_due() == 0


def queries_now():
    from work_kit.queries import database_now

    return database_now()


def test_a_redirect_is_not_followed(endpoint, receiver, ended, httpserver):
    ended("succeeded")
    receiver.statuses = [307]
    postman.send_due()
    assert Delivery.objects.get().delivered_at is None


def test_410_switches_the_webhook_off(endpoint, receiver, ended):
    ended("succeeded")
    ended("failed")
    receiver.statuses = [410, 204]
    postman.send_due()
    endpoint.refresh_from_db()
    assert not endpoint.is_enabled
    assert Delivery.objects.filter(given_up_at=None, delivered_at=None).count() == 0


def test_a_sender_that_died_is_followed_by_another_with_the_same_id(endpoint, receiver, ended):
    ended("succeeded")
    first = outbox.claim_deliveries(most=8)
    assert postman.send_due() == 0, "the claim still holds"
    make_due()
    assert postman.send_due() == 1
    assert receiver.taken[0][0]["Webhook-Id"] == f"wh_{first[0].id}"
    assert not outbox.record_outcome(first[0], outbox.Outcome(problem="late")), "the first one is fenced off"
    assert Delivery.objects.get().delivered_at is not None


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_the_same_time_never_take_the_same_message(endpoint, actor, receiver, ended):
    for n in range(6):
        operations.add_endpoint(actor=actor, url=receiver.url_for(f"/hook?n={n}"))
    ended("succeeded")
    taken: list[str] = []
    start = threading.Barrier(4)

    def take() -> None:
        start.wait()
        for _ in range(4):
            taken.extend(claimed.id for claimed in outbox.claim_deliveries(most=2))
        connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 7


def test_a_dead_address_holds_up_nobody_else(actor, endpoint, receiver, ended, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = [*settings.OUTBOUND_ALLOWED_HOSTS, "127.0.0.1"]
    operations.add_endpoint(actor=actor, url="http://127.0.0.1:1/")
    ended("failed")
    ended("succeeded")
    postman.send_due()
    assert len(receiver.taken) == 2


def test_a_private_address_is_refused_when_it_is_typed_and_when_it_is_sent_to(actor, settings, endpoint, ended):
    settings.OUTBOUND_ALLOWED_HOSTS = []
    with pytest.raises(UserError, match="private network"):
        operations.add_endpoint(actor=actor, url="http://169.254.169.254/latest")
    ended("succeeded")
    postman.send_due()
    assert "private network" in Delivery.objects.get().problem


def test_only_chosen_events_of_switched_on_webhooks_of_the_own_project_are_sent(actor, receiver, ended, outsider):
    from accounts_app.models import Project
    from accounts_app.permissions import project_for

    elsewhere = project_for(outsider, Project.objects.exclude(pk=actor.project.pk).get().slug, "view")
    url = receiver.url_for("/hook")
    operations.add_endpoint(actor=elsewhere, url=url)
    off, _secret = operations.add_endpoint(actor=actor, url=url)
    operations.change_endpoint(actor=actor, endpoint=off, is_enabled=False)
    operations.add_endpoint(actor=actor, url=url, events=["fine_tuning.job.failed"])
    ended("succeeded")
    ended("failed")
    postman.send_due()
    assert [json.loads(body)["type"] for _headers, body in receiver.taken] == ["fine_tuning.job.failed"]


def test_the_secret_is_encrypted_at_rest_and_a_new_one_replaces_it(actor, endpoint, receiver, ended):
    stored = WebhookEndpoint.objects.get().secret
    assert endpoint.plain not in stored
    assert endpoint.plain.startswith("whsec_")
    fresh = operations.rotate_secret(actor=actor, endpoint=endpoint)
    ended("succeeded")
    postman.send_due()
    headers, body = receiver.taken[0]
    client(fresh).webhooks.unwrap(body, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client(endpoint.plain).webhooks.unwrap(body, headers)


def test_a_test_message_is_tried_once(actor, endpoint, receiver):
    receiver.statuses = [503]
    delivery = operations.send_test(actor=actor, endpoint=endpoint)
    postman.send_due()
    delivery.refresh_from_db()
    assert delivery.given_up_at is not None
    assert json.loads(receiver.taken[0][1])["data"] == {"id": "ftjob-test"}


def test_a_message_is_repeated_on_request_under_its_old_id(actor, endpoint, receiver, ended):
    ended("succeeded")
    postman.send_due()
    operations.repeat_delivery(actor=actor, delivery=Delivery.objects.get())
    with pytest.raises(UserError, match="waits"):
        operations.repeat_delivery(actor=actor, delivery=Delivery.objects.get())
    postman.send_due()
    (first, first_body), (second, second_body) = receiver.taken
    assert first["Webhook-Id"] == second["Webhook-Id"]
    assert first_body == second_body


def test_old_messages_are_forgotten_and_waiting_ones_are_not(endpoint, ended):
    ended("succeeded")
    ended("failed")
    waiting, over = Delivery.objects.order_by("id")
    Delivery.objects.update(created_at="2020-01-01T00:00:00Z")
    Delivery.objects.filter(pk=over.pk).update(delivered_at="2020-01-01T00:00:00Z")
    assert outbox.forget_old_deliveries() == 1
    assert Delivery.objects.get().pk == waiting.pk


@pytest.mark.django_db(transaction=True)
def test_the_postman_of_a_worker_delivers_until_the_worker_ends(endpoint, receiver, ended, monkeypatch):
    monkeypatch.setattr(postman, "LOOK_SECONDS", 0.02)
    over = threading.Event()
    thread = threading.Thread(target=postman.deliver_until, args=(over,))
    thread.start()
    try:
        ended("succeeded")
        deadline = time.monotonic() + 20
        while not Delivery.objects.filter(delivered_at__isnull=False).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        over.set()
        thread.join()
    assert len(receiver.taken) == 1


@pytest.mark.parametrize(("queue", "starts"), [("cpu", True), ("gpu", False)])
def test_workers_of_the_queue_cpu_have_a_postman(queue, starts, monkeypatch):
    from types import SimpleNamespace

    from celery.signals import worker_ready

    from work_kit.notifications import worker

    begun = threading.Event()
    monkeypatch.setattr(worker, "deliver_until", lambda ended: begun.set())
    assert any(receiver() is worker.begin for _key, receiver in worker_ready.receivers if callable(receiver))
    sender = SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=[queue]))))
    worker.begin(sender)
    assert begun.wait(5 if starts else 0.2) is starts
