"""Reads an append-only file of JSON lines as it grows."""

from __future__ import annotations

from pathlib import Path

from finetune_engine.events import Event, parse_line

MAX_BATCH = 500


class EventFile:
    """New events of a growing file, each with the byte offset of its line. A half-written last line waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[tuple[int, Event]]:
        """Up to ``MAX_BATCH`` events that were not read yet; [] when there is nothing new."""
        found: list[tuple[int, Event]] = []
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                while len(found) < MAX_BATCH and (line := file.readline()).endswith(b"\n"):
                    if (event := parse_line(line.decode(errors="replace"))) is not None:
                        found.append((self._offset, event))
                    self._offset += len(line)
        except FileNotFoundError:
            pass
        return found

    def rewind(self, batch: list[tuple[int, Event]]) -> None:
        """Read this batch again next time."""
        if batch:
            self._offset = batch[0][0]
