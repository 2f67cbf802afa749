"""What we know of our job at the provider, so that another attempt finds everything again and nothing is paid twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from finetune_engine.ports import Run

FILE = "remote.json"


class Ledger:
    """Kept in two places: a file beside the run (at once), and the events, from which the site keeps it in its database.

    ``files`` maps a file's SHA-256 to its id there, ``job`` is the job's id, ``status`` its last known status, ``event``
    the newest event that was mirrored, ``checkpoints`` the steps mirrored, ``paused_here`` whether we paused it, ``turn``
    how often something was noted: the copy with more turns is the newer one.
    """

    def __init__(self, run: Run, folder: Path, state: dict[str, Any]) -> None:
        self._run = run
        self._path = folder / FILE
        self.state: dict[str, Any] = dict(state)
        try:
            beside = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # the first attempt on this machine
        if int(beside.get("turn") or 0) >= int(self.state.get("turn") or 0):  # else another machine was here since
            self.state |= beside

    @property
    def job(self) -> str | None:
        """The id of our job there; None before it was made."""
        return self.state.get("job")

    @property
    def files(self) -> dict[str, str]:
        """Ids of uploaded files by SHA-256."""
        return dict(self.state.get("files") or {})

    def note(self, message: str, **changes: Any) -> None:
        """Remember, and tell: ``message`` is for people, ``changes`` for the next attempt."""
        self.keep(**changes)
        self._run.emit("log", level="info", message=message, remote=changes | {"turn": self.state["turn"]})

    def keep(self, **changes: Any) -> None:
        """Remember in the file alone; whoever calls tells it with an event of its own."""
        self.state |= changes | {"turn": int(self.state.get("turn") or 0) + 1}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.state), encoding="utf-8")
        os.replace(temporary, self._path)
