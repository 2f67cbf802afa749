"""``manage.py inference``: announces itself, answers, says goodbye; and what happens when it cannot."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connections

from finetune_engine.serve.exchange import Delta, Served, Usage
from tests.serving_app.replica_process import until

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(transactional_db, settings, tmp_path) -> Iterator[subprocess.Popen[bytes]]:
    from serving_app.queries import fresh_replicas

    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        pytest.skip("this test hands the database to another process by its file name")
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{database['NAME']}",
        "DJANGO_SETTINGS_MODULE": "finetune_site.settings",
        "DATA_DIR": str(settings.DATA_DIR),
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "inference", "--bind", f"unix:{tmp_path / 'model.sock'}"],
        cwd=ROOT,
        env=environment,
    )
    try:
        end = time.monotonic() + 90
        while not fresh_replicas() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert fresh_replicas(), "no replica announced itself"
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_it_announces_itself_answers_and_leaves_nothing_behind(deployed_base, process, ask, tmp_path) -> None:
    from serving_app.models import Replica

    where = tmp_path / "model.sock"
    assert stat.S_IMODE(where.stat().st_mode) == 0o600, "only this user may speak to it"
    assert Replica.objects.get().address == f"unix:{where}"
    assert ask("/predict", {"text": "The landlord", "max_tokens": 3}).status_code == 200
    until(lambda: Replica.objects.get().loaded == ["base:demo-base"])
    told = Replica.objects.get()
    assert (told.device, told.state) == ("cpu", "ready")
    assert {"transformers", "endpoint"} <= set(told.backends)
    assert told.memory_bytes
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, "/predict", {"text": "The landlord", "max_tokens": 400, "temperature": 1.3})
        while not _in_flight(where) and not long.done():
            time.sleep(0.01)
        process.terminate()
        assert long.result().status_code == 200, "an answer under way is given whole"
    assert process.wait(30) == 0
    assert not Replica.objects.exists()
    assert not where.exists()


def _in_flight(where: Path) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), base_url="http://replica", timeout=60) as client:
        return int(client.get("/health").json()["in_flight"])


class HeldBackend:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def submit(self, request, cancelled, tell) -> None:
        def answer() -> None:
            self.let_go.wait(30)
            tell([Delta(0, "Here.", (), "stop"), Delta(usage=Usage(1, 1), served=Served("d", "t"))])
            tell(None)

        threading.Thread(target=answer, daemon=True).start()

    def loaded_models(self) -> list[str]:
        return ["base:demo-base"]

    def facts(self) -> dict[str, Any]:
        return {"backends": ["in_process"]}

    def close(self) -> None:
        pass


def test_told_to_end_it_says_so_and_leaves_only_when_the_answer_under_way_is_given(
    transactional_db, tmp_path, monkeypatch
) -> None:
    from finetune_engine.serve.backends import choosing
    from serving_app.management.commands.inference import _listen
    from serving_app.models import Replica
    from serving_app.replicas.inference import InferenceServer

    backend = HeldBackend()
    monkeypatch.setattr(choosing, "ChoosingBackend", lambda *_args, **_options: backend)
    address, listener = _listen(f"unix:{tmp_path / 'held.sock'}")
    server = InferenceServer(address=address)

    def run() -> None:
        try:
            server.run(listener)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool, listener:
        running = pool.submit(run)
        asked = pool.submit(_chat, tmp_path / "held.sock")
        until(lambda: _in_flight(tmp_path / "held.sock") == 1)
        server.drain()
        until(lambda: Replica.objects.get().state == "draining")
        assert not running.done()
        assert _chat(tmp_path / "held.sock").status_code == 503, "nothing new"
        backend.let_go.set()
        assert asked.result(30).json()["choices"][0]["message"]["content"] == "Here."
        running.result(30)
    assert not Replica.objects.exists()


def _chat(where: Path) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where), retries=20), base_url="http://replica") as client:
        body = {"model": "base:demo-base", "messages": [{"role": "user", "content": "Hello"}]}
        return client.post("/v1/chat/completions", json=body, timeout=40)


def test_one_that_was_killed_gives_503_and_is_forgotten(deployed_base, process, ask, monkeypatch) -> None:
    from serving_app.queries import fresh_replicas, replicas

    assert ask("/predict", {"text": "Hello", "max_tokens": 2}).status_code == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ask("/predict", {"text": "Hello", "max_tokens": 2}).status_code == 503
    monkeypatch.setattr(replicas, "REPLICA_FRESH_SECONDS", 0.0)
    assert fresh_replicas() == []


def test_it_answers_by_vllm_where_the_settings_name_the_program(settings) -> None:
    from serving_app.choices import BackendKind
    from serving_app.replicas.inference import InferenceServer

    for program, is_there in (("", False), (sys.executable, True)):
        settings.VLLM_COMMAND = program
        server = InferenceServer(address="unix:/nowhere")
        assert (BackendKind.VLLM in server.facts().backends) is is_there
        server._backend.close()
