"""Checkpoints between the trainer's folder, the storage and the table."""

from __future__ import annotations

import hashlib
import json

import pytest
from django.core.files.storage import default_storage

from jobs_app.models import Checkpoint
from jobs_app.operations import checkpoints
from work_kit.models import Job
from work_kit.operations import claim_job

pytestmark = pytest.mark.django_db


def write_checkpoint(folder, step: int) -> str:
    """A folder as the trainer leaves it; returns the SHA-256 of its manifest."""
    path = folder / f"step-{step:08d}"
    path.mkdir(parents=True)
    content = f"weights of step {step}".encode()
    (path / "adapter_model.safetensors").write_bytes(content)
    files = {"adapter_model.safetensors": {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    text = json.dumps({"files": files})
    (path / "manifest.json").write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def hold(training) -> None:
    """A worker has claimed the training."""
    assert claim_job(queue="gpu", host="here", device="cpu").job_id == training.pk
    training.work.refresh_from_db()


@pytest.fixture
def keep(start, tmp_path):
    """``keep(step)``: the trainer wrote a checkpoint, and it was noted and committed. ``keep.training``, ``keep.out``."""
    training = start()
    hold(training)
    out = tmp_path / "out" / "checkpoints"

    def make(step: int, is_best: bool = False) -> None:
        digest = write_checkpoint(out, step)
        data = {
            "step": step,
            "path": f"checkpoints/step-{step:08d}",
            "manifest_sha256": digest,
            "metrics": {"train_loss": 1.0},
            "is_best": is_best,
        }
        checkpoints.note(training.work, data)
        checkpoints.commit(training.work, data, tmp_path)

    make.training, make.out, make.workdir = training, out, tmp_path
    return make


def test_a_checkpoint_counts_once_its_files_are_stored(keep):
    keep(5)
    row = Checkpoint.objects.get()
    assert row.is_committed
    assert default_storage.exists(f"{row.storage_prefix}/manifest.json")


def test_a_broken_checkpoint_is_noted_but_never_committed(keep):
    digest = write_checkpoint(keep.out, 5)
    (keep.out / "step-00000005" / "adapter_model.safetensors").write_bytes(b"cut")
    data = {"step": 5, "path": "checkpoints/step-00000005", "manifest_sha256": digest}
    checkpoints.note(keep.training.work, data)
    checkpoints.commit(keep.training.work, data, keep.workdir)
    assert not Checkpoint.objects.get().is_committed


def test_a_storage_that_fails_costs_one_checkpoint_and_not_the_training(keep, monkeypatch):
    def fail(*args):
        raise OSError("no answer")

    monkeypatch.setattr(checkpoints, "store_tree", fail)
    keep(5)
    assert not Checkpoint.objects.get().is_committed


def test_a_checkpoint_that_the_trainer_removes_while_it_is_stored_is_not_committed(keep, monkeypatch):
    real = checkpoints.store_tree

    def removed_first(folder, prefix):
        (folder / "manifest.json").unlink()
        return real(folder, prefix)

    monkeypatch.setattr(checkpoints, "store_tree", removed_first)
    keep(5)
    assert not Checkpoint.objects.get().is_committed


def test_a_worker_that_lost_its_job_commits_no_checkpoint_and_leaves_no_file(keep):
    Job.objects.update(lease_token="somebody else")
    keep(5)
    row = Checkpoint.objects.get()
    assert not row.is_committed
    own = f"projects/{keep.training.project_id}/checkpoints/{keep.training.pk}"
    assert not default_storage.exists(own) or default_storage.listdir(own) == ([], [])


def test_a_checkpoint_that_the_trainer_removes_while_it_is_verified_costs_nothing_else(keep, monkeypatch):
    real = hashlib.file_digest

    def removed_meanwhile(file, name):
        digest = real(file, name)
        (keep.out / "step-00000005" / "manifest.json").unlink(missing_ok=True)
        return digest

    monkeypatch.setattr(hashlib, "file_digest", removed_meanwhile)
    keep(5)
    assert Checkpoint.objects.count() == 1


def test_a_folder_that_a_later_attempt_wrote_is_not_stored_for_an_earlier_one(keep):
    digest = write_checkpoint(keep.out, 5)
    data = {"step": 5, "path": "checkpoints/step-00000005", "manifest_sha256": "0" * 64}
    checkpoints.note(keep.training.work, data)
    checkpoints.commit(keep.training.work, data, keep.workdir)
    assert digest != Checkpoint.objects.get().manifest_sha256
    assert not Checkpoint.objects.get().is_committed


def test_training_goes_on_from_the_newest_folder_on_this_host(keep):
    keep(5)
    keep(10)
    assert checkpoints.newest_usable(keep.training, keep.workdir).name == "step-00000010"


def test_a_broken_newest_folder_is_replaced_by_the_stored_copy(keep):
    keep(5)
    keep(10)
    (keep.out / "step-00000010" / "adapter_model.safetensors").write_bytes(b"bit-flipped")
    found = checkpoints.newest_usable(keep.training, keep.workdir)
    assert (found / "adapter_model.safetensors").read_bytes() == b"weights of step 10"


def test_a_broken_stored_copy_gives_way_to_the_one_before(keep, tmp_path):
    keep(5)
    keep(10)
    name = Checkpoint.objects.get(step=10).storage_prefix + "/adapter_model.safetensors"
    default_storage.delete(name)
    found = checkpoints.newest_usable(keep.training, tmp_path / "another-host")
    assert found.name == "step-00000005"


def test_the_best_checkpoint_is_fetched_beside_the_newest(keep, tmp_path):
    keep(5, is_best=True)
    keep(10)
    found = checkpoints.newest_usable(keep.training, tmp_path / "another-host")
    assert found.name == "step-00000010"
    assert (found.parent / "step-00000005" / "manifest.json").is_file()


def test_without_any_checkpoint_training_begins_at_the_start(start, tmp_path):
    assert checkpoints.newest_usable(start(), tmp_path) is None


def test_only_the_latest_three_and_the_best_are_kept(keep):
    keep(1, is_best=True)
    for step in range(2, 8):
        keep(step)
    assert sorted(Checkpoint.objects.values_list("step", flat=True)) == [1, 5, 6, 7]
    folders, _ = default_storage.listdir(f"projects/{keep.training.project_id}/checkpoints/{keep.training.pk}")
    assert len(folders) == 4
