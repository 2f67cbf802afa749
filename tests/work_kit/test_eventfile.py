"""What a child has written, line by line."""

from __future__ import annotations

import json

from finetune_engine.events import Event
from work_kit.eventfile import EventFile


def test_a_half_written_last_line_waits_for_its_end(tmp_path) -> None:
    path = tmp_path / "events"
    line = Event("metric", 1.0, {"step": 1}).to_line()
    path.write_text(line[:10])
    events = EventFile(path)
    assert events.read() == []
    path.write_text(line + "\n")
    assert [event.data for _offset, event in events.read()] == [{"step": 1}]


def test_a_batch_that_was_not_stored_is_read_again(tmp_path) -> None:
    path = tmp_path / "events"
    path.write_text(Event("metric", 1.0, {"step": 1}).to_line() + "\n")
    events = EventFile(path)
    batch = events.read()
    events.rewind(batch)
    assert events.read() == batch


def test_a_character_that_no_database_takes_is_replaced(tmp_path) -> None:
    path = tmp_path / "events"
    path.write_text(Event("sample", 1.0, {"answer": "a\0b"}).to_line() + "\n")
    ((_offset, event),) = EventFile(path).read()
    assert json.dumps(event.data) == json.dumps({"answer": "a\ufffdb"})
