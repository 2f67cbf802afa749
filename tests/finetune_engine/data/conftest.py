"""A workbench for the data tests: prepare a file from text, look at what came out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finetune_engine.data.options import read_options
from finetune_engine.data.prepare import prepare
from finetune_engine.data.stored_once import filled
from finetune_engine.events import ListSink
from finetune_engine.ports import Run


@dataclass
class Prepared:
    """What ``prepare`` left behind."""

    report: dict[str, Any]
    out: Path
    events: ListSink

    @property
    def counts(self) -> dict[str, int]:
        return self.report["counts"]

    @property
    def examples(self) -> pl.DataFrame:
        return filled(pl.concat([pl.read_parquet(self.out / name) for name in self.report["chunks"]]))

    @property
    def findings(self) -> pl.DataFrame:
        return pl.read_parquet(self.out / "findings.parquet")

    def of(self, code: str) -> list[dict[str, Any]]:
        """Findings with one code."""
        return self.findings.filter(pl.col("code") == code).to_dicts()

    def status(self, row: int) -> str:
        return self.examples.filter(pl.col("row") == row)["status"].item()


PrepareText = Callable[..., Prepared]


@pytest.fixture
def prepare_file(tmp_path: Path) -> Callable[..., Prepared]:
    """``prepare_file(path, **options)``."""
    number = iter(range(100))

    def run(path: Path, **options: Any) -> Prepared:
        out = tmp_path / f"out-{next(number)}"
        events = ListSink()
        return Prepared(prepare(path, out, read_options(options), Run(events)), out, events)

    return run


@pytest.fixture
def prepare_text(tmp_path: Path, prepare_file: Callable[..., Prepared]) -> PrepareText:
    """``prepare_text("a.csv", text or bytes, **options)``."""

    def run(name: str, content: str | bytes, **options: Any) -> Prepared:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return prepare_file(path, **options)

    return run


TOPICS = ["invoice", "refund", "delivery", "garden", "engine", "violin", "harbour", "window", "pepper", "mountain"]


def labelled_rows(count: int = 30) -> list[dict[str, str]]:
    """Rows that nothing is wrong with: all different, two labels."""
    return [
        {
            "text": f"The {TOPICS[i % 10]} of {TOPICS[(i // 10) % 10]} came up in letter {i} and we must answer it",
            "label": "question" if i % 2 else "complaint",
        }
        for i in range(count)
    ]


@pytest.fixture
def good_rows() -> list[dict[str, str]]:
    """Thirty rows that nothing is wrong with."""
    return labelled_rows()


@pytest.fixture
def good_lines(good_rows: list[dict[str, str]]) -> list[str]:
    """The same as JSON lines."""
    return [json.dumps(row) for row in good_rows]
