"""A whole import, from the file to the rows in the database, against reading the file alone.

The engine's command runs in a process of its own, as in a job; the rows and findings then go into an empty SQLite database
the way the job's runner puts them there. CPU-seconds of both together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SMALL, _FULL = 10_000, 1_000_000


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: 6 times the CPU-seconds of a plain ``json.loads`` loop, under 400 MB in either process."""
    rows = _FULL if full else _SMALL
    environment = os.environ | {"DATA_DIR": tempfile.mkdtemp(prefix="tunesmith-bench-"), "LOG_LEVEL": "ERROR"}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "benchmarks.whole_import", str(rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"whole import: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    arms, memory = found["arms"], found["memory"]
    ratio = (arms["prepare"] + arms["into the database"]) / arms["json.loads on every line"]
    return {
        f"import of {rows:,} rows, times reading alone": {
            "value": ratio,
            "unit": "x the CPU-seconds of json.loads",
            "goal": "<= 6",
            "arms": arms,
        },
        f"import of {rows:,} rows, greatest memory": {
            "value": max(memory.values()),
            "unit": "MB resident",
            "goal": "< 400",
            "arms": memory,
        },
    }


def _run(rows: int) -> dict[str, dict[str, float]]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    from benchmarks.bulk_load import made_dataset_row
    from benchmarks.preparation import command_cost, write_rows

    # A file, as in a house: Django's tests would hold the rows in memory.
    connection.settings_dict["TEST"]["NAME"] = os.path.join(os.environ["DATA_DIR"], "bench.sqlite3")
    old = setup_databases(verbosity=0, interactive=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            write_rows(path, rows)
            reading = _timed(lambda: _read(path))
            seconds, megabytes, out = command_cost(path, Path(folder))
            dataset = made_dataset_row()
            Path("/proc/self/clear_refs").write_text("5")  # the greatest memory counts from here on
            inserting = _timed(lambda: _insert(dataset, out))
            arms = {"json.loads on every line": reading, "prepare": seconds, "into the database": inserting}
            return {"arms": arms, "memory": {"prepare (MB)": megabytes, "into the database (MB)": _peak()}}
    finally:
        teardown_databases(old, verbosity=0)


def _timed(act: Any) -> float:
    begun = time.process_time()
    act()
    return time.process_time() - begun


def _read(path: Path) -> None:
    with open(path) as file:
        for line in file:
            try:
                json.loads(line)
            except ValueError:
                continue


def _insert(dataset: Any, out: Path) -> None:
    from datasets_app.bulk import insert_columns
    from datasets_app.models import Example, Finding
    from datasets_app.runner import _EXAMPLE_FIELDS, _FINDING_FIELDS, _example_rows, _finding_rows

    names = json.loads((out / "report.json").read_text())["chunks"]
    insert_columns(Example, _EXAMPLE_FIELDS, _example_rows(dataset, 1, out, names))
    insert_columns(Finding, _FINDING_FIELDS, _finding_rows(dataset, 1, out))


def _peak() -> float:
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(_run(int(sys.argv[1]))))
