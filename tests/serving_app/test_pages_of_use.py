"""The page Use and the page of a trial in a real browser."""

from __future__ import annotations

import threading

import pytest
from django.utils import timezone

from tests.browser import looks_right
from tests.serving_app.replica_process import StubReplica
from web_kit.ids import new_id

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SIGNED = {"sign_off": "Tried by hand; good enough."}


@pytest.fixture(autouse=True)
def patient_table(monkeypatch) -> None:
    """The stand-ins send no heartbeats, and a busy machine may be slow."""
    monkeypatch.setattr("serving_app.queries.replicas.REPLICA_FRESH_SECONDS", 600.0)


@pytest.fixture
def servers(transactional_db, tmp_path):
    from serving_app.operations import ReplicaFacts, announce_replica

    stub = StubReplica(f"unix:{tmp_path / 'stub.sock'}", load_seconds=1.5)
    facts = ReplicaFacts([], ["transformers", "endpoint"], "cuda:0", 3 * 2**30, 2)
    announce_replica(address=stub.address, host="workshop", pid=4711, facts=facts)
    yield stub
    stub.stop()


def _answered(deployment, question: str, output: str, **more):
    from serving_app.models import Prediction

    values = {"latency_seconds": 0.2, "status": 200, "at": timezone.now(), "door": "chat", "confidence": 0.9} | more
    return Prediction.objects.create(
        request_id=new_id(),
        project=deployment.project,
        deployment=deployment,
        model_name=deployment.model_name,
        input={"messages": [{"role": "user", "content": question}]},
        output=output,
        **values,
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_use_and_trial_look_right(browse, live_server, project, actor, owner, trained, servers, width, scheme) -> None:
    from serving_app.operations import deploy_model, start_trial

    main = deploy_model(actor=actor, trained_model=trained("Clause types, March"), **SIGNED)
    two = trained("Clause types, April")
    page = browse(width, user=owner, color_scheme=scheme)
    page.goto(f"{live_server.url}/p/{project.slug}/use/")
    looks_right(page, f"use {width} {scheme}")
    for fold in ("settings", "replicas", "history", "try-beside"):
        page.locator(f"#{fold} > summary").click()
    looks_right(page, f"use opened {width} {scheme}")
    trial = start_trial(actor=actor, trained_model=two)
    trial.state = "active"
    trial.activated_at = timezone.now()
    trial.save()
    for number, (first, second) in enumerate([("Termination", "Termination"), ("Payment", "Late payment")] * 20):
        asked = _answered(main, f"What type is clause {number}? The tenant may end the lease.", first)
        _answered(trial, asked.question, second, door="shadow", shadow_of=asked.request_id, latency_seconds=0.3)
    page.goto(f"{live_server.url}/p/{project.slug}/use/trial")
    looks_right(page, f"trial {width} {scheme}")


def test_the_page_follows_a_model_on_its_way_and_the_way_back_is_one_click(
    browse, live_server, project, actor, owner, trained, servers
) -> None:
    from serving_app.operations import deploy_model
    from serving_app.queries import current_deployment
    from serving_app.rollout import prepare_waiting

    deploy_model(actor=actor, trained_model=trained("One"), **SIGNED)
    two = trained("Two")
    page = browse(user=owner)
    deploy_model(actor=actor, trained_model=two, **SIGNED)
    page.goto(f"{live_server.url}/p/{project.slug}/use/")
    page.get_by_text("Getting ready").first.wait_for()
    looks_right(page, "use preparing")
    work = threading.Thread(target=prepare_waiting)
    work.start()
    page.get_by_role("heading", name="Two").wait_for()
    page.get_by_text("Questions to this project are answered by “Two”.").wait_for()
    work.join()
    page.get_by_role("button", name="Roll back to the model before").click()
    page.get_by_text("Getting ready").first.wait_for()
    work = threading.Thread(target=prepare_waiting)
    work.start()
    page.get_by_text("Questions to this project are answered by “One”.").wait_for()
    work.join()
    assert current_deployment(project).trained_model.name == "One"
