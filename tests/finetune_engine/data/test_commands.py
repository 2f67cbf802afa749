"""The two commands from the shell: events on standard output, results in the folder, honest exit codes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.data.commands import add_arguments
from finetune_engine.data.options import read_options
from finetune_engine.data.prepare import prepare
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped

ROOT = Path(__file__).resolve().parents[3]


def engine(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "finetune_engine", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_becomes_a_snapshot_from_the_shell(tmp_path, good_lines):
    (tmp_path / "a.jsonl").write_text("\n".join(good_lines))
    code, events = engine("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "prepared")
    assert code == 0
    assert {"phase", "progress", "result"} <= {event["kind"] for event in events}
    report = json.loads((tmp_path / "prepared" / "report.json").read_text())
    assert len(report["preview"]) == 20
    assert sorted(p.name for p in (tmp_path / "prepared").glob("*.parquet")) == [
        "examples-00000.parquet",
        "findings.parquet",
    ]
    spec = {
        "chunks": [str(tmp_path / "prepared" / name) for name in report["chunks"]],
        "task_type": report["task_type"],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    code, events = engine("snapshot", tmp_path / "spec.json", "--out", tmp_path / "snapshot")
    assert code == 0
    assert (tmp_path / "snapshot" / "snapshot.parquet").is_file()


def test_several_files_are_prepared_as_one_set_from_the_shell(tmp_path, good_lines):
    (tmp_path / "a.jsonl").write_text("\n".join(good_lines[:20]))
    (tmp_path / "b.jsonl").write_text("\n".join(good_lines[20:]))
    code, events = engine("prepare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--out", tmp_path / "out")
    assert code == 0
    (result,) = [event["data"] for event in events if event["kind"] == "result"]
    assert [(s["name"], s["rows"]) for s in result["sources"]] == [("a.jsonl", 20), ("b.jsonl", 10)]


def test_the_report_can_be_read_in_a_terminal(tmp_path, good_lines, capsys):
    from argparse import Namespace

    from finetune_engine.data.commands import prepare_command

    (tmp_path / "a.jsonl").write_text("\n".join([*good_lines, "{oops"]))
    args = Namespace(files=[tmp_path / "a.jsonl"], out=tmp_path / "out", options=None, report=True)
    prepare_command(args, Run(ListSink()))
    said = capsys.readouterr().out
    assert "a.jsonl: 31 rows, jsonl, read as text_label" in said
    assert "        1  Not valid JSON" in said


def test_an_unusable_file_ends_with_an_error_event_and_exit_2(tmp_path):
    (tmp_path / "a.csv").write_text("date,place\n2020,Rome\n")
    (tmp_path / "o.json").write_text(json.dumps({"name": "My trips.csv"}))
    code, events = engine("prepare", tmp_path / "a.csv", "--out", tmp_path / "out", "--options", tmp_path / "o.json")
    assert code == 2
    assert events[-1]["kind"] == "error"
    assert (events[-1]["data"]["code"], events[-1]["data"]["file"]) == ("wrong_columns", "My trips.csv")


def test_importing_the_commands_loads_nothing_heavy():
    script = (
        "import sys, finetune_engine.data.commands; print({'polars', 'pyarrow', 'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_cancelled_import_stops_and_leaves_no_working_files(tmp_path, good_lines):
    class Cancel:
        def action(self):
            return "cancel"

    (tmp_path / "a.jsonl").write_text("\n".join(good_lines))
    with pytest.raises(Stopped):
        prepare(tmp_path / "a.jsonl", tmp_path / "out", read_options({}), Run(ListSink(), stop=Cancel()))
    assert list((tmp_path / "out").iterdir()) == []


def test_rows_come_in_chunks_and_groups(tmp_path, prepare_text, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("finetune_engine.data.chunks.CHUNK_ROWS", 700)
    monkeypatch.setattr("finetune_engine.data.batches.BATCH_ROWS", 300)
    lines = [
        json.dumps({"prompt": f"what is {i} times {i}", "completion": f"the product is {i * i}"}) for i in range(1500)
    ]
    done = prepare_text("a.jsonl", "\n".join(lines))
    assert [pq.read_metadata(done.out / name).num_rows for name in done.report["chunks"]] == [700, 700, 100]
    assert done.examples["row"].to_list() == list(range(1, 1501))


def test_the_help_names_every_kind_of_file(capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["prepare", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(kind in shown for kind in ("JSON lines", "CSV", "TSV", ".xlsx", ".parquet", "gzipped"))
