"""Processes die in the middle of a training; the job ends all the same, once, with one artefact."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from finetune_engine.data.samples import SAMPLES
from tests.house.conftest import wait_for_state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING = {"num_train_epochs": 2, "save_steps": 10, "eval_steps": 20, "gradient_accumulation_steps": 1}


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred rows of the sample: a training of about twenty seconds."""
    lines = SAMPLES["contract_clauses"].path.read_text().splitlines()
    random.Random(3).shuffle(lines)
    path = tmp_path_factory.mktemp("faults") / "clauses.jsonl"
    path.write_text("\n".join(lines[:300]) + "\n")
    return path


@pytest.fixture(scope="module")
def client(site) -> httpx.Client:
    with site.client(site.project_key("Faults")[1]) as client:
        yield client


@pytest.fixture(scope="module")
def dataset_id(client, small_file) -> str:
    with open(small_file, "rb") as file:
        made = client.post("/api/v1/datasets", files={"file": (small_file.name, file)}, data={"name": "Clauses"}).json()
    wait_for_state(client, f"/api/v1/datasets/{made['id']}", "ready")
    snapshot = client.post(f"/api/v1/datasets/{made['id']}/snapshots", json={}).json()
    wait_for_state(client, f"/api/v1/datasets/{made['id']}/snapshots/{snapshot['number']}", "ready")
    return made["id"]


def start(client: httpx.Client, dataset_id: str, **training: object) -> str:
    made = client.post(
        "/api/v1/jobs", json={"base_model": "demo-base", "dataset": dataset_id, "training": TRAINING | training}
    )
    assert made.status_code == 201, made.text
    return f"/api/v1/jobs/{made.json()['id']}"


def until_checkpoint(client: httpx.Client, url: str, seconds: float = 120.0) -> int:
    """Wait until the training has written a checkpoint; returns how many events there are."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        events = client.get(f"{url}/events", headers={"Accept": "application/json"}).json()["data"]
        if any(event["kind"] == "checkpoint" for event in events):
            return len(events)
        time.sleep(0.2)
    raise AssertionError("no checkpoint was written")


def steps_of(client: httpx.Client, url: str) -> list[int]:
    return [point["step"] for point in client.get(f"{url}/metrics").json()["data"]]


@contextmanager
def count_trainers(site) -> Iterator[set[int]]:
    """How many trainers of the site were seen alive together while the block ran."""
    seen: set[int] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.3):
            lines = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
            seen.add(sum("finetune_engine train" in line and str(site.data_dir) in line for line in lines))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        ended.set()
        watch.join()


def test_killed_trainer_worker_and_web_process_cost_only_time_and_no_two_trainers_ever_live_together(
    site, client, dataset_id
) -> None:
    url = start(client, dataset_id)
    with count_trainers(site) as seen:
        for victim in ("trainer", "gpu", "web"):
            until_checkpoint(client, url)
            process = site.programs().get(victim)
            assert process is not None, victim
            process.send_signal(signal.SIGKILL)
            psutil.wait_procs([process], timeout=10)
            wait_for_state(client, url, "running", "saving", "succeeded", seconds=120)
        job = wait_for_state(client, url, "succeeded", seconds=400)

    assert max(seen) == 1
    models = [model for model in client.get("/api/v1/models").json()["data"] if model["job"] == job["id"]]
    assert len(models) == 1
    steps = steps_of(client, url)
    assert steps == list(range(1, len(steps) + 1)), "metric steps have a gap or a double"
    assert "trainer" not in site.programs()
    assert job["attempt"] >= 2


def test_cancel_stops_a_training_within_fifteen_seconds(site, client, dataset_id) -> None:
    url = start(client, dataset_id, num_train_epochs=20)
    until_checkpoint(client, url)
    begun = time.monotonic()
    assert client.post(f"{url}/cancel").status_code == 200
    wait_for_state(client, url, "cancelled", seconds=15)
    assert time.monotonic() - begun < 15
    assert "trainer" not in site.programs()


def test_a_page_that_comes_back_replays_the_same_chart(site, client, dataset_id) -> None:
    url = start(client, dataset_id, num_train_epochs=1)
    wait_for_state(client, url, "succeeded")
    whole = _stream_ids(client, url)
    assert whole == sorted(set(whole))
    middle = whole[len(whole) // 2]
    assert _stream_ids(client, url, last=middle) == [number for number in whole if number > middle]


def _stream_ids(client: httpx.Client, url: str, last: int | None = None) -> list[int]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last)} if last else {})
    ids = []
    with client.stream("GET", f"{url}/events", headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("id:"):
                ids.append(int(line.removeprefix("id:")))
    return ids


def test_no_process_is_left_when_the_site_is_killed(site) -> None:
    """Last in this file: the site ends here."""
    children = psutil.Process(site.process.pid).children(recursive=True)
    assert len(children) >= 5
    site.process.kill()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert alive == []
