"""``make demo``: the whole path on the sample project, through the real site, queue and HTTP API.

Starts the site, uploads the sample as any program would, freezes a snapshot, fine-tunes ``demo-base``, evaluates it against
its base, deploys it and asks it one question. Every figure it prints was measured by that run.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

SAMPLE = "contract_clauses"
BASE_MODEL = "demo-base"
TRAINING: dict[str, Any] = {}  # the defaults are what a person gets, so they are what the demo shows
POLL_SECONDS = 0.5
QUESTION = (
    "Neither party shall be answerable for any delay caused by flood, earthquake, riot or any other event that lies beyond "
    "its reasonable control, and the time for performance is extended accordingly."
)

SIGN_OFF = "Signed by the demonstration, which printed the report."


class DemoFailed(Exception):
    """The path broke; the message says where."""


class Journey:
    """The path through the API, step by step."""

    def __init__(self, client: httpx.Client, progress: Progress) -> None:
        self.client = client
        self.progress = progress

    def call(self, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
        """One call; DemoFailed with the site's own sentence when it is refused."""
        response = self.client.request(method, url, **kwargs)
        if response.status_code >= 400:
            raise DemoFailed(f"{method} {url}: {response.status_code} {response.text[:500]}")
        body: dict[str, Any] = response.json()
        return body

    def wait(self, label: str, url: str, good: str, bad: set[str], seconds: float) -> dict[str, Any]:
        """Poll until the state is ``good``, drawing the progress that the site reports."""
        bar = self.progress.add_task(label, total=100)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = self.call("GET", url)
            state = body.get("status", "")
            report = body.get("progress") or {}
            if report.get("percent") is not None:
                self.progress.update(bar, completed=report["percent"])
            if state == good:
                self.progress.update(bar, completed=100)
                return body
            if state in bad:
                raise DemoFailed(f"{label}: {state}: {body.get('error')}")
            time.sleep(POLL_SECONDS)
        raise DemoFailed(f"{label}: not done after {seconds:.0f} s")

    def upload(self, path: Path) -> dict[str, Any]:
        """Upload the file; its rows are checked in a job."""
        with open(path, "rb") as file:
            made = self.call(
                "POST", "/api/v1/datasets", files={"file": (path.name, file)}, data={"name": "Contract clauses"}
            )
        return self.wait("Upload and checks", f"/api/v1/datasets/{made['id']}", "ready", {"failed"}, 120)

    def freeze(self, dataset_id: str) -> dict[str, Any]:
        """Freeze a snapshot with its split."""
        base = f"/api/v1/datasets/{dataset_id}/snapshots"
        made = self.call("POST", base, json={"seed": 42})
        return self.wait("Snapshot", f"{base}/{made['number']}", "ready", {"failed"}, 120)

    def train(self, snapshot_id: str) -> dict[str, Any]:
        """Fine-tune the base model by LoRA."""
        wanted = {"base_model": BASE_MODEL, "snapshot": snapshot_id, "name": "Clause types", "training": TRAINING}
        made = self.call("POST", "/api/v1/jobs", json=wanted)
        return self.wait("LoRA training", f"/api/v1/jobs/{made['id']}", "succeeded", {"failed", "cancelled"}, 1200)

    def evaluate(self, model: str) -> dict[str, Any]:
        """Measure the tuned model and its base on the test split."""
        made = self.call("POST", "/api/v1/evaluations", json={"models": [model]})
        url = f"/api/v1/evaluations/{made['id']}"
        return self.wait("Evaluation", url, "succeeded", {"failed", "cancelled"}, 600)

    def deploy_and_ask(self, model: str, evaluation: str, seconds: float = 60.0) -> dict[str, Any]:
        """Sign for the model and deploy it, then one answer by ``/predict``; the model server may still be loading."""
        bar = self.progress.add_task("Deployment and one answer", total=100)
        wanted = {"model": model, "sign_off": SIGN_OFF, "evaluation": evaluation}
        made = self.call("POST", "/api/v1/deployments", json=wanted)
        self.progress.update(bar, completed=50)
        deadline = time.monotonic() + seconds
        while made["status"] == "preparing" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            made = self.call("GET", f"/api/v1/deployments/{made['id']}")
        if made["status"] != "active":
            raise DemoFailed(f"Deployment: {made['status']}: {made['problem']}")
        while True:
            response = self.client.post("/predict", json={"text": QUESTION, "max_tokens": 12, "temperature": 0})
            if response.status_code == 200:
                self.progress.update(bar, completed=100)
                answer: dict[str, Any] = response.json()
                return answer
            if response.status_code != 503 or time.monotonic() > deadline:
                raise DemoFailed(f"POST /predict: {response.status_code} {response.text[:500]}")
            time.sleep(1.0)


