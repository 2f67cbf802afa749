"""The preview before an upload is taken in."""

from __future__ import annotations

import json

import pytest

from finetune_engine.data.readers import sniff
from finetune_engine.errors import UserError


def test_a_preview_shows_format_columns_and_twenty_rows(tmp_path, good_lines):
    path = tmp_path / "upload"
    path.write_text("\n".join([good_lines[0], "{oops", *good_lines[1:]]))
    preview = sniff(path, "My letters.jsonl")
    assert (preview.name, preview.format, preview.file_type, preview.encoding) == (
        "My letters.jsonl",
        "text_label",
        "jsonl",
        "utf-8",
    )
    assert preview.columns == ["text", "label"]
    assert preview.mapping == {"prompt": ["text"], "completion": "label", "label": "label"}
    assert len(preview.rows) == 20
    assert preview.rows[1].problem is not None
    assert preview.rows[1].problem.startswith("Row 2 is not valid JSON")
    assert preview.rows[0].label == "complaint"


def test_unknown_columns_are_shown_so_that_they_can_be_chosen(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("date;place\n2020;Rome\n")
    preview = sniff(path)
    assert (preview.format, preview.problem_code, preview.columns, preview.delimiter) == (
        None,
        "wrong_columns",
        ["date", "place"],
        ";",
    )
    chosen = sniff(path, None, {"mapping": {"prompt": "date", "completion": "place"}})
    assert chosen.rows[0].messages[1] == {"role": "assistant", "content": "Rome"}


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.csv is empty"):
        sniff(path, "b.csv")


def test_a_large_file_is_not_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"prompt": "x" * 5000, "completion": "y"}) + "\n"
    path.write_text(line * 4000)
    read = 0
    from finetune_engine.data.readers import byte_stream

    whole = byte_stream.ByteSource._read

    def counted(self, stream, size):
        nonlocal read
        block = whole(self, stream, size)
        read += len(block)
        return block

    monkeypatch.setattr(byte_stream.ByteSource, "_read", counted)
    sniff(path)
    assert read < 10_000_000 < path.stat().st_size
