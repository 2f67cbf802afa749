"""Ending without breaking an answer off: new requests are sent away, those under way are finished, then the server ends."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from finetune_engine.serve.app import InferenceApp

GRACE_SECONDS = 30.0
"""How long answers under way may take once the process was told to end."""
SETTLE_SECONDS = 1.0
"""How long the process that is about to end still says so to new callers, so that whoever balances hears of it."""


def end_when_idle(
    inference: InferenceApp, server: uvicorn.Server, grace_seconds: float = GRACE_SECONDS
) -> threading.Thread:
    """Send new requests away, let those under way finish, then end the server. Returns the thread that waits for it.

    ``inference`` is the ``state.inference`` of the application. Safe in a signal handler.
    """
    inference.drain()

    def wait() -> None:
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < grace_seconds:
            if seconds >= SETTLE_SECONDS and inference.in_flight == 0:
                break
            time.sleep(0.05)
        server.should_exit = True

    waiting = threading.Thread(target=wait, name="drain", daemon=True)
    waiting.start()
    return waiting


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which drains at the first signal and leaves at once at the second."""

    def __init__(self, config: uvicorn.Config, inference: InferenceApp) -> None:
        super().__init__(config)
        self._inference = inference
        self._was_told = False

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal came."""
        if self._was_told:
            self.should_exit = self.force_exit = True
        else:
            self._was_told = True
            end_when_idle(self._inference, self)
