"""Pages: a deep page of a row list against its first page, and the data pages of a large dataset against those of a
small one, through the whole middleware stack."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.clock import cpu_seconds

IMPORTED = 2_000  # rows that the real job imports; the large dataset repeats them in the tables
SLOWEST_MS = 150.0


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: any depth within 1.5 times the first page, a large dataset within 1.5 times a small one (server
    CPU-seconds), and 95 of 100 requests for the data page of the large one under 150 ms (CPU time; wall time is
    told beside it)."""
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tunesmith-bench-")
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", verbosity=0)
    last = 1_000_000 if full else 20_000
    browser, small, large = _datasets(last)
    depth = {
        "deep page": _page(browser, large, f"rows?after={last - 100}"),
        "first page": _page(browser, large, "rows"),
    }
    results = {"rows, deep page against the first": _ratio(depth, "x the first page")}
    for name in ("", "rows", "snapshots", "freeze", "snapshots/1"):
        pages = {
            f"{last:,} rows": _page(browser, large, name),
            f"{IMPORTED:,} rows": _page(browser, small, name),
        }
        results[f"page {name or 'data'}, large against small"] = _ratio(pages, "x the small dataset")
    results |= _slowest(_page(browser, large, ""), last)
    return results


def _get(client: Any, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)


def _page(client: Any, dataset: Any, name: str) -> Callable[[], None]:
    return lambda: _get(client, f"/p/{dataset.project.slug}/data/{dataset.pk}/{name}")


def _ratio(arms: Mapping[str, Callable[[], object]], unit: str) -> dict[str, Any]:
    """The first arm over the second, after each was called once."""
    for act in arms.values():
        act()
    taken = cpu_seconds(arms, repeats=9)
    first, second = taken.values()
    return {"value": first / second, "unit": unit, "goal": "<= 1.5", "arms": taken}


def _slowest(act: Callable[[], None], rows: int, requests: int = 60) -> dict[str, dict[str, Any]]:
    """95 of 100 requests: CPU time decides, because the machine is shared; wall time is told beside it."""
    wall, cpu = [], []
    for _ in range(requests):
        begun, used = time.perf_counter(), time.process_time()
        act()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    p95 = statistics.quantiles(cpu, n=20)[-1]
    arms = {"CPU, median": statistics.median(cpu), "CPU, p95": p95}
    arms |= {"wall, median": statistics.median(wall), "wall, p95": statistics.quantiles(wall, n=20)[-1]}
    name = f"data page of {rows:,} rows, p95"
    return {name: {"value": p95 * 1000, "unit": "ms of CPU", "goal": f"<= {SLOWEST_MS:g}", "arms": arms}}


def _datasets(count: int) -> tuple[Any, Any, Any]:
    """A signed-in client, a dataset imported and frozen by the real jobs, and one that is as large as
    ``count`` in the tables."""
    from django.test import Client

    from accounts_app.models import User
    from accounts_app.operations import create_project
    from accounts_app.permissions import project_for
    from datasets_app.operations import create_snapshot
    from work_kit.supervisor import run_waiting

    user = User.objects.create_user(email="bench@example.com")
    project = create_project(user=user, name="Bench")
    actor = project_for(user, project.slug, "train")
    small, large = _imported(actor, "Small"), _imported(actor, "Large")
    for dataset in (small, large):
        create_snapshot(actor=actor, dataset=dataset)
    run_waiting("cpu")
    _grow(large, count)
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser, small, large


def _imported(actor: Any, name: str) -> Any:
    import json

    from django.core.files.base import ContentFile

    from datasets_app.operations import create_dataset, store_upload
    from work_kit.supervisor import run_waiting

    lines = (
        json.dumps({"text": f"row number {n} of many, said in {n * 7919 % 10007} words", "label": "ABC"[n % 3]})
        for n in range(IMPORTED)
    )
    file = ContentFile("\n".join(lines).encode(), name="rows.jsonl")
    dataset = create_dataset(actor=actor, upload=store_upload(actor=actor, file=file, name="rows.jsonl"), name=name)
    run_waiting("cpu")
    dataset.refresh_from_db()
    assert dataset.state == "ready", dataset.error
    return dataset


def _grow(dataset: Any, count: int) -> None:
    """Repeat the rows and findings in the tables until there are ``count``: what pages ask is how many there are."""
    from django.db import connection

    from datasets_app.models import Example, Finding

    for model in (Example, Finding):
        names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
        quoted = [connection.ops.quote_name(name) for name in names]
        shifted = ", ".join(f"{name} + %s" if name.strip('"') == "row" else name for name in quoted)
        table = connection.ops.quote_name(model._meta.db_table)
        with connection.cursor() as cursor:
            for begin in range(IMPORTED, count, IMPORTED):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {shifted} FROM {table} "  # noqa: S608
                    "WHERE dataset_id = %s AND row <= %s",
                    [begin, dataset.pk, IMPORTED],
                )
    times = count // IMPORTED
    for name in ("total", "accepted", "flagged", "needs_review", "rejected"):
        setattr(dataset, name, getattr(dataset, name) * times)
    dataset.codes = {code: n * times for code, n in dataset.codes.items()}
    dataset.save()