def scores_of(report: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """The scores of one model or baseline of a report, by metric."""
    for entry in [*report["models"], *report["baselines"]]:
        if entry["key"] == key:
            return {score["metric"]: score for score in entry["scores"]}
    return {}


def _shown(score: dict[str, Any] | None) -> str:
    if not score or score.get("value") is None:
        return "-"
    text = f"{100 * score['value']:.1f} %"
    if score.get("ci_low") is not None:
        text += f"  [dim]({100 * score['ci_low']:.0f} to {100 * score['ci_high']:.0f} %)[/dim]"
    return text


def print_report(console: Console, address: str, slug: str, found: dict[str, Any], seconds: dict[str, float]) -> None:
    """What the run measured."""
    dataset, snapshot, job = found["dataset"], found["snapshot"], found["job"]
    evaluation, answer = found["evaluation"], found["answer"]
    report, counts = evaluation["report"], dataset["counts"]
    console.rule("What this run measured")
    console.print(
        f"Data      {counts['total']} rows: {counts['accepted']} accepted, {counts['flagged']} flagged, "
        f"{counts['needs_review']} to review, {counts['rejected']} rejected"
    )
    split = snapshot["counts"]
    console.print(f"Split     {split['train']} train, {split['validation']} validation, {split['test']} test")
    metrics = job["trained_model"]["metrics"]
    console.print(
        f"Training  {seconds['train']:.0f} s, best validation loss "
        f"{metrics.get('valid_loss', float('nan')):.3f} at step {metrics.get('best_step', '-')}"
    )
    table = Table(title=f"Accuracy on the {report['n']} test rows", title_justify="left", box=None)
    table.add_column("")
    table.add_column("written answer")
    table.add_column("label by log-likelihood")
    for key, name in (("tuned", "Tuned model"), ("base", "Base model"), ("tfidf", "TF-IDF"), ("majority", "Majority")):
        scores = scores_of(report, key)
        table.add_row(name, _shown(scores.get("accuracy")), _shown(scores.get("accuracy_loglik")))
    console.print(table)
    console.print(f"Verdict   {report['verdict']['sentence']}")
    confidence = answer.get("confidence")
    sure = f", confidence {confidence:.2f}" if confidence is not None else ""
    console.print(f"/predict  “{answer['prediction'].strip()}”  ({1000 * answer['latency']:.0f} ms{sure})")
    console.print(f"Time      {sum(seconds.values()):.0f} s for the whole path")
    console.print(f"Page      {address}/p/{slug}/")


def walk(client: httpx.Client, console: Console) -> tuple[dict[str, Any], dict[str, float]]:
    """The whole path; returns what each step answered and how many seconds it took."""
    from finetune_engine.data.samples import SAMPLES

    found: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    columns = (TextColumn("{task.description:<26}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        path = Journey(client, progress)

        def step(name: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            begun = time.monotonic()
            found[name] = act()
            seconds[name] = time.monotonic() - begun
            return dict(found[name])

        dataset = step("dataset", lambda: path.upload(SAMPLES[SAMPLE].path))
        snapshot = step("snapshot", lambda: path.freeze(dataset["id"]))
        job = step("train", lambda: path.train(snapshot["id"]))
        found["job"] = job
        model = job["trained_model"]["api_name"]
        evaluation = step("evaluation", lambda: path.evaluate(model))
        step("answer", lambda: path.deploy_and_ask(model, evaluation["id"]))
    return found, seconds


def free_port(wanted: int) -> int:
    """``wanted`` when it is free, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("no port is free on 127.0.0.1")


def prepare_project() -> tuple[str, str, str]:
    """A fresh project with a key and a one-time link to its pages: ``(slug, key, token)``."""
    from accounts_app.models import User
    from accounts_app.operations import create_api_key, create_project, invite

    user = User.objects.filter(email="demo@localhost.localdomain").first() or User.objects.create_user(
        email="demo@localhost.localdomain", name="Demo"
    )
    project = create_project(user=user, name="Contract clauses", description="Say what type a contract clause is.")
    key = create_api_key(project=project, name="make demo", scopes=["admin"])[1]
    token = invite(email="", role="owner", project=project)[1]
    return project.slug, key, token


def main() -> int:
    """Run the demo; 0 when the whole path worked."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="stop the site when the path is done")
    once = parser.parse_args().once
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import reverse

    from finetune_site.management.commands.start import run_site

    console = Console(highlight=False)
    call_command("migrate", interactive=False, verbosity=0)
    port = free_port(int(os.environ.get("PORT") or 8000))
    address = f"http://localhost:{port}"
    slug, key, token = prepare_project()
    log_path = Path(settings.DATA_DIR) / "demo.log"
    with open(log_path, "w") as log:
        processes = run_site("127.0.0.1", port, out=log)
        signal.signal(signal.SIGTERM, processes.end)
        watcher = threading.Thread(target=processes.watch, daemon=True)
        watcher.start()
        try:
            console.print(f"The site is starting at {address} (log: {log_path})")
            _wait_until_up(address)
            with httpx.Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {key}"}) as client:
                found, seconds = walk(client, console)
            print_report(console, address, slug, found, seconds)
            if not once:
                link = address + reverse("accounts:join", args=[token])
                console.print(
                    f"\nOpen it: {link}\n(the link works once and makes your account). Ctrl-C stops the site."
                )
                watcher.join()
        except DemoFailed as error:
            console.print(f"[red]The demo did not finish.[/red] {error}\nThe site's log: {log_path}")
            return 1
        except KeyboardInterrupt:
            pass
        finally:
            processes.stop()
    return 0


def _wait_until_up(address: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise DemoFailed(f"the site did not answer at {address} within {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
