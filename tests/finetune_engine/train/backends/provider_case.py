"""One training at the test's provider, as the engine is told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.events import Event, ListSink
from finetune_engine.ports import Action, Run
from finetune_engine.train.backends import openai_api
from finetune_engine.train.provider.settings import KEY_VARIABLE
from finetune_engine.train.spec import RunSpec
from tests.protocol_server.server import ProtocolServer

JOB = "01jobofours"


def write_rows(path: Path, *, train: int = 12, validation: int = 3, pairs: bool = False, **change: Any) -> Path:
    """A frozen snapshot of ``train`` + ``validation`` + 2 test rows; ``change`` replaces columns of the first row."""
    import pyarrow
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for number in range(train + validation + 2):
        split = "train" if number < train else "validation" if number < train + validation else "test"
        asked, answer = f"question {number}", f"answer {number}"
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        worse = json.dumps([{"role": "assistant", "content": f"worse {number}"}]) if pairs else None
        rows.append(
            {"row": number + 1, "split": split, "messages": json.dumps(messages), "rejected": worse, "metadata": None}
        )
    rows[0] |= change
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


class Told:
    """A stop signal that says ``action`` once the provider's job has been looked at ``after`` times."""

    def __init__(self, server: ProtocolServer, action: Action, *, after: int = 2, is_leaving: bool = False) -> None:
        self.server, self._action, self.after, self.is_leaving = server, action, after, is_leaving

    def action(self) -> Action:
        looks = self.server.count("GET", r"/fine_tuning/jobs/ftjob-\d+")
        return self._action if looks >= self.after else "go"


@dataclass
class Case:
    """Runs the backend in a folder; a second ``run`` is a second attempt on the same machine."""

    server: ProtocolServer
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def spec(self, *, rows: Path | None = None, training: dict[str, Any] | None = None, **provider: Any) -> RunSpec:
        rows = rows or write_rows(self.folder / "snapshot.parquet")
        told = {
            "base_url": self.server.address,
            "model": "gpt-4o-mini",
            "job": JOB,
            "allowed_hosts": [self.server.host],
            "poll_seconds": 0.01,
            "first_pause_seconds": 0.01,
            "patience_seconds": 60.0,
            "answer_seconds": 5.0,
        }
        return RunSpec.from_dict(
            {
                "base_model": {"key": "gpt-4o-mini", "hub": "gpt-4o-mini"},
                "snapshot": {"path": str(rows)},
                "training": training or {},
                "provider": told | provider,
            }
        )

    def run(self, spec: RunSpec | None = None, *, stop: Any = None, key: str | None = None) -> list[Event]:
        """The events of one attempt; what it raises is raised."""
        self.monkeypatch.setenv(KEY_VARIABLE, self.server.key if key is None else key)
        sink = ListSink()
        run = Run(sink=sink) if stop is None else Run(sink=sink, stop=stop)
        self.events = sink.events
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        openai_api.run_training(run, spec or self.spec(), out)
        return sink.events

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The data of the last attempt's events of this kind."""
        return [event.data for event in self.events if event.kind == kind]
