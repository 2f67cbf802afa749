"""Folders that exist whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from finetune_engine.errors import EngineError
from finetune_engine.train.local.commit import commit_folder, sweep_aside, verify_folder


def write_two(folder: Path) -> None:
    (folder / "a.txt").write_text("alpha")
    (folder / "b.txt").write_text("beta")


def test_a_committed_folder_verifies_with_the_hash_that_was_told(tmp_path: Path) -> None:
    sha256 = commit_folder(tmp_path / "made", write_two, name="test")
    assert verify_folder(tmp_path / "made") == sha256


@pytest.mark.parametrize("spoil", ["cut", "flip", "gone", "manifest"])
def test_any_damage_is_noticed(tmp_path: Path, spoil: str) -> None:
    made = tmp_path / "made"
    commit_folder(made, write_two, name="test")
    {
        "cut": lambda: (made / "a.txt").write_text("alph"),
        "flip": lambda: (made / "a.txt").write_text("alphb"),
        "gone": lambda: (made / "b.txt").unlink(),
        "manifest": lambda: (made / "manifest.json").write_text("{"),
    }[spoil]()
    assert verify_folder(made) is None


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_two(folder)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        commit_folder(tmp_path / "made", fail, name="test")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_has_its_own_reason(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EngineError) as caught:
        commit_folder(tmp_path / "made", full, name="test")
    assert caught.value.reason == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_an_older_folder_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    first = commit_folder(tmp_path / "made", write_two, name="test")

    def fail(folder: Path) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        commit_folder(tmp_path / "made", fail, name="test")
    assert verify_folder(tmp_path / "made") == first


def test_a_fault_before_the_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_FAILPOINT", "test:before:raise")
    with pytest.raises(RuntimeError, match="failpoint"):
        commit_folder(tmp_path / "made", write_two, name="test")
    assert list(tmp_path.iterdir()) == []


def test_scraps_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".tmp-left").mkdir()
    (tmp_path / ".tmp-left" / "a").write_text("x")
    sweep_aside(tmp_path)
    assert list(tmp_path.iterdir()) == []
