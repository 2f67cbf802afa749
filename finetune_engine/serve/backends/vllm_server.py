"""One ``vllm serve`` of ours: started, watched, fed adapters, started again when it dies, ended with us."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError
from finetune_engine.serve.backends.models import ModelFiles, RemoteModel

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
HEALTH_SECONDS = 5.0
"""How often a server that is ready is asked whether it is well."""
STEADY_SECONDS = 60.0
"""A server that lived so long did not fail at its start: the next pause is short again."""
HERE = "127.0.0.1"


@dataclass(frozen=True)
class VllmSettings:
    """How vLLM is started. ``command`` is the program, usually of an environment of its own; "" where there is none.

    ``max_lora_rank`` is the largest rank of an adapter; ``max_adapters`` are held at once. ``arguments`` go behind ours. It is
    started again when it was not ready after ``start_seconds``, or has not been well for ``hung_seconds``.
    """

    command: str = ""
    arguments: tuple[str, ...] = ()
    max_lora_rank: int = 64
    max_adapters: int = 8
    start_seconds: float = 900.0
    hung_seconds: float = 120.0

    @property
    def program(self) -> str | None:
        """The path of the program; None where it is not to be found."""
        return shutil.which(self.command) if self.command else None


@dataclass(frozen=True)
class _Fed:
    """An adapter that vLLM was handed: its name there, and the model id that it was last asked by."""

    name: str
    model_id: str


class VllmServer(threading.Thread):
    """One base model behind a vLLM. The thread starts the process and lives as long as it does."""

    def __init__(self, ref: BaseModelRef, settings: VllmSettings) -> None:
        super().__init__(name=f"vllm-{ref.key}", daemon=True)
        self._ref, self._settings = ref, settings
        self._key = secrets.token_urlsafe(24)
        self._news = threading.Condition()
        self._adapters: OrderedDict[str, _Fed] = OrderedDict()
        self._bases: dict[str, str] = {}
        self._lives = 0
        self._in_use: Counter[str] = Counter()
        self._feeding = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._is_ready = self._ending = False
        self._trouble = ""

    @property
    def model_ids(self) -> list[str]:
        """Of the models that it would answer with at once."""
        with self._news:
            found = [*self._bases.values(), *(fed.model_id for fed in self._adapters.values())]
            return found if self._is_ready else []

    @contextmanager
    def using(self, files: ModelFiles) -> Iterator[RemoteModel]:
        """The address of a model for one request, its adapter fed and kept meanwhile. Blocks while it starts.

        Raises EngineError when the server does not come up or does not take the adapter.
        """
        self._count(files, 1)
        try:
            self._wait_ready()
            name = self._name_of_base(files) if files.adapter is None else self._feed(files)
            yield RemoteModel(
                files.model_id, self._url("/v1"), self._key, name, files.digest, (f"{HERE}:{self._port}",)
            )
        finally:
            self._count(files, -1)

    def end(self) -> None:
        """End the process and whatever it started. Returns when it is gone."""
        with self._news:
            self._ending = True
            self._news.notify_all()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(30)

    def run(self) -> None:
        """Start, watch, start again."""
        pause = FIRST_PAUSE_SECONDS
        while not self._ending:
            began = time.monotonic()
            try:
                self._process = self._launched()
                self._watch(self._process)
            except Exception as problem:  # the front door of this thread: who waits is told, and it is tried again
                self._trouble = f"vLLM could not be started: {problem}"
            finally:
                self._put_away()
            if self._ending:
                return
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            logger.error("%s; starting it again in %.0f s", self._trouble, pause)
            self._rest(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    def _launched(self) -> subprocess.Popen[bytes]:
        with self._news:
            self._port = _free_port()
        environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_API_KEY": self._key}
        tied = [sys.executable, "-m", "finetune_engine.serve.backends.tied_child", str(os.getpid())]
        # Our own output may be a stream of events, so all its words go where our errors go.
        return subprocess.Popen([*tied, *self._command()], start_new_session=True, env=environment, stdout=2, stderr=2)

    def _command(self) -> list[str]:
        program = self._settings.program
        if program is None:
            raise EngineError("model_unavailable", not_found(self._settings))
        name, revision = (str(self._ref.folder), None) if self._ref.folder else self._ref.hub_name
        return [
            *(program, "serve", name),
            *(("--revision", revision) if revision else ()),
            *("--host", HERE, "--port", str(self._port), "--served-model-name", self._ref.key),
            *("--enable-lora", "--max-lora-rank", str(self._settings.max_lora_rank)),
            *("--max-loras", str(self._settings.max_adapters), "--max-cpu-loras", str(self._settings.max_adapters)),
            *self._settings.arguments,
        ]

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until it dies, is to end, or has not been well for too long."""
        patience, trouble = self._settings.start_seconds, "ready"
        give_up_at = time.monotonic() + patience
        while process.poll() is None and not self._ending:
            if self._is_healthy():
                self._tell(is_ready=True, trouble="")
                patience, trouble = self._settings.hung_seconds, "well"
                give_up_at = time.monotonic() + patience
            elif time.monotonic() > give_up_at:
                self._tell(is_ready=False, trouble=f"vLLM was not {trouble} for {patience:.0f} s")
                return
            self._stay_with(process, HEALTH_SECONDS if self._is_ready else LOOK_SECONDS)
        if process.poll() is not None:
            self._tell(is_ready=False, trouble=f"vLLM ended with the code {process.returncode}")

    def _stay_with(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Rest; less when it dies or is to end."""
        end = time.monotonic() + seconds
        while process.poll() is None and not self._ending and time.monotonic() < end:
            self._rest(min(LOOK_SECONDS, seconds))

    def _put_away(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.send_signal(signal.SIGTERM)  # to the one that leads the group and ends the rest
                process.wait(20)
            with suppress(ProcessLookupError):  # where it could not, or was killed itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self._news:
            self._lives += 1
            self._adapters.clear()
        self._tell(is_ready=False, trouble=self._trouble)

    def _count(self, files: ModelFiles, users: int) -> None:
        with self._news:
            self._in_use[files.digest] += users
            if not self._in_use[files.digest]:
                del self._in_use[files.digest]

    def _tell(self, *, is_ready: bool, trouble: str) -> None:
        with self._news:
            self._is_ready, self._trouble = is_ready, trouble
            self._news.notify_all()

    def _rest(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._ending, seconds)

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(self._url("/health"), timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _url(self, path: str) -> str:
        return f"http://{HERE}:{self._port}{path}"

    def _wait_ready(self) -> None:
        with self._news:
            self._news.wait_for(lambda: self._is_ready or self._ending or self._trouble, self._settings.start_seconds)
            if not self._is_ready:
                raise EngineError("model_unavailable", self._trouble or "vLLM is not ready")

    def _name_of_base(self, files: ModelFiles) -> str:
        with self._news:
            self._bases[files.digest] = files.model_id
        return self._ref.key

    def _feed(self, files: ModelFiles) -> str:
        """The name under which vLLM knows an adapter, which it is handed if need be. Names are never used again.

        Raises EngineError when it does not take it, or ends meanwhile.
        """
        fed = _Fed("a" + sha256(files.digest.encode()).hexdigest()[:16], files.model_id)
        with self._feeding:
            life = self._lives
            if files.digest not in self._adapters:
                self._make_room()
                self._post("/v1/load_lora_adapter", {"lora_name": fed.name, "lora_path": str(files.adapter)}, "already")
            with self._news:
                if self._lives != life:  # the next process knows nothing of what this one was handed
                    raise EngineError("model_unavailable", "vLLM ended while it was handed the adapter")
                self._adapters[files.digest] = fed
                self._adapters.move_to_end(files.digest)
        return fed.name

    def _make_room(self) -> None:
        """Unload the least recently used adapters that nobody uses."""
        with self._news:
            held = list(self._adapters.items())
        for digest, fed in held:
            if len(self._adapters) < self._settings.max_adapters:
                return
            if not self._in_use[digest]:
                self._post("/v1/unload_lora_adapter", {"lora_name": fed.name}, "not found")
                with self._news:
                    self._adapters.pop(digest, None)

    def _post(self, path: str, body: dict[str, Any], harmless: str) -> None:
        """Raises EngineError unless it was done, or its words say ``harmless``."""
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            response = httpx.post(self._url(path), json=body, headers=headers, timeout=120, trust_env=False)
        except httpx.HTTPError as problem:
            raise EngineError("model_unavailable", f"vLLM did not take the adapter: {problem}") from problem
        if response.status_code != 200 and harmless not in response.text:
            words = response.text[:500]
            raise EngineError("model_unavailable", f"vLLM refused the adapter ({response.status_code}): {words}")


def not_found(settings: VllmSettings) -> str:
    """What is wrong when the program is not there."""
    if not settings.command:
        return "vLLM is not set up: tell the program's path (the setting of the vLLM command)."
    return f"vLLM was not found: there is no program {settings.command}."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])
