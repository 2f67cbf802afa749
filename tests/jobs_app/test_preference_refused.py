"""Each method of training gets the data that it can learn from, and no other."""

from __future__ import annotations

import json

import pytest

from finetune_engine.errors import UserError
from jobs_app.models import TrainingJob
from jobs_app.operations import freeze_data


@pytest.fixture
def pairs(snapshot):
    snapshot.task_type = "preference"
    snapshot.save()
    snapshot.dataset.task_type = "preference"
    snapshot.dataset.save()
    return snapshot


def test_a_snapshot_of_pairs_is_refused_with_the_way_out(start, pairs):
    with pytest.raises(UserError) as caught:
        start(snapshot=pairs)
    assert caught.value.field == "method"
    assert "better and a worse answer" in caught.value.sentence
    assert not TrainingJob.objects.exists()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_preferences_in_a_format_that_tells_nothing_more_are_left_to_the_engine(start, pairs, method):
    assert start(snapshot=pairs, spec={"method": method}).spec == {"method": method}


@pytest.mark.parametrize(
    ("held", "method", "choose"),
    [
        ("kto", "dpo", "'kto'"),
        ("preference", "kto", "'dpo'"),
        ("openai_preference", "kto", "'dpo'"),
        ("kto", "sft", "'kto'"),
    ],
)
def test_preferences_of_the_other_kind_are_refused_with_the_method_that_fits(start, pairs, held, method, choose):
    pairs.dataset.format = held
    pairs.dataset.save()
    with pytest.raises(UserError, match=f"Choose the method {choose}") as caught:
        start(snapshot=pairs, spec={"method": method})
    assert caught.value.field == "method"


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_answers_alone_teach_no_preference(start, method):
    with pytest.raises(UserError, match="answers alone") as caught:
        start(spec={"method": method})
    assert caught.value.code == "no_preferences"


def test_a_dataset_of_pairs_is_refused_before_anything_is_frozen(start, pairs, dataset):
    from datasets_app.models import Snapshot

    dataset.refresh_from_db()
    pairs.delete()
    with pytest.raises(UserError, match="better and a worse answer"):
        start(snapshot=None, dataset=dataset)
    assert not Snapshot.objects.exists()


def test_data_that_turns_out_to_be_pairs_ends_the_job_with_the_same_sentence(start, snapshot, actor):
    training = start()
    snapshot.task_type = "preference"
    snapshot.save()
    training.refresh_from_db()
    with pytest.raises(UserError, match="better and a worse answer") as caught:
        freeze_data(training=training, actor=actor)
    assert caught.value.reason == "bad_data"


def test_the_openai_face_answers_400_and_names_the_method(client, headers, pairs, upload):
    body = {"model": "demo-base", "training_file": f"file-{upload.pk}"}
    answer = client.post("/v1/fine_tuning/jobs", json.dumps(body), content_type="application/json", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "method"


def test_the_first_warning_says_in_how_many_rows_personal_data_was_replaced(start, snapshot):
    snapshot.personal = {"masked": {"email": 3, "phone": 1}, "rejected": {}, "kept": {}}
    snapshot.save()
    event = start().work.events.filter(kind="warn").order_by("id").first()
    assert event.data["masked"] == {"email": 3, "phone": 1}
    assert "3 rows (email), 1 row (phone)" in event.data["message"]


def test_the_counts_are_told_once_when_the_rows_are_frozen_after_the_start(start, snapshot, actor):
    snapshot.state = "processing"
    snapshot.save()
    training = start()
    assert not training.work.events.filter(kind="warn").exists()
    snapshot.state = "ready"
    snapshot.save()
    for _ in range(2):
        freeze_data(training=TrainingJob.objects.get(pk=training.pk), actor=actor)
    assert training.work.events.filter(kind="warn").count() == 1
