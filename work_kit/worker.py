"""What a Celery worker does at its start and end: says that it is there, and leaves its job in order."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import Error, connection

from work_kit import caretaker, machine, operations
from work_kit.leftovers import sweep_work_folders
from work_kit.outages import OUTAGES, drop_connection
from work_kit.queue import ring_now
from work_kit.supervisor import shutting_down

logger = logging.getLogger(__name__)

TIDY_SECONDS = 60.0  # between two questions to the graphics driver, and two sweeps

_ended = threading.Event()


@worker_ready.connect
def begin(sender: Any, **kwargs: Any) -> None:
    """Start the heartbeat, and look for work that waited while nobody was here."""
    queues = sorted(str(name) for name in sender.app.amqp.queues.consume_from)
    queue = queues[0] if queues else "cpu"
    name = f"{queue}@{machine.host_name()}:{os.getpid()}"
    threading.Thread(target=_beat, args=(name, queue), daemon=True, name="worker-heartbeat").start()
    threading.Thread(target=_keep_tidy, daemon=True, name="worker-tidying").start()
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
    while not _ended.is_set():
        try:
            _say_it_is_there(name, queue)
            caretaker.reap()
        except OUTAGES:
            caretaker.patience.lost()
            drop_connection()
        except Exception:  # the front door of this thread: a worker without a heartbeat looks dead
            logger.exception("the heartbeat of %s stumbled", name)
        _ended.wait(settings.HEARTBEAT_SECONDS)
    try:
        operations.forget_worker(name=name)
    except Error:
        pass  # the heartbeat grows stale instead
    connection.close()


def _keep_tidy() -> None:
    """Ask the graphics driver and sweep the disk, beside the heartbeat: a driver or a storage that hangs must not make a
    living worker look dead."""
    while not _ended.is_set():
        try:
            operations.note_devices(host=machine.host_name(), devices=machine.devices())
            sweep_work_folders()
        except OUTAGES:
            drop_connection()
        except Exception:  # the front door of this thread: the next round may find everything well
            logger.exception("the devices could not be noted, or the work folders not swept")
        _ended.wait(TIDY_SECONDS)
    connection.close()


def _say_it_is_there(name: str, queue: str) -> None:
    operations.beat_worker(
        name=name,
        host=machine.host_name(),
        queue=queue,
        device=machine.device_name(),
        pid=os.getpid(),
        resources=machine.resources(),
    )
