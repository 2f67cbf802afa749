"""Answers kept by what was asked, so that nothing is asked twice: not in a run, not after a kill, not in the next evaluation.

One SQLite file in write-ahead mode. A key is the SHA-256 of everything that decides an answer; each batch is committed as it
comes, so a process that is killed loses at most the batch it was at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_engine.errors import EngineError

LARGEST_BYTES = 2_000_000_000
KEPT_SHARE = 0.9
"""How full a store may still be after the oldest answers have left it."""
LOOKED_UP_AT_ONCE = 500
TOUCH_SECONDS = 3_600.0
"""An answer that was used this recently is not marked as used again."""
WAIT_SECONDS = 60.0
LAYOUT = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, value TEXT NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used, bytes);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""


def key_of(content: Mapping[str, Any]) -> bytes:
    """The key of a question: SHA-256 of its canonical JSON."""
    line = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).digest()


class AnswerStore:
    """The answers in one file. ``new`` counts what was put in and ``found`` what was there already, since it was opened.

    Used by one thread at a time; several processes may share the file. A file that cannot be read is put aside under the name
    ``<name>.broken`` and begun anew: it only ever saves work.
    """

    def __init__(self, path: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self.path = path
        self.new = self.found = 0
        self._largest = largest_bytes
        self._opened_at = time.time()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(path)
            self._make_room()
        except sqlite3.DatabaseError as error:
            if _is_busy(error):
                raise
            self._begin_anew()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        """The values of those keys that are known."""
        wanted, found, stale = list(dict.fromkeys(keys)), {}, []
        now = time.time()
        for start in range(0, len(wanted), LOOKED_UP_AT_ONCE):
            for key, value, used in self._look_up(wanted[start : start + LOOKED_UP_AT_ONCE]):
                found[bytes(key)] = json.loads(value)
                if now - used > TOUCH_SECONDS:
                    stale.append((now, key))
        if stale:
            self._write("UPDATE answers SET used = ? WHERE key = ?", stale)
        self.found += len(found)
        return found

    def put(self, values: Iterable[tuple[bytes, Any]]) -> None:
        """Keep new answers; when this returns they outlive the process. Raises EngineError ``disk_full``."""
        now = time.time()
        rows = [(key, line := _line(value), len(line) + len(key), now) for key, value in values]
        try:
            self._write("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            raise EngineError("disk_full", f"There is no room to keep answers in {self.path.name}.") from error
        self.new += len(rows)

    def digest_of_file(self, path: Path) -> str:
        """SHA-256 of a file, remembered for as long as its size and time of change stay."""
        name, stat = str(path.resolve()), path.stat()
        for size, changed, sha256 in self._read("SELECT size, changed, sha256 FROM files WHERE path = ?", [name]):
            if (size, changed) == (stat.st_size, stat.st_mtime_ns):
                return str(sha256)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        values = (name, stat.st_size, stat.st_mtime_ns, digest)
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", [values])
        return digest

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Make room if need be, and let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self._make_room()
        self._database.close()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look_up(self, keys: Sequence[bytes]) -> list[tuple[bytes, str, float]]:
        marks = ",".join("?" * len(keys))
        return self._read(f"SELECT key, value, used FROM answers WHERE key IN ({marks})", keys)  # noqa: S608 question marks only

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        """The rows found; none in a file that turns out to be broken, which is begun anew."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            if _is_busy(error):
                raise
            self._begin_anew()
            return []

    def _write(self, statement: str, rows: Sequence[Any]) -> None:
        """Carried out in one transaction; in a file begun anew where this one turns out to be broken."""
        try:
            with self._database:
                self._database.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            if _is_busy(error):
                raise
            self._begin_anew()
            with self._database:
                self._database.executemany(statement, rows)

    def _make_room(self) -> None:
        """Let the answers leave that were not used for longest, never those of this run."""
        (held,) = self._database.execute("SELECT coalesce(sum(bytes), 0) FROM answers").fetchone()
        if held <= self._largest:
            return
        leaving, last = held - self._largest * KEPT_SHARE, None
        oldest = "SELECT used, bytes FROM answers WHERE used < ? ORDER BY used"
        for used, size in self._database.execute(oldest, [self._opened_at]):
            if leaving <= 0:
                break
            leaving, last = leaving - size, used
        if last is not None:
            with self._database:
                self._database.execute("DELETE FROM answers WHERE used <= ?", [last])

    def _begin_anew(self) -> None:
        if getattr(self, "_database", None) is not None:
            self._database.close()
        for ending in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + ending)
            if file.exists():
                file.replace(file.with_name(f"{self.path.name}.broken{ending}"))
        self._database = _open(self.path)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=WAIT_SECONDS)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(LAYOUT)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _is_busy(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is whole, and only locked, full or out of reach."""
    return isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error)
