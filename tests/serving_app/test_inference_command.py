"""``manage.py inference``: announces itself, answers, says goodbye; and what happens when it cannot."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    end = time.monotonic() + 20
    while Replica.objects.get().loaded != ["base:demo-base"] and time.monotonic() < end:
        time.sleep(0.2)
    assert Replica.objects.get().loaded == ["base:demo-base"]
    process.terminate()
    assert process.wait(30) == 0
    assert not Replica.objects.exists()
    assert not where.exists()


def test_one_that_was_killed_gives_503_and_is_forgotten(deployed_base, process, ask, monkeypatch) -> None:
    from serving_app import queries

    assert ask("/predict", {"text": "Hello", "max_tokens": 2}).status_code == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ask("/predict", {"text": "Hello", "max_tokens": 2}).status_code == 503
    monkeypatch.setattr(queries, "REPLICA_FRESH_SECONDS", 0.0)
    assert queries.fresh_replicas() == []
