"""The database, asked from asynchronous code without holding up the event loop; and the log, written behind the answers' back."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from logging import getLogger
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from serving_app import metrics
from serving_app.gateway import unsettled
from serving_app.gateway.entries import Entry, Refusal
from serving_app.masking import made_fit
from serving_app.operations import log_predictions, refusals_left, without_vanished

P = ParamSpec("P")
T = TypeVar("T")
logger = getLogger(__name__)

THREADS = 4
LARGEST_BATCH = 200
FLUSH_SECONDS = 0.2
"""How long an entry waits for others; with the writing itself, well under the second that a killed process may lose."""
MOST_WAITING = 20_000
LONGEST_PAUSE_SECONDS = 2.0

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
    """Writes predictions and counts in batches. A killed process loses what waits: at most the last fraction of a second, more
    only while the database is away."""

    def __init__(self) -> None:
        self._waiting: deque[Entry | Refusal] = deque()
        self._in_hand = 0
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_shedding = False

    def put(self, entry: Entry | Refusal) -> None:
        """Have it written soon. Returns at once; when the database is far behind, the entry is dropped and counted
        (``model_log_lost_total``)."""
        with self._lock:
            is_full = len(self._waiting) >= MOST_WAITING
            if not is_full:
                self._waiting.append(entry)
        if is_full:
            self._shed()
            return
        if isinstance(entry, Entry) and entry.settles_tokens and entry.api_key_id:
            unsettled.add(entry.api_key_id, entry.tokens)
        if not self._something.is_set():
            self._begin()
        if len(self._waiting) >= LARGEST_BATCH:
            self._hurry.set()

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until everything put so far is written. False when time ran out."""
        end = time.monotonic() + seconds
        while self._is_behind():
            self._hurry.set()
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def _is_behind(self) -> bool:
        with self._lock:  # a batch on its way from the one to the other is in neither
            return bool(self._waiting or self._in_hand)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write_all, name="prediction-log", daemon=True)
                self._thread.start()
        self._something.set()

    def _shed(self) -> None:
        metrics.LOG_LOST.inc()
        if not self._is_shedding:
            self._is_shedding = True
            logger.error("the prediction log is full: the database is too slow or away, and entries are lost")

    def _write_all(self) -> None:
        while True:
            self._something.wait()
            self._hurry.wait(FLUSH_SECONDS)
            self._hurry.clear()
            self._something.clear()
            while batch := self._take():
                self._write(batch)
                with self._lock:
                    self._in_hand = 0
                self._is_shedding = False

    def _take(self) -> list[Entry | Refusal]:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(LARGEST_BATCH, len(self._waiting)))]
            self._in_hand = len(batch)
        return batch

    def _write(self, batch: Sequence[Entry | Refusal]) -> None:
        entries = [item for item in batch if isinstance(item, Entry)]
        refusals = [item for item in batch if isinstance(item, Refusal)]
        made_fit(entries)
        try:
            self._insist(entries, refusals)
        finally:
            for entry in entries:
                if entry.settles_tokens and entry.api_key_id:
                    unsettled.add(entry.api_key_id, -entry.tokens)

    def _insist(self, entries: list[Entry], refusals: list[Refusal]) -> None:
        """Write, for as long as it takes while the database is away. What was deleted meanwhile, or what the database will
        not have, must not take the others along."""
        pause = 0.05
        while True:
            try:
                _with_connection(log_predictions, predictions=entries, refusals=refusals)
                return
            except (OperationalError, InterfaceError) as error:
                logger.warning("writing %d predictions failed (%s); trying again", len(entries), error)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except Exception as error:  # a front door: this thread must outlive every fault
                logger.warning("writing %d predictions failed (%s); one by one", len(entries), error)
                self._one_by_one(entries, refusals)
                return

    def _one_by_one(self, entries: list[Entry], refusals: list[Refusal]) -> None:
        try:
            left = _with_connection(without_vanished, entries)
            turned_away = _with_connection(refusals_left, refusals)
            if len(left) < len(entries):
                metrics.LOG_LOST.inc(len(entries) - len(left))
            _with_connection(log_predictions, predictions=left, refusals=turned_away)
        except Exception:  # as above
            for entry in entries:
                self._alone(entry)

    def _alone(self, entry: Entry) -> None:
        try:
            _with_connection(log_predictions, predictions=[entry])
        except Exception as error:  # as above
            metrics.LOG_LOST.inc()
            logger.error("prediction %s could not be written and is lost: %s", entry.request_id, error)


prediction_log = PredictionLog()
atexit.register(prediction_log.flush)
