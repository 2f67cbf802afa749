"""Models that need no training, and a real inference process with a real gateway in front of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trained(project, actor, db) -> Callable[..., Any]:
    """``trained("Name")``: a trained model's row (its files are made up)."""
    from jobs_app.models import TrainedModel, TrainingJob
    from work_kit.models import Job

    def make(name: str = "Clauses", of: Any = None) -> Any:
        from django.utils import timezone

        where = of or project
        work = Job.objects.create(
            project=where, kind="jobs.train", queue="gpu", title=name, state="succeeded", available_at=timezone.now()
        )
        training = TrainingJob.objects.create(
            id=work.pk, project=where, work=work, name=name, base_model_key="demo-base"
        )
        return TrainedModel.objects.create(
            project=where,
            training_job=training,
            name=name,
            base_model_key="demo-base",
            api_name=f"ft:demo-base:{where.slug}:x:{work.pk}",
            storage_prefix=f"models/{work.pk}",
            manifest_sha256="ab" * 32,
            size_bytes=1,
        )

    return make


@pytest.fixture
def deployed_base(actor, transactional_db):
    """The bundled demo model, in use as ``production``."""
    from serving_app.operations import deploy_model

    return deploy_model(actor=actor, base_model_key="demo-base")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} after {seconds} s")
        time.sleep(0.05)


def _listens(where: Path) -> bool:
    """A socket's file is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(where)) == 0


@pytest.fixture(scope="session")
def model_server(tmp_path_factory) -> Iterator[str]:
    """The engine's own server with the demo model on a unix socket, shared by all tests; its address."""
    from finetune_engine.catalogue.catalogue import load_catalogue

    folder = tmp_path_factory.mktemp("server")
    base = {"key": "demo-base", "path": str(load_catalogue()["demo-base"].path)}
    models = [{"model_id": "base:demo-base", "base_model": base, "adapter": None, "digest": "d" * 64}]
    (folder / "models.json").write_text(json.dumps({"models": models}))
    where = folder / "model.sock"
    program = [
        sys.executable,
        str(Path(__file__).with_name("model_server.py")),
        str(folder / "models.json"),
        str(where),
    ]
    process = subprocess.Popen(program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: _listens(where) or process.poll() is not None, 90, "the model server did not start")
        assert process.poll() is None
        yield f"unix:{where}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def inference(transactional_db, model_server) -> str:
    """The shared model server, announced in this test's database."""
    from serving_app.operations import announce_replica

    announce_replica(address=model_server, host="here", pid=1)
    return model_server


@pytest.fixture
def site(transactional_db, monkeypatch) -> Iterator[str]:
    """The whole ASGI site, gateway first, behind a real HTTP server; its address. What a test changes counts at once."""
    import uvicorn

    from finetune_site.asgi import application
    from serving_app import caching
    from serving_app.gateway import entrance
    from serving_app.gateway.database import prediction_log

    caching.clear()
    monkeypatch.setattr(entrance, "FRESH_SECONDS", 0.0)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 20, "the site did not start")
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    assert prediction_log.flush(60)
    listener.close()


@pytest.fixture
def ask(site, api_key) -> Callable[..., httpx.Response]:
    """``ask("/predict", {...})``: a program with the scope predict calls the site."""
    key = api_key("predict")

    def post(path: str, body: Any, *, key: str = key, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(f"{site}{path}", json=body, headers=headers, timeout=120, **options)

    return post
