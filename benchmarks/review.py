"""The review page and the list of rows at many rows against a thousand, on SQLite and on PostgreSQL.

Each database is measured in a process of its own. PostgreSQL is the server of ``BENCH_POSTGRES_URL`` (a database is made
there and dropped again); without one that answers, only SQLite is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset

FEW = 1_000
POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
WORDS = (
    "party",
    "clause",
    "notice",
    "payment",
    "deed",
    "term",
    "sale",
    "house",
    "month",
    "year",
    "court",
    "law",
    "right",
)
# (page, filters, goal): what a person looks at; {deep} is four tenths into the dataset, so that every page is full.
LISTS = (
    ("first page", "", 1.5),
    ("deep page", "?after={deep}", 1.5),
    ("status", "?status=needs_review&after={deep}", 2.0),
    ("finding", "?code=repetition&after={deep}", 2.0),
    ("label", "?label=B&after={deep}", 2.0),
    ("rare label", "?label=rare", 2.0),
    ("split", "?split=test&after={deep}", 2.0),
    ("search", "?q=clause&after={deep}", 2.0),
    ("search without a hit", "?q=zzz+nowhere", 2.0),
    ("all at once", "?status=needs_review&code=repetition&label=B&q=clause", 2.0),
)
CARDS = (
    ("first card", "", 1.5),
    ("finding", "?code=repetition", 2.0),
    ("label", "?label=B", 2.0),
    ("rare label", "?label=rare", 2.0),
    ("status", "?status=accepted", 2.0),
    ("search without a hit", "?q=zzz+nowhere", 2.0),
)


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goal: p95 within 1.5 times that of a thousand rows at any depth, within 2 times under any filter."""
    many = 1_000_000 if full else 20_000
    wanted = (os.environ.get("BENCH_DATABASES") or "sqlite,postgresql").split(",")
    results: dict[str, dict[str, Any]] = {}
    for name, url in _databases(wanted):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.review", str(many)],
            env=os.environ | {"DATABASE_URL": url, "DATA_DIR": tempfile.mkdtemp(prefix="tunesmith-bench-")},
            cwd=Path(__file__).resolve().parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for page, found in json.loads(done.stdout.splitlines()[-1]).items():
            results[f"{name}, {page}"] = found
    return results


def _databases(wanted: list[str]) -> Iterator[tuple[str, str]]:
    if "sqlite" in wanted:
        yield "sqlite", ""
    server = os.environ.get("BENCH_POSTGRES_URL", POSTGRES)
    if "postgresql" not in wanted:
        return
    import psycopg

    name = f"tunesmith_bench_{os.getpid()}"
    try:
        connection = psycopg.connect(server, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        print("no PostgreSQL answers: only SQLite is measured", file=sys.stderr)
        return
    with connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield "postgresql", urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _rows(count: int) -> Iterator[MadeRow]:
    repeated, mail = MadeFinding("repetition", "Says the same again."), MadeFinding("pii", "Holds mail.", kind="email")
    for n in range(1, count + 1):
        text = " ".join(WORDS[(n * 7 + k * k) % len(WORDS)] for k in range(24))
        findings = [repeated] if n % 10 == 0 else [mail] if n % 97 == 0 else []
        yield MadeRow(
            f"What does number {n} say of {text}?",
            f"It says {text} in that order.",
            status="needs_review" if n % 10 == 0 else "flagged" if n % 97 == 0 else "accepted",
            label="rare" if n % 10_000 == 9_999 or n == 500 else "ABC"[n % 3],
            split="test" if n % 10 == 3 else "train",
            findings=findings,
        )


def _run(many: int) -> dict[str, dict[str, Any]]:
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from accounts_app.models import User
    from accounts_app.operations import create_project

    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", verbosity=0)
    user = User.objects.create_user(email="bench@example.com")
    project = create_project(user=user, name="Bench")
    few, large = (made_dataset(project, user, _rows(count), task_type="classification") for count in (FEW, many))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    results = {}
    for kind, pages, page in (("rows", LISTS, "rows"), ("review", CARDS, "review")):
        for name, query, goal in pages:
            arms = {
                f"{dataset.total:,} rows": _visit(client, project, dataset, page, query) for dataset in (few, large)
            }
            results[f"{kind}: {name}"] = _compare(arms, goal)
    for dataset in (few, large):
        _stand_deep(dataset, user)
    arms = {f"{dataset.total:,} rows": _visit(client, project, dataset, "review", "") for dataset in (few, large)}
    results["review: deep card"] = _compare(arms, 1.5)
    return results


def _visit(client: Any, project: Any, dataset: Any, page: str, query: str) -> Callable[[], None]:
    from datasets_app.models import RowLock

    address = f"/p/{project.slug}/data/{dataset.pk}/{page}" + query.format(deep=dataset.total * 4 // 10)

    def visit() -> None:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)

    def fresh() -> None:
        RowLock.objects.all().delete()
        visit()

    return fresh if page == "review" else visit


def _stand_deep(dataset: Any, user: Any) -> None:
    """The person's last act was nine tenths into the dataset."""
    from datasets_app.models import ReviewAct

    ReviewAct.objects.create(dataset=dataset, row=dataset.total * 9 // 10, user=user, action="skip", before={})


def _compare(arms: dict[str, Callable[[], None]], goal: float, repeats: int = 10, rounds: int = 3) -> dict[str, Any]:
    """The 95th percentile of each arm in seconds, the arms taking turns; of three rounds the quietest, because what else
    runs on the machine makes a tail of its own."""
    for act in arms.values():
        act()
    best: dict[str, dict[str, float]] = {name: {"median": 1e9, "p95": 1e9} for name in arms}
    for _ in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(repeats):
            for name, act in arms.items():
                begun = time.perf_counter()
                act()
                taken[name].append(time.perf_counter() - begun)
        for name, times in taken.items():
            best[name]["median"] = min(best[name]["median"], statistics.median(times))
            best[name]["p95"] = min(best[name]["p95"], statistics.quantiles(times, n=20)[-1])
    small, large = best.values()
    return {
        "value": large["p95"] / small["p95"],
        "unit": "x the p95 of 1,000 rows",
        "goal": f"<= {goal}",
        "arms": {f"{name}, {k}": seconds for name, found in best.items() for k, seconds in found.items()},
        "medians": large["median"] / small["median"],
    }


if __name__ == "__main__":
    print(json.dumps(_run(int(sys.argv[1]))))
