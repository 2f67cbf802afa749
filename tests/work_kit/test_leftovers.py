"""What stays on a worker's disk after a job has ended, and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune_engine.train.lock import take_lock
from work_kit import leftovers, operations
from work_kit.choices import State
from work_kit.kinds import _KINDS
from work_kit.leftovers import last_words, sweep_work_folders
from work_kit.models import Job


@pytest.fixture
def folder(actor, toy, db, settings, tmp_path) -> Path:
    """The work folder of a job whose trainer was killed while it wrote."""
    settings.WORK_DIR = tmp_path
    job = operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})
    folder = tmp_path / job.pk
    (folder / "out" / "checkpoints" / ".tmp-half").mkdir(parents=True)
    (folder / "attempt-1.log").write_text("last words")
    return folder


def end(folder: Path, state: State, reason: str = "") -> None:
    Job.objects.filter(pk=folder.name).update(state=state, failure_reason=reason)


def test_the_folder_of_a_job_that_ended_elsewhere_is_swept(folder) -> None:
    end(folder, State.SUCCEEDED)
    sweep_work_folders()
    assert not folder.exists()


def test_a_failed_job_keeps_its_log_and_nothing_half_written(folder) -> None:
    end(folder, State.FAILED, "internal")
    sweep_work_folders()
    assert (folder / "attempt-1.log").read_text() == "last words"
    assert not (folder / "out" / "checkpoints" / ".tmp-half").exists()


def test_the_folder_of_a_job_that_has_not_ended_stays(folder) -> None:
    sweep_work_folders()
    assert (folder / "out" / "checkpoints" / ".tmp-half").exists()


def test_a_folder_in_which_somebody_still_works_is_left_alone(folder) -> None:
    end(folder, State.CANCELLED)
    lock = take_lock(folder / "out")
    sweep_work_folders()
    assert folder.exists()
    os.close(lock)
    sweep_work_folders()
    assert not folder.exists()


def test_a_folder_that_belongs_to_no_job_goes_once_it_is_old(folder) -> None:
    Job.objects.filter(pk=folder.name).delete()
    sweep_work_folders()
    assert folder.exists()
    os.utime(folder, (1.0, 1.0))
    sweep_work_folders()
    assert not folder.exists()


def test_a_job_of_a_kind_that_is_not_installed_here_holds_up_no_sweep(folder, actor) -> None:
    other = operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})
    (folder.parent / other.pk).mkdir()
    Job.objects.update(state=State.CANCELLED)
    _KINDS.pop("toy.run")
    sweep_work_folders()
    assert list(folder.parent.iterdir()) == []


def test_a_folder_that_another_worker_removes_at_the_same_moment_is_no_trouble(folder, monkeypatch) -> None:
    def gone(path: Path) -> None:
        raise FileNotFoundError(path / "lock")

    monkeypatch.setattr(leftovers, "take_lock", gone)
    end(folder, State.CANCELLED)
    leftovers.tidy(Job.objects.get(pk=folder.name))


def test_last_words_are_the_end_of_what_was_written_and_hold_nothing_a_database_refuses(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_bytes("é".encode() * 5000 + b"the\0 end")
    assert last_words(log, 10) == "éééthe end"
    assert last_words(tmp_path / "none", 10) == ""
