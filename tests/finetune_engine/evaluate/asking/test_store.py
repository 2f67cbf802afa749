import os
import sqlite3
import time

import pytest

from finetune_engine.errors import EngineError
from finetune_engine.evaluate.asking.remembered import remembered
from finetune_engine.evaluate.asking.store import AnswerStore, key_of
from finetune_engine.events import ListSink
from finetune_engine.ports import Run


class Watching:
    def __init__(self):
        self.run = Run(ListSink())
        self.done = 0

    def advance(self, questions):
        self.done += questions


def key(number, **more):
    return key_of({"question": number, **more})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "answers.sqlite"


def test_what_was_put_in_is_there_after_opening_anew(path):
    with AnswerStore(path) as store:
        store.put([(key(1), {"text": "ja\u0000 \ud800"}), (key(2), [1.5, None])])
    with AnswerStore(path) as store:
        assert store.get([key(1), key(2), key(3)]) == {key(1): {"text": "ja\u0000 \ud800"}, key(2): [1.5, None]}
        assert (store.found, store.new) == (2, 0)


def test_a_batch_is_kept_before_the_next_begins(path):
    store = AnswerStore(path)
    store.put([(key(1), "kept")])
    with AnswerStore(path) as other:  # another process would see the same
        assert other.get([key(1)]) == {key(1): "kept"}
    store.close()


def test_the_key_changes_with_anything_that_decides_an_answer():
    about = {"kind": "answer", "ids": [1, 2], "max_new_tokens": 8}
    others = [about | {"ids": [1, 3]}, about | {"max_new_tokens": 9}, about | {"kind": "cost"}]
    assert len({key_of(one) for one in [about, *others]}) == 4
    assert key_of(dict(reversed(about.items()))) == key_of(about)


def test_a_question_is_asked_once_however_often_it_stands_there(path):
    asked = []

    def ask(rows, keep):
        asked.extend(rows)
        keep([(row, f"answer {row}") for row in rows])

    watch = Watching()
    keys = [key(1), key(2), key(1), key(1)]
    with AnswerStore(path) as store:
        first = remembered(store, watch, keys, ask)
        again = remembered(store, watch, keys, ask)
    assert first == again == ["answer 0", "answer 1", "answer 0", "answer 0"]
    assert asked == [0, 1]
    assert watch.done == 8


def test_batches_that_came_before_an_error_are_not_asked_again(path):
    asked = []

    def ask(rows, keep):
        for row in rows:
            if len(asked) == 2:
                asked.append("broken")
                raise OSError("gone")
            asked.append(row)
            keep([(row, row)])

    with AnswerStore(path) as store:
        with pytest.raises(OSError, match="gone"):
            remembered(store, Watching(), [key(n) for n in range(4)], ask)
        assert remembered(store, Watching(), [key(n) for n in range(4)], ask) == [0, 1, 2, 3]
    assert asked == [0, 1, "broken", 2, 3]


def test_another_projects_file_knows_nothing_of_it(path, tmp_path):
    with AnswerStore(path) as one, AnswerStore(tmp_path / "other.sqlite") as other:
        one.put([(key(1), "mine")])
        assert other.get([key(1)]) == {}


@pytest.mark.parametrize("content", [b"this is no database at all" * 99, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_store_is_put_aside_and_begun_anew(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with AnswerStore(path) as store:
        store.put([(key(1), "new")])
        assert store.get([key(1)]) == {key(1): "new"}
    assert path.with_name("answers.sqlite.broken").read_bytes() == content


def test_a_store_whose_middle_was_torn_out_gives_no_wrong_answer(path):
    with AnswerStore(path) as store:
        store.put([(key(number), "x" * 500) for number in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:-4096] = os.urandom(len(data) - 8192)
    path.write_bytes(data)
    with AnswerStore(path) as store:
        found = store.get([key(number) for number in range(200)])
        assert set(found.values()) <= {"x" * 500}
        store.put([(key(999), "goes on")])
        assert store.get([key(999)]) == {key(999): "goes on"}


def test_a_write_that_was_cut_off_leaves_what_was_committed_before(path):
    store = AnswerStore(path)
    store.put([(key(1), "first")])
    whole = path.with_name("answers.sqlite-wal").stat().st_size
    store.put([(key(2), "second " * 400)])
    log = path.with_name("answers.sqlite-wal").read_bytes()
    copy = path.parent / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    (path.parent / "copy.sqlite-wal").write_bytes(log[: whole + 100])  # the power went in the middle of the second
    with AnswerStore(copy) as torn:
        assert torn.get([key(1), key(2)]) == {key(1): "first"}
    store.close()


def test_the_answers_used_longest_ago_leave_when_the_store_is_full(path):
    with AnswerStore(path) as store:
        store.put([(key(number), "x" * 1000) for number in range(100)])
    database = sqlite3.connect(path)
    with database:
        for number in range(100):
            long_ago = time.time() - 1_000_000 + number
            database.execute("UPDATE answers SET used = ? WHERE key = ?", [long_ago, key(number)])
    database.close()
    with AnswerStore(path) as store:
        store.get([key(0)])  # was the oldest, and is used now
    with AnswerStore(path, largest_bytes=50_000) as store:
        assert store.get([key(0), key(1), key(99)]).keys() == {key(0), key(99)}
        assert 30 < len(store) <= 50


def test_what_this_run_put_in_never_leaves_while_it_is_open(path):
    with AnswerStore(path, largest_bytes=10) as store:
        store.put([(key(number), "x" * 1000) for number in range(50)])
        store.close()
    with AnswerStore(path) as store:
        assert len(store) == 50


def test_a_full_disk_is_said_in_plain_words(path):
    with AnswerStore(path) as store:
        (pages,) = store._database.execute("PRAGMA page_count").fetchone()
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(EngineError) as caught:
            store.put([(key(number), "x" * 5000) for number in range(20)])
    assert caught.value.reason == "disk_full"


def test_a_file_is_hashed_anew_only_when_it_changed(path, tmp_path, monkeypatch):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    with AnswerStore(path) as store:
        first = store.digest_of_file(weights)
        with monkeypatch.context() as patch:
            patch.setattr("hashlib.file_digest", None)
            assert store.digest_of_file(weights) == first
        weights.write_bytes(b"other")
        assert store.digest_of_file(weights) != first


def test_a_store_that_breaks_while_it_is_open_is_begun_anew(path):
    with AnswerStore(path) as store:
        store.put([(key(number), "x" * 500) for number in range(200)])
        store._database.close()
        data = bytearray(path.read_bytes())
        data[4096:] = os.urandom(len(data) - 4096)
        path.write_bytes(data)
        store._database = sqlite3.connect(path)  # its pages are read anew, as they are when memory is short
        store.put([(key(999), "goes on")])
        assert store.get([key(999)]) == {key(999): "goes on"}
