"""Starting a training: what is stored, what is refused, and what a double click does."""

from __future__ import annotations

import pytest

from finetune_engine.errors import UserError
from finetune_engine.train.spec import SpecProblems
from jobs_app.models import TrainingJob
from work_kit.models import Job, JobEvent


def test_a_training_and_its_job_share_one_id_and_wait_in_the_queue(start):
    training = start(spec={"num_train_epochs": 2}, suffix="v1")
    job = Job.objects.get(pk=training.pk)
    assert (job.kind, job.queue, job.state, training.work_id) == ("jobs.train", "gpu", "queued", training.pk)
    assert training.spec == {"num_train_epochs": 2.0}


def test_the_same_idempotency_key_makes_one_training(start):
    assert start(idempotency_key="k").pk == start(idempotency_key="k").pk
    assert TrainingJob.objects.count() == 1


def test_two_trainings_without_a_key_are_two(start):
    assert start().pk != start().pk


def test_all_wrong_settings_are_told_at_once_and_nothing_is_stored(start):
    with pytest.raises(SpecProblems) as caught:
        start(spec={"r": 0, "learning_rate": 7, "colour": "red"})
    assert {problem.field for problem in caught.value.problems} == {"r", "learning_rate", "colour"}
    assert not Job.objects.exists()


def test_an_unknown_base_model_is_refused_by_name(start):
    with pytest.raises(UserError) as caught:
        start(base_model_key="gpt-9")
    assert (caught.value.code, caught.value.field) == ("unknown_base_model", "base_model")
    assert "gpt-9" in caught.value.sentence


def test_a_model_that_runs_elsewhere_is_refused_with_the_reason(start):
    with pytest.raises(UserError, match="OpenAI"):
        start(base_model_key="gpt-4o-mini")


def test_a_dataset_without_a_usable_row_is_refused_before_anything_is_queued(start, dataset, snapshot):
    snapshot.delete()
    dataset.accepted = dataset.flagged = 0
    dataset.rejected = 46
    dataset.save()
    with pytest.raises(UserError) as caught:
        start(snapshot=None, dataset=dataset)
    assert caught.value.code == "no_examples"
    assert not Job.objects.filter(kind="jobs.train").exists()


def test_a_failed_import_is_refused_with_its_own_sentence(start, dataset):
    dataset.state, dataset.error = "failed", {"code": "empty_file", "message": "The file has 0 bytes."}
    dataset.save()
    with pytest.raises(UserError, match="The file has 0 bytes") as caught:
        start(snapshot=None, dataset=dataset)
    assert caught.value.code == "empty_file"


def test_a_dataset_is_frozen_first_and_an_unchanged_one_only_once(start, dataset, snapshot):
    snapshot.delete()
    one = start(snapshot=None, dataset=dataset)
    two = start(snapshot=None, dataset=dataset)
    assert one.snapshot is not None
    assert one.snapshot_id == two.snapshot_id


def test_a_dataset_with_a_ready_snapshot_uses_it(start, dataset, snapshot):
    assert start(snapshot=None, dataset=dataset).snapshot_id == snapshot.pk


def test_a_decision_after_freezing_freezes_again(start, dataset, snapshot):
    from django.utils import timezone

    from datasets_app.models import Example

    Example.objects.create(
        dataset=dataset,
        import_attempt=1,
        row=1,
        status="rejected",
        checked_status="accepted",
        chunk=0,
        offset=0,
        decision="reject",
        decided_at=timezone.now(),
    )
    assert start(snapshot=None, dataset=dataset).snapshot_id != snapshot.pk


def test_a_dataset_that_is_still_checked_is_accepted_and_waits(start, dataset):
    dataset.state = "processing"
    dataset.save()
    assert start(snapshot=None, dataset=dataset).snapshot is None


def test_the_first_warning_counts_the_rows_by_what_happens_to_them(start):
    training = start()
    first = JobEvent.objects.filter(job_id=training.pk, kind="warn").order_by("id").first()
    assert first.data["counts"] == {"accepted": 38, "flagged": 2, "needs_review": 4, "rejected": 6}
    assert "50 rows" in first.data["message"]


@pytest.mark.parametrize("suffix", ["a:b", "-x", "with space", "x" * 65, "ü"])
def test_a_suffix_that_no_model_name_can_hold_is_refused(start, suffix):
    with pytest.raises(UserError) as caught:
        start(suffix=suffix)
    assert caught.value.field == "suffix"


def test_metadata_is_held_to_the_limits(start):
    with pytest.raises(UserError) as caught:
        start(metadata={str(n): "x" for n in range(17)})
    assert caught.value.field == "metadata"
