"""A worker says that it is there, whatever else keeps it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from tests.chaos.world import wait_until
from work_kit import worker
from work_kit.models import Worker


@pytest.fixture
def ended(transactional_db, monkeypatch, settings):
    """The worker's threads end with the test."""
    settings.HEARTBEAT_SECONDS = 0.02
    ended = threading.Event()
    monkeypatch.setattr(worker, "_ended", ended)
    monkeypatch.setattr(worker, "ring_now", lambda queue: None)
    before = set(threading.enumerate())
    yield ended
    ended.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)


def test_a_storage_that_hangs_makes_no_living_worker_look_dead(ended, monkeypatch) -> None:
    swept = threading.Event()

    def hang() -> None:
        swept.set()
        ended.wait()

    monkeypatch.setattr(worker, "sweep_work_folders", hang)
    queues = SimpleNamespace(consume_from=["cpu"])
    worker.begin(SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues))))
    wait_until(swept.is_set, "it sweeps", 20)
    begun = Worker.objects.get().heartbeat_at
    wait_until(lambda: Worker.objects.get().heartbeat_at > begun, "its heart beats", 20)
