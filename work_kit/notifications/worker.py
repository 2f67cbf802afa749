"""Starts the postman in every Celery worker that takes the queue ``cpu``."""

from __future__ import annotations

import threading
from typing import Any

from celery.signals import worker_ready, worker_shutting_down

from work_kit.choices import Queue
from work_kit.notifications.postman import deliver_until

_ended = threading.Event()


@worker_ready.connect
def begin(sender: Any, **kwargs: Any) -> None:
    """One thread for the life of the worker."""
    if str(Queue.CPU) in {str(name) for name in sender.app.amqp.queues.consume_from}:
        threading.Thread(target=deliver_until, args=(_ended,), daemon=True, name="postman").start()


@worker_shutting_down.connect
def leave(**kwargs: Any) -> None:
    """What is being sent may be sent again by another worker, under its old id."""
    _ended.set()
