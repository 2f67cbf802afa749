"""The inference process: the engine's answering application, and a heartbeat so that the site finds it.

The one module of the site's packages that leads to torch; only ``manage.py inference`` imports it.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
from logging import getLogger
from typing import Any

import uvicorn
from django.db import close_old_connections

from finetune_engine.catalogue.reference import BaseModelRef
from serving_app.choices import REPLICA_HEARTBEAT_SECONDS
from serving_app.operations import announce_replica, beat_replica, dismiss_replica
from serving_app.queries import served_files

logger = getLogger(__name__)


def resolve(serving_id: str) -> Any:
    """The engine's ``ModelFiles`` of a serving id. Raises UserError 404 for an unknown one."""
    from finetune_engine.serve.backends.in_process import ModelFiles

    close_old_connections()
    try:
        base, adapter, digest = served_files(serving_id)
    finally:
        close_old_connections()
    return ModelFiles(model_id=serving_id, base=BaseModelRef.from_dict(base), adapter=adapter, digest=digest)


class InferenceServer:
    """One replica. ``run`` blocks until ``end`` is called."""

    def __init__(self, *, address: str, max_models: int = 2) -> None:
        from finetune_engine.serve.app import build_app
        from finetune_engine.serve.backends.in_process import InProcessBackend
        from finetune_engine.train.local.device import use_threads

        use_threads()
        self._address = address
        self._backend = InProcessBackend(resolve, max_models=max_models)
        config = uvicorn.Config(
            build_app(self._backend),
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._ending = threading.Event()
        self.is_ours = True

    def end(self) -> None:
        """Finish the answers under way, then return from ``run``. Safe in a signal handler."""
        self._server.should_exit = True

    def run(self, listener: socket.socket) -> None:
        """Answer at this listening socket."""
        replica = announce_replica(address=self._address, host=platform.node(), pid=os.getpid())
        beating = threading.Thread(target=self._beat, args=(replica,), name="heartbeat", daemon=True)
        beating.start()
        try:
            self._server.run(sockets=[listener])
        finally:
            self._ending.set()
            beating.join(timeout=2)
            self._backend.close()
            dismiss_replica(replica=replica)

    def _beat(self, replica: Any) -> None:
        while not self._ending.wait(REPLICA_HEARTBEAT_SECONDS):
            try:
                close_old_connections()
                if not beat_replica(replica=replica, loaded=self._backend.loaded_models()):
                    logger.warning("another process answers at %s now; ending", self._address)
                    self.is_ours = False
                    self.end()
            except Exception as error:  # a front door: the database may be away for a while, the answers go on
                logger.warning("no heartbeat: %s", error)
            finally:
                close_old_connections()
