"""Nobody who asks notices: a replica killed under load, a model put into use under load, and the way back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving_app.replica_process import Load, StubReplica, free_address, until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.django_db(transaction=True)
SIGNED = {"sign_off": "Tried by hand; good enough."}


@pytest.fixture(autouse=True)
def patient_table(monkeypatch) -> None:
    """The stand-ins send no heartbeats, and a busy machine may be slow."""
    monkeypatch.setattr("serving_app.queries.replicas.REPLICA_FRESH_SECONDS", 600.0)


def _announce(replica: StubReplica) -> None:
    from serving_app.operations import announce_replica

    announce_replica(address=replica.address, host="here", pid=1)


@pytest.fixture
def replicas(transactional_db, tmp_path) -> Iterator[list[StubReplica]]:
    """One at a socket file, one at a port."""
    running = [StubReplica(f"unix:{tmp_path / 'one.sock'}"), StubReplica(free_address())]
    for replica in running:
        _announce(replica)
    yield running
    for replica in running:
        replica.stop()


def _channel(address: str) -> Any:
    """The site's, None before it knows that replica."""
    from serving_app.replicas.pool import _POOLS

    found = [pool.channels[address] for pool, _ in _POOLS.values() if address in pool.channels]
    return found[-1] if found else None


def _standing(address: str) -> str:
    channel = _channel(address)
    return channel.standing.value if channel else ""


def test_a_replica_killed_under_load_costs_no_answer_and_comes_back_without_a_restart(
    deployed_base, replicas, site, api_key
) -> None:
    first, second = replicas
    with Load(site, api_key("predict")) as load:
        until(lambda: _standing(first.address) == _standing(second.address) == "trusted" and load.statuses[200] > 50)
        first.kill()
        ejected = until(lambda: _standing(first.address) == "ejected")
        answered = load.statuses[200]
        until(lambda: load.statuses[200] > answered + 50)
        first.start()
        back = until(lambda: _standing(first.address) == "trusted")
        until(lambda: first.told()["answers"] > 20)
    print(f"ejected after {ejected:.3f} s, trusted again {back:.3f} s after it answered, {load.statuses} in all")
    assert load.errors == 0, load.statuses


@pytest.mark.slow
def test_a_real_replica_killed_under_load_costs_no_answer(deployed_base, inference, site, api_key, tmp_path) -> None:
    from serving_app.operations import announce_replica

    models = Path(inference.removeprefix("unix:")).with_name("models.json")
    where = tmp_path / "second.sock"
    program = [sys.executable, str(Path(__file__).with_name("model_server.py")), str(models), str(where)]
    process = subprocess.Popen(program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    address = f"unix:{where}"
    try:
        until(where.exists, 120)
        announce_replica(address=address, host="here", pid=process.pid)
        with Load(site, api_key("predict"), threads=4) as load:
            until(lambda: _standing(address) == "trusted" and load.statuses[200] > 20)
            process.kill()
            ejected = until(lambda: _standing(address) == "ejected")
            answered = load.statuses[200]
            until(lambda: load.statuses[200] > answered + 20)
    finally:
        process.kill()
        process.wait()
    print(f"real replica ejected after {ejected:.3f} s, {load.statuses}")
    assert load.errors == 0, load.statuses


def test_a_frozen_replica_is_ejected_and_trusted_again_once_it_thaws(deployed_base, replicas, site, api_key) -> None:
    first, second = replicas
    second.change(answer_seconds=0.001)
    with Load(site, api_key("predict"), threads=2) as load:
        until(lambda: _standing(first.address) == "trusted" and load.statuses[200] > 10)
        first.freeze()
        ejected = until(lambda: _standing(first.address) == "ejected")
        first.thaw()
        until(lambda: _standing(first.address) == "trusted")
    print(f"frozen one ejected after {ejected:.3f} s, {load.statuses}")
    assert load.errors == 0, load.statuses


def test_a_question_inside_a_frozen_replica_is_answered_by_another(deployed_base, replicas, ask) -> None:
    first, second = replicas
    first.change(answer_seconds=600.0)
    answers: list[int] = []
    asking = [
        threading.Thread(
            target=lambda text=text: answers.append(ask("/predict", {"text": text}).status_code), daemon=True
        )
        for text in ("One", "Two")
    ]
    for thread in asking:
        thread.start()
    until(lambda: first.told()["in_flight"] == 1)
    first.freeze()
    for thread in asking:
        thread.join(timeout=60)
    assert answers == [200, 200]
    assert second.told()["answers"] == 2


def test_a_replica_that_only_fails_draws_no_questions_to_itself(
    deployed_base, replicas, site, api_key, monkeypatch
) -> None:
    monkeypatch.setattr("serving_app.replicas.pool.SHUNNED_SECONDS", 600.0)
    first, _ = replicas
    first.change(fails=["base:demo-base"], answer_seconds=0.0)
    with Load(site, api_key("predict"), threads=2) as load:
        until(lambda: load.statuses[200] > 100)
    assert 3 <= load.errors <= 12, load.statuses


def test_a_draining_replica_gets_nothing_new(deployed_base, replicas, site, api_key) -> None:
    first, _ = replicas
    with Load(site, api_key("predict"), threads=2) as load:
        until(lambda: first.told()["answers"] > 5)
        first.change(draining=True)
        until(lambda: _channel(first.address).is_draining and not _channel(first.address).outstanding)
        before = first.told()["answers"]
        seen = load.statuses[200]
        until(lambda: load.statuses[200] > seen + 20)
        assert first.told()["answers"] == before
    assert load.errors == 0, load.statuses


def test_a_model_is_put_into_use_and_rolled_back_under_load_without_an_error(
    actor, project, trained, replicas, site, api_key
) -> None:
    from serving_app.models import Deployment
    from serving_app.operations import deploy_model, roll_back
    from serving_app.rollout import prepare_waiting

    one, two = trained("One"), trained("Two")
    first = deploy_model(actor=actor, trained_model=one, **SIGNED)
    assert first.state == "active", "nothing was in use, so nobody waits"
    with Load(site, api_key("predict")) as load:
        until(lambda: load.answers[f"ft:{one.pk}"] > 50)
        second = deploy_model(actor=actor, trained_model=two, **SIGNED)
        assert second.state == "preparing"
        work = threading.Thread(target=prepare_waiting)
        work.start()
        until(lambda: load.answers[f"ft:{two.pk}"] > 20)
        work.join()
        states = dict(Deployment.objects.values_list("model_name", "state"))
        assert states == {one.api_name: "retired", two.api_name: "active"}
        back = roll_back(actor=actor, deployment=Deployment.objects.get(pk=second.pk))
        prepare_waiting()
        seen = load.answers[f"ft:{one.pk}"]
        until(lambda: load.answers[f"ft:{one.pk}"] > seen + 50)
    back.refresh_from_db()
    print(f"{load.statuses}, {load.answers}, slowest {load.slowest:.3f} s")
    assert back.state == "active"
    assert load.errors == 0, load.statuses
