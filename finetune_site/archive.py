"""Backup and restore: the database, the stored files and the keys, in one folder with a manifest."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, connections

from finetune_engine import __version__
from finetune_engine.errors import UserError
from work_kit.files import fetch_to, file_sha256, store_file

MANIFEST = "manifest.json"


def back_up(folder: Path) -> dict[str, Any]:
    """Write everything into an empty folder; returns its manifest. The site may go on running: the database is copied
    first, in one consistent state, so every file that it names is there when the files are copied."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError("folder_not_empty", f"{folder} is not empty; name a new folder for the backup.")
    database = _dump_database(folder)
    for name in _stored_names(""):
        fetch_to(folder / "files" / name, name)
    keys = Path(settings.DATA_DIR) / "keys"
    if keys.is_dir():
        shutil.copytree(keys, folder / "keys")
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"version": __version__, "database": database, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


def restore(folder: Path) -> dict[str, Any]:
    """Bring a backup back into an empty site. Nothing is written unless every file of the backup is whole."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise UserError("not_a_backup", f"{folder} is not a backup: it has no readable {MANIFEST}.") from error
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != expected["sha256"]:
            raise UserError("backup_damaged", f"{path} is missing or damaged. Nothing was restored.")
    _refuse_unless_empty()
    for name in manifest["files"]:
        kind, _, rest = name.partition("/")
        if kind == "files":
            store_file(folder / name, rest)
        elif kind == "keys":
            target = Path(settings.DATA_DIR) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, target)
    _load_database(folder, manifest["database"])
    return manifest


def _refuse_unless_empty() -> None:
    if "accounts_user" in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM accounts_user")
            if cursor.fetchone()[0]:
                raise UserError(
                    "site_not_empty",
                    "This site has accounts already. Restore into an empty DATA_DIR (or an empty database), so that "
                    "nothing is overwritten.",
                )


def _stored_names(folder: str) -> Iterator[str]:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in files:
        yield f"{folder}/{name}" if folder else name
    for name in folders:
        yield from _stored_names(f"{folder}/{name}" if folder else name)


def _dump_database(folder: Path) -> str:
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        with closing(sqlite3.connect(folder / "database.sqlite3")) as target:
            connection.connection.backup(target)
        return "sqlite"
    _run_postgres("pg_dump", "--format=custom", "--no-owner", f"--file={folder / 'database.pgdump'}")
    return "postgresql"


def _load_database(folder: Path, kind: str) -> None:
    if kind != connection.vendor:
        raise UserError("other_database", f"This backup is of {kind}; this site uses {connection.vendor}.")
    if kind == "sqlite":
        connection.ensure_connection()
        with closing(sqlite3.connect(folder / "database.sqlite3")) as source:
            source.backup(connection.connection)
        connections.close_all()
        return
    _run_postgres(
        "pg_restore", "--clean", "--if-exists", "--no-owner", "--dbname={NAME}", str(folder / "database.pgdump")
    )


def _run_postgres(program: str, *arguments: str) -> None:
    values = connection.settings_dict
    environment = {
        **os.environ,
        "PGHOST": values["HOST"] or "",
        "PGPORT": str(values["PORT"] or ""),
        "PGUSER": values["USER"] or "",
        "PGPASSWORD": values["PASSWORD"] or "",
        "PGDATABASE": values["NAME"],
    }
    tool = shutil.which(program)
    if tool is None:
        raise UserError("tool_missing", f"{program} is not installed here. Install PostgreSQL's client programs.")
    command = [tool, *(argument.format(NAME=values["NAME"]) for argument in arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError("database_tool_failed", f"{program} failed: {done.stderr.strip()[-500:]}")
