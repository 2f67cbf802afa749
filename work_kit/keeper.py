"""Keeps one lease alive, and tells the child what its database says: go on, stop, or hold while it is silent."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

from work_kit import operations
from work_kit.operations import Fenced, Lease, Orders
from work_kit.outages import OUTAGES, drop_connection

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at what people asked for


class Control:
    """The child's ``control.json``. What it says is good for half a lease: a child whose supervisor is frozen or cut off
    holds at its next step, and goes on when it is told again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._told: tuple[str, bool] | None = None

    def tell(self, action: str, *, is_leaving: bool = False) -> None:
        """Write the action (a word of ``finetune_engine.ports``), or renew it when it was told already. ``is_leaving``:
        the reason is that this worker leaves, so the job goes on elsewhere."""
        with self._lock:
            if self._told == (action, is_leaving):
                os.utime(self._path)
                return
            temporary = self._path.with_suffix(".tmp")
            told = {"action": action, "is_leaving": is_leaving, "good_for_seconds": settings.LEASE_SECONDS / 2}
            temporary.write_text(json.dumps(told))
            temporary.replace(self._path)
            self._told = action, is_leaving


class LeaseKeeper(threading.Thread):
    """Renews the lease from a thread of its own, so that slow preparing or storing never loses it."""

    def __init__(self, lease: Lease, control: Control) -> None:
        super().__init__(daemon=True, name=f"lease-{lease.job_id}")
        self.lease = lease
        self.control = control
        self.orders = Orders()
        self.leaving = False  # this worker was told to leave: its child saves and ends
        self.fenced = False
        self.renewed_at = time.monotonic()
        self._has_renewed = False  # the answer to the claim may have come late
        self._ended = threading.Event()

    @property
    def is_silent(self) -> bool:
        """Whether the database has not answered for so long that the lease may run out."""
        return time.monotonic() - self.renewed_at > settings.LEASE_SECONDS / 2

    @property
    def action(self) -> str:
        """What the child should do now: a word of ``finetune_engine.ports``."""
        if self.is_silent:
            return "hold"
        if self.orders.stop_action:
            return self.orders.stop_action
        return "pause" if self.leaving or self.orders.is_late else "go"

    @property
    def only_leaves(self) -> bool:
        """Whether the child is to end for no other reason than that this worker leaves."""
        return self.leaving and not self.orders.stop_action and not self.orders.is_late

    def check(self) -> None:
        """Raises Fenced when somebody else holds the job."""
        if self.fenced:
            raise Fenced(self.lease.job_id)

    def run(self) -> None:
        """Beat until stopped or fenced."""
        pause = 0.0
        while not self._ended.wait(pause):
            pause = min(LOOK_SECONDS, settings.HEARTBEAT_SECONDS)
            try:
                self._beat()
            except Fenced:
                self.fenced = True
                break
            except OUTAGES as error:
                logger.warning("job %s: no answer from the database (%s)", self.lease.job_id, error)
                drop_connection()
            except Exception:  # the front door of this thread: one beat may fail, the next one renews the lease
                logger.exception("job %s: a heartbeat failed", self.lease.job_id)
            self.tell()
        connection.close()

    def _beat(self) -> None:
        if not self._has_renewed or time.monotonic() - self.renewed_at >= settings.HEARTBEAT_SECONDS:
            begun = time.monotonic()  # the lease counts from before the question, not from after the answer
            self.orders = operations.renew_lease(self.lease)
            self.renewed_at, self._has_renewed = begun, True
        else:  # a person who presses Stop should not wait a whole heartbeat
            self.orders = operations.orders(self.lease)

    def tell(self) -> None:
        """Tell the child what it should do now."""
        try:
            self.control.tell(self.action, is_leaving=self.only_leaves)
        except OSError as error:  # the disk is full: the child finds out by itself
            logger.warning("job %s: the child cannot be told (%s)", self.lease.job_id, error)

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        self.join()
