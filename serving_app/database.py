"""The database, asked from asynchronous code without holding up the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from logging import getLogger
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connections

from serving_app.models import Prediction
from serving_app.operations import log_predictions

P = ParamSpec("P")
T = TypeVar("T")
logger = getLogger(__name__)

THREADS = 4
LARGEST_BATCH = 200
TRIES = 5

_executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="gateway-db")


async def ask_database(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``question`` in one of a few threads that keep their connection."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_executor, partial(_with_connection, question, *args, **kwargs))


def _with_connection(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    _drop_broken()
    try:
        return question(*args, **kwargs)
    except DatabaseError:
        connections.close_all()
        raise


def _drop_broken() -> None:
    # Django closes a connection with CONN_MAX_AGE 0 after every request; an SQLite file needs no such care,
    # and opening it again would cost more than the question.
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite":
            connection.close_if_unusable_or_obsolete()


class PredictionLog:
    """Writes predictions in batches behind the answers' back. A crash may lose the last fraction of a second."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Prediction] = queue.Queue(maxsize=20_000)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, prediction: Prediction) -> None:
        """Have it written soon. Returns at once; when the database is far behind, the entry is dropped and counted
        in the server's log."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write_all, name="prediction-log", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(prediction)
        except queue.Full:
            logger.error("the prediction log is full; entry %s is lost", prediction.request_id)

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until everything put so far is written. False when time ran out."""
        end = time.monotonic() + seconds
        while self._waiting.unfinished_tasks:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def _write_all(self) -> None:
        while True:
            batch = [self._waiting.get()]
            try:
                while len(batch) < LARGEST_BATCH:
                    batch.append(self._waiting.get_nowait())
            except queue.Empty:
                pass
            self._write(batch)
            for _ in batch:
                self._waiting.task_done()

    def _write(self, batch: list[Prediction]) -> None:
        for attempt in range(TRIES if len(batch) > 1 else 1):
            try:
                _with_connection(log_predictions, predictions=batch)
                return
            except Exception as error:  # a front door: this thread must outlive every fault of the database
                logger.warning("writing %d predictions failed (%s); trying again", len(batch), error)
                time.sleep(0.1 * 2**attempt)
        if len(batch) > 1:  # one whose project was deleted meanwhile must not take the others along
            for prediction in batch:
                self._write([prediction])
            return
        logger.error("prediction %s could not be written and is lost", batch[0].request_id)


prediction_log = PredictionLog()
