"""Putting the rows of an import into the database: our way against ``bulk_create``, on SQLite and on PostgreSQL.

Both arms start from the same chunk on disk and fill the same columns of the same table; each arm begins with the table
empty. PostgreSQL is measured where ``BENCH_POSTGRES`` names one (such as ``postgres://postgres@127.0.0.1:5432/postgres``);
there only the client's CPU-seconds count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SMALL, _FULL = 4_000, 100_000


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: 8 times fewer CPU-seconds than ``bulk_create`` on SQLite, 20 times fewer of the client on PostgreSQL."""
    rows = _FULL if full else _SMALL
    results = _in_a_process("SQLite", "", rows, 8)
    if postgres := os.environ.get("BENCH_POSTGRES"):
        results |= _in_a_process("PostgreSQL", postgres, rows, 20)
    return results


def _in_a_process(name: str, url: str, rows: int, goal: int) -> dict[str, dict[str, Any]]:
    """Django is set up once in a process, so each database has its own."""
    environment = os.environ | {"DATA_DIR": tempfile.mkdtemp(prefix="tunesmith-bench-"), "LOG_LEVEL": "ERROR"}
    environment |= {"DATABASE_URL": url} if url else {}
    if not url:
        environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "benchmarks.bulk_load", str(rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bulk load on {name}: {done.stderr[-2000:]}")
    arms = json.loads(done.stdout.splitlines()[-1])
    return {
        f"bulk load, {name}, times bulk_create": {
            "value": arms["bulk_create"] / arms["columns"],
            "unit": "x fewer CPU-seconds",
            "goal": f">= {goal}",
            "arms": arms,
        }
    }


def _arms(rows: int) -> dict[str, float]:
    """CPU-seconds of both arms in a database of their own, which is removed afterwards."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    if connection.vendor == "postgresql":  # a name that no other run uses
        connection.settings_dict["TEST"]["NAME"] = f"tunesmith_bench_{os.getpid()}"
    old = setup_databases(verbosity=0, interactive=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            from benchmarks.preparation import prepared, write_rows

            path = Path(folder) / "rows.jsonl"
            write_rows(path, rows)
            report = prepared(path, Path(folder))
            out = next(Path(folder).glob("*/report.json")).parent
            dataset = made_dataset_row()
            taken: dict[str, list[float]] = {"bulk_create": [], "columns": []}
            for _ in range(4):
                for name, arm in (("bulk_create", _bulk_create), ("columns", _columns)):
                    begun = time.process_time()
                    arm(dataset, out, report["chunks"])
                    taken[name].append(time.process_time() - begun)
                    _empty(rows)
            # The first turn of each pays for imports.
            return {name: statistics.median(times[1:]) for name, times in taken.items()}
    finally:
        teardown_databases(old, verbosity=0)


def made_dataset_row() -> Any:
    """A dataset of an account and a project made for it."""
    from django.core.files.base import ContentFile

    from accounts_app.models import User
    from accounts_app.operations import create_project
    from accounts_app.permissions import project_for
    from datasets_app.operations import create_dataset, store_upload

    user = User.objects.create_user(email="bench@example.com")
    actor = project_for(user, create_project(user=user, name="Bench").slug, "train")
    file = ContentFile(b'{"text": "a", "label": "b"}', name="rows.jsonl")
    upload = store_upload(actor=actor, file=file, name="rows.jsonl")
    return create_dataset(actor=actor, upload=upload, name="Rows")


def _empty(rows: int) -> None:
    """The table is emptied after each arm, so that none pays for the rows of another; checks that all came in."""
    from django.db import connection

    from datasets_app.models import Example

    assert Example.objects.count() == rows, Example.objects.count()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Example._meta.db_table}")  # noqa: S608


def _columns(dataset: Any, out: Path, names: list[str]) -> None:
    from datasets_app.bulk import insert_columns
    from datasets_app.models import Example
    from datasets_app.runner import _EXAMPLE_FIELDS, _example_rows

    insert_columns(Example, _EXAMPLE_FIELDS, _example_rows(dataset, 1, out, names))


def _bulk_create(dataset: Any, out: Path, names: list[str]) -> None:
    """The usual way: read the chunk's rows, make an object of each, insert them 2,000 at a time."""
    import pyarrow.parquet as pq

    from datasets_app.models import ANSWER_HEAD_LENGTH, PROMPT_HEAD_LENGTH, Example

    wanted = ["row", "status", "codes", "label", "split", "prompt", "answer", "content_hash", "cluster"]
    for number, name in enumerate(names):
        offset = 0
        with pq.ParquetFile(out / name) as file:
            for batch in file.iter_batches(2_000, columns=wanted):
                found = [
                    Example(
                        dataset=dataset,
                        import_attempt=1,
                        row=row["row"],
                        status=row["status"],
                        checked_status=row["status"],
                        codes=row["codes"],
                        chunk=number,
                        offset=offset + place,
                        label=(row["label"] or "")[:200],
                        split=row["split"] or "",
                        prompt_head=row["prompt"][:PROMPT_HEAD_LENGTH].replace("\0", ""),
                        answer_head=row["answer"][:ANSWER_HEAD_LENGTH].replace("\0", ""),
                        content_hash=row["content_hash"],
                        cluster=row["cluster"],
                    )
                    for place, row in enumerate(batch.to_pylist())
                ]
                Example.objects.bulk_create(found)
                offset += len(found)


if __name__ == "__main__":
    print(json.dumps(_arms(int(sys.argv[1]))))
