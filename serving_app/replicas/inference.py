"""The inference process: the engine's answering application, and a heartbeat so that the site finds it.

The one module of the site's packages that leads to torch; only ``manage.py inference`` imports it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from logging import getLogger
from typing import Any

import uvicorn
from django.conf import settings
from django.db import close_old_connections

from serving_app.choices import REPLICA_HEARTBEAT_SECONDS, BackendKind, ReplicaState
from serving_app.models import Replica
from serving_app.operations import ReplicaFacts, announce_replica, beat_replica, dismiss_replica, drain_replica
from serving_app.replicas.resolving import resolve
from work_kit.machine import device_name, host_name

DRAIN_SECONDS = 10.0
"""How long answers under way may take once the process was told to end."""

logger = getLogger(__name__)


class _Listener(uvicorn.Server):
    """uvicorn takes the signals while it runs and would drop who waits: it passes them on instead."""

    on_signal: Callable[[], None]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Told to end."""
        self.on_signal()


class InferenceServer:
    """One replica. ``run`` blocks until ``drain`` is called and what was under way is answered."""

    def __init__(self, *, address: str, max_models: int = 2) -> None:
        from finetune_engine.serve.app import build_app
        from finetune_engine.serve.backends.choosing import ChoosingBackend, VllmSettings
        from finetune_engine.train.local.device import use_threads

        use_threads()
        self._address = address
        vllm = VllmSettings(command=settings.VLLM_COMMAND)
        self._backend: Any = ChoosingBackend(resolve, max_models=max_models, vllm=vllm)
        app = build_app(self._backend)
        self._app: Any = app.state.inference
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
        )
        self._server = _Listener(config)
        self._server.on_signal = self.drain
        self._told_to_end = threading.Event()
        self._ending = threading.Event()
        self.is_ours = True

    def drain(self) -> None:
        """Take nothing new, finish what is under way, then return from ``run``. Safe in a signal handler."""
        self._app.drain()
        self._told_to_end.set()

    def run(self, listener: Any) -> None:
        """Answer at this listening socket."""
        replica = announce_replica(address=self._address, host=host_name(), pid=os.getpid(), facts=self.facts())
        threads = [
            threading.Thread(target=act, args=(replica,), name=act.__name__, daemon=True)
            for act in (self._beat, self._finish)
        ]
        for thread in threads:
            thread.start()
        try:
            self._server.run(sockets=[listener])
        finally:
            self._ending.set()
            self._told_to_end.set()
            for thread in threads:
                thread.join(timeout=2)
            self._backend.close()
            dismiss_replica(replica=replica)

    def facts(self) -> ReplicaFacts:
        """What the heartbeat tells."""
        told = self._backend.facts()
        is_draining = self._told_to_end.is_set()
        return ReplicaFacts(
            loaded=self._backend.loaded_models(),
            backends=[_KINDS[name] for name in told["backends"] if name in _KINDS],
            device=device_name(),
            memory_bytes=told.get("memory_bytes"),
            in_flight=self._app.in_flight,
            state=ReplicaState.DRAINING if is_draining else ReplicaState.READY,
        )

    def _beat(self, replica: Replica) -> None:
        while not self._ending.wait(REPLICA_HEARTBEAT_SECONDS):
            try:
                close_old_connections()
                if not beat_replica(replica=replica, facts=self.facts()):
                    logger.warning("another process answers at %s now; ending", self._address)
                    self.is_ours = False
                    self.drain()
            except Exception as error:  # a front door: the database may be away for a while, the answers go on
                logger.warning("no heartbeat: %s", error)
            finally:
                close_old_connections()

    def _finish(self, replica: Replica) -> None:
        """Wait for the word to end; then for the answers under way."""
        self._told_to_end.wait()
        try:
            close_old_connections()
            drain_replica(replica=replica)
        except Exception as error:  # the gateways learn it from the process itself
            logger.warning("the table was not told that this process ends: %s", error)
        finally:
            close_old_connections()
        end = time.monotonic() + DRAIN_SECONDS
        while self._app.in_flight and time.monotonic() < end:
            time.sleep(0.05)
        self._server.should_exit = True


_KINDS = {
    "in_process": str(BackendKind.TRANSFORMERS),
    "vllm": str(BackendKind.VLLM),
    "openai_http": str(BackendKind.ENDPOINT),
}
"""The engine's words for backends, and ours."""
