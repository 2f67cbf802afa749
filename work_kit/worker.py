"""What a Celery worker does at its start and end: says that it is there, and leaves its job in order."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from work_kit import operations
from work_kit.queue import ring_now
from work_kit.supervisor import device_name, host_name, shutting_down

_ended = threading.Event()


@worker_ready.connect
def begin(sender: Any, **kwargs: Any) -> None:
    """Start the heartbeat, and look for work that waited while nobody was here."""
    queues = sorted(str(name) for name in sender.app.amqp.queues.consume_from)
    queue = queues[0] if queues else "cpu"
    name = f"{queue}@{host_name()}:{os.getpid()}"
    threading.Thread(target=_beat, args=(name, queue), daemon=True, name="worker-heartbeat").start()
    ring_now(queue)


@worker_shutting_down.connect
def leave(**kwargs: Any) -> None:
    """Let the running child save a checkpoint; another worker goes on from there."""
    shutting_down.set()
    _ended.set()


@worker_process_init.connect
def fresh_connections(**kwargs: Any) -> None:
    """A forked pool never shares its parent's database connection."""
    connection.close()


def _beat(name: str, queue: str) -> None:
    while True:
        try:
            operations.beat_worker(name=name, host=host_name(), queue=queue, device=device_name(), pid=os.getpid())
        except DatabaseError:
            close_old_connections()
        if _ended.wait(settings.HEARTBEAT_SECONDS):
            break
    try:
        operations.forget_worker(name=name)
    except DatabaseError:
        pass  # the heartbeat grows stale instead
    connection.close()
