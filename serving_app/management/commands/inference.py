"""``python manage.py inference``: the process that holds models in memory and answers questions about them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from finetune_engine.errors import UserError
from serving_app.replicas.pool import UNIX_PREFIX


class Command(BaseCommand):
    """Loads models on demand. Spoken to by the site only: it checks no keys, so bind it to a socket file or to
    this machine."""

    help = "Run the model server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--bind``."""
        parser.add_argument(
            "--bind",
            default=settings.INFERENCE_BIND,
            help="unix:/path/to.sock, or 127.0.0.1:PORT (default: INFERENCE_BIND, else a socket file in DATA_DIR/run)",
        )
        parser.add_argument("--max-models", type=int, default=2, help="how many base models to keep in memory (2)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until told to end."""
        # Spinning threads starve the other programs of a small machine; must be set before torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from serving_app.replicas.inference import InferenceServer

        address, listener = _listen(str(options["bind"]))
        server = InferenceServer(address=address, max_models=options["max_models"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.drain())
        self.stdout.write(f"answering at {address}")
        self.stdout.flush()
        try:
            server.run(listener)
        except UserError as error:
            raise CommandError(error.sentence) from error
        finally:
            listener.close()
            if address.startswith(UNIX_PREFIX) and server.is_ours:
                Path(address.removeprefix(UNIX_PREFIX)).unlink(missing_ok=True)
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join(timeout=5)
        # Torch's own threads can abort the interpreter while it is torn down. Everything of ours is put away by now,
        # so the process ends without that teardown.
        connections.close_all()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _listen(bind: str) -> tuple[str, socket.socket]:
    """The address others reach us at, and the listening socket."""
    if bind.startswith(UNIX_PREFIX):
        path = Path(bind.removeprefix(UNIX_PREFIX)).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)  # only this user may speak to it
        try:
            listener.bind(str(path))
        except OSError as error:
            raise CommandError(f"cannot listen at {path}: {error}") from error
        finally:
            os.umask(old)
        listener.listen(128)
        return f"{UNIX_PREFIX}{path}", listener
    host, _, port = bind.rpartition(":")
    if not port.isdigit():
        raise CommandError(f"--bind {bind!r}: write unix:/path/to.sock or 127.0.0.1:PORT")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host or "127.0.0.1", int(port)))
    except OSError as error:
        raise CommandError(f"cannot listen at {bind}: {error}") from error
    listener.listen(128)
    return f"http://{_reachable(host)}:{listener.getsockname()[1]}", listener


def _reachable(host: str) -> str:
    """The name under which others reach a server that listens at ``host``."""
    if settings.INFERENCE_ADDRESS:
        return str(settings.INFERENCE_ADDRESS)
    if host not in ("0.0.0.0", "::", "*"):  # noqa: S104  compared, not bound
        return host or "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only says which of our addresses leads outside
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
