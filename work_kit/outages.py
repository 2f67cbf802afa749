"""Patience with a database that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

OUTAGES = (OperationalError, InterfaceError)  # the database is away; any other of its errors is a mistake of ours
PAUSE_SECONDS = 0.5

T = TypeVar("T")


def drop_connection() -> None:
    """Have the next query open a new connection. Does nothing inside a transaction."""
    if not connection.in_atomic_block:
        connection.close()


def until_answered(ask: Callable[[], T], *, give_up: Callable[[], None] = lambda: None) -> T:
    """Ask until the database answers; ``ask`` must bear being asked twice. ``give_up`` may raise to end the waiting."""
    while True:
        try:
            return ask()
        except OUTAGES as error:
            logger.warning("no answer from the database (%s); asking again", error)
            drop_connection()
            give_up()
            time.sleep(PAUSE_SECONDS)
