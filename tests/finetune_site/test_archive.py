"""What is backed up comes back whole, and never over something else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manage(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment | {"DATA_DIR": str(data_dir)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory) -> tuple[Path, Path]:
    """A site with a project, a key and a stored file; and its backup."""
    site, backup = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("backups") / "one"
    assert manage(site, "migrate", "-v0").returncode == 0
    assert manage(site, "create_project", "Claims", "--owner", "ada@example.com").stdout.strip() == "claims"
    assert manage(site, "create_api_key", "--project", "claims").stdout.startswith("tsk_")
    stored = site / "files" / "uploads" / "a.jsonl"
    stored.parent.mkdir(parents=True)
    stored.write_text('{"text": "ä", "label": "b"}\n')
    done = manage(site, "backup", str(backup))
    assert done.returncode == 0, done.stderr
    return site, backup


def test_a_backup_comes_back_in_an_empty_site(backed_up, tmp_path) -> None:
    site, backup = backed_up
    done = manage(tmp_path / "new", "restore", str(backup))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new/files/uploads/a.jsonl").read_bytes() == (site / "files/uploads/a.jsonl").read_bytes()
    assert (tmp_path / "new/keys/secret_key").read_text() == (site / "keys/secret_key").read_text()
    with sqlite3.connect(tmp_path / "new/tunesmith.sqlite3") as database:
        assert database.execute("SELECT slug FROM accounts_project").fetchall() == [("claims",)]


def test_a_site_with_accounts_is_not_overwritten(backed_up) -> None:
    site, backup = backed_up
    done = manage(site, "restore", str(backup))
    assert done.returncode != 0
    assert "has accounts already" in done.stderr


def test_a_damaged_backup_restores_nothing(backed_up, tmp_path) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(backed_up[1], damaged)
    (damaged / "files/uploads/a.jsonl").write_text("changed")
    done = manage(tmp_path / "new", "restore", str(damaged))
    assert "missing or damaged" in done.stderr
    assert not (tmp_path / "new/files").exists() or not any((tmp_path / "new/files").rglob("*.jsonl"))


def test_a_backup_goes_into_an_empty_folder_only(backed_up) -> None:
    done = manage(backed_up[0], "backup", str(backed_up[1]))
    assert "is not empty" in done.stderr


def test_the_doctor_says_what_is_there(backed_up) -> None:
    done = manage(backed_up[0], "doctor")
    assert "Database: sqlite answers" in done.stdout
    assert "Storage: written, read and removed a file" in done.stdout
    assert "Traceback" not in done.stderr
