"""A kind of job whose child is a small program of ours, so that the engine of jobs is tested with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from work_kit import kinds


class ToyKind:
    """Runs ``prepare`` of the engine on a file that the test wrote; remembers what the job engine called."""

    name = "toy.run"
    queue = "cpu"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.file: Path | None = None

    def prepare(self, job, workdir: Path) -> list[str]:
        self.calls.append("prepare")
        file = self.file or workdir / "rows.jsonl"
        if self.file is None:
            file.write_text("".join(f'{{"text": "row number {n}", "label": "{n % 2}"}}\n' for n in range(20)))
        return ["prepare", str(file), "--out", str(workdir / "out")]

    def on_event(self, job, event, workdir: Path) -> None:
        self.calls.append(f"event:{event.kind}")

    def save(self, job, workdir: Path) -> dict:
        self.calls.append("save")
        return {"report": (workdir / "out" / "report.json").exists()}

    def commit(self, job, saved: dict) -> dict:
        self.calls.append("commit")
        return saved

    def ended(self, job) -> None:
        self.calls.append(f"ended:{job.state}")


@pytest.fixture
def toy():
    kind = ToyKind()
    kinds.register(kind)
    yield kind
    kinds._KINDS.pop(ToyKind.name, None)
