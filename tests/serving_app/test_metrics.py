"""Who may read ``/metrics``, what is in it, and that several processes add up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_token_only_this_machine_reads(client, settings) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="::1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="").status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="8.8.8.8").status_code == 404


def test_with_a_token_whoever_has_it_reads(client, settings) -> None:
    settings.METRICS_TOKEN = "long-secret"
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 404
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 404
    answer = client.get("/metrics", REMOTE_ADDR="10.0.0.7", HTTP_AUTHORIZATION="Bearer long-secret")
    assert answer.status_code == 200


def exported(client, settings) -> tuple[str, set[str]]:
    settings.METRICS_TOKEN = ""
    text = client.get("/metrics").content.decode()
    return text, {line.split()[2].removesuffix("_total") for line in text.splitlines() if line.startswith("# TYPE")}


def test_every_promised_figure_is_there_and_jobs_are_counted(client, project, settings) -> None:
    from django.utils import timezone

    from serving_app import metrics
    from work_kit.models import Job

    metrics.count_answer("demo-base", 200, 0.1)
    Job.objects.create(project=project, kind="x", queue="cpu", title="x", available_at=timezone.now())
    text, names = exported(client, settings)
    assert {
        *("model_requests", "model_request_duration_seconds", "model_errors", "model_tokens"),
        *("model_time_to_first_token_seconds", "model_cache_hits", "model_feedback", "model_in_flight"),
        *("model_needs_human", "model_log_lost", "jobs", "replicas", "deployments", "alerts_open"),
    } <= names
    assert 'jobs{state="queued"} 1.0' in text
    assert 'jobs{state="failed"} 0.0' in text
    assert 'deployments{state="active"} 0.0' in text
    assert 'replicas{state="lost"} 0.0' in text


def test_the_dashboard_asks_only_for_figures_that_exist(client, project, settings) -> None:
    _text, names = exported(client, settings)
    board = json.loads((ROOT / "docs" / "grafana" / "tunesmith.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]
    words = {
        word
        for query in queries
        for word in re.findall(r"\b(?:model_[a-z_]+|jobs|replicas|deployments|alerts_open)\b", query)
    }
    asked = {word.removesuffix("_bucket").removesuffix("_total") for word in words} - {"model_name"}
    assert len(asked) >= 12
    assert asked <= names


def test_no_prompt_and_no_person_becomes_a_label(client, ask, settings, owner, actor) -> None:
    ask("/predict", {"text": "the landlord's secret", "model": "nobody-knows-this-model"})
    ask(
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hush"}], "model": "also unknown", "user": "mrs-x"},
    )
    text, _names = exported(client, settings)
    assert "landlord" not in text
    assert "hush" not in text
    assert "mrs-x" not in text
    assert "unknown-this" not in text
    assert "nobody-knows" not in text
    assert owner.email not in text
    labels = set(re.findall(r'([a-z_]+)="', text))
    assert labels <= {
        "model_name",
        "status",
        "kind",
        "verdict",
        "state",
        "le",
        "generation",
        "implementation",
        "version",
        "major",
        "minor",
        "patchlevel",
    }


def test_many_models_share_one_label(monkeypatch) -> None:
    from serving_app import metrics

    monkeypatch.setattr(metrics, "_names", {f"model-{number}" for number in range(metrics.MOST_NAMES)})
    assert metrics._label("one-too-many") == metrics.OTHER
    assert metrics._label("model-3") == "model-3"
    assert metrics._label("") == metrics.UNKNOWN


COUNT = """
import os, sys
import django; django.setup()
from serving_app import metrics
for _ in range(int(sys.argv[1])):
    metrics.count_answer("demo-base", 200, 0.2, prompt_tokens=3, completion_tokens=4)
metrics.IN_FLIGHT.inc()
"""
READ = """
import django; django.setup()
from serving_app import metrics
metrics.HOUSE.collect = lambda: iter(())
print(metrics.exposition().decode())
"""


def _process(folder: Path, code: str, *arguments: str) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    program = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_counts_of_several_processes_add_up_and_survive_their_ends(tmp_path: Path) -> None:
    from serving_app.metrics import fresh_folder

    folder = tmp_path / "metrics"
    fresh_folder(folder)
    _process(folder, COUNT, "3")
    _process(folder, COUNT, "4")
    first = _process(folder, READ)
    assert 'model_requests_total{model_name="demo-base",status="200"} 7.0' in first
    assert 'model_request_duration_seconds_count{model_name="demo-base"} 7.0' in first
    assert "model_in_flight 1.0" not in first  # nobody is under way in a process that has ended
    files = len(list(folder.glob("*.db")))
    _process(folder, COUNT, "1")
    second = _process(folder, READ)
    assert 'model_requests_total{model_name="demo-base",status="200"} 8.0' in second
    assert 'model_tokens_total{kind="completion"} 32.0' in second
    assert len(list(folder.glob("*.db"))) <= files + 3  # the ended processes' files were gathered


def test_a_fresh_folder_holds_no_earlier_counts(tmp_path: Path) -> None:
    from serving_app.metrics import fresh_folder

    (tmp_path / "counter_77.db").write_bytes(b"old")
    fresh_folder(tmp_path)
    assert list(tmp_path.glob("*.db")) == []


def test_several_web_processes_share_a_folder_and_one_needs_none(monkeypatch, settings) -> None:
    from finetune_site.management.commands.start import programs

    def environment_of_web() -> dict[str, str]:
        (web,) = [program for program in programs("127.0.0.1", 1) if program.name == "web"]
        return dict(web.environment)

    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert "PROMETHEUS_MULTIPROC_DIR" not in environment_of_web()
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert environment_of_web()["PROMETHEUS_MULTIPROC_DIR"] == str(settings.RUN_DIR / "metrics")


def test_alerts_the_log_and_drift_are_looked_after_by_themselves() -> None:
    import importlib

    from finetune_site.celery import app

    importlib.import_module("serving_app.tasks")
    wanted = {f"serving_app.tasks.{name}" for name in ("check_alerts", "prune_log", "look_for_drift")}
    assert wanted <= {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert wanted <= set(app.tasks)
    for name in wanted:
        app.tasks[name]()


def test_counts_of_answers_are_told_while_the_database_is_away(client, settings, monkeypatch) -> None:
    from django.db import OperationalError

    from serving_app import metrics, queries

    def away() -> None:
        raise OperationalError("no connection")

    metrics.count_answer("demo-base", 200, 0.1)
    monkeypatch.setattr(queries, "job_counts", away)
    text, _names = exported(client, settings)
    assert "model_requests_total" in text
    assert "jobs{" not in text
