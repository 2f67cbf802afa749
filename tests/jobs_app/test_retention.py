"""Cleaning up: what can go, what never goes, and who is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts_app.models import AuditEntry
from finetune_engine.errors import UserError
from jobs_app.models import Checkpoint, Retention, TrainedModel
from jobs_app.operations import retention
from jobs_app.queries.housekeeping import disk_use, spare_checkpoints
from jobs_app.tasks import keep_house
from web_kit.ids import new_id
from work_kit.log_retention import KEPT_LINES
from work_kit.models import Job, JobEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def ended(start):
    """``ended(state, days, steps, best)``: a training that ended so many days ago with these checkpoints."""

    def make(state: str = "succeeded", *, days: int = 30, steps: tuple[int, ...] = (10, 20, 30), best: int = 20):
        training = start(name=f"{state} {new_id()}")
        values = {"state": state, "finished_at": timezone.now() - timedelta(days=days)}
        values |= {"failure_reason": "diverged"} if state == "failed" else {}
        Job.objects.filter(pk=training.pk).update(**values)
        for step in steps:
            prefix = f"projects/{training.project_id}/checkpoints/{training.pk}/1-{step}"
            default_storage.save(f"{prefix}/weights", ContentFile(b"x" * 1000))
            Checkpoint.objects.create(
                training_job=training,
                attempt=1,
                step=step,
                is_best=step == best,
                storage_prefix=prefix,
                is_committed=True,
            )
        if state == "succeeded":
            TrainedModel.objects.create(
                project=training.project,
                training_job=training,
                name=training.name,
                base_model_key="demo-base",
                api_name=f"ft:{training.pk}",
                storage_prefix=f"models/{training.pk}",
            )
        return training

    return make


def steps_of(training) -> list[int]:
    return list(Checkpoint.objects.filter(training_job=training).order_by("step").values_list("step", flat=True))


def test_of_a_training_with_a_model_all_states_can_go(ended, project):
    ended()
    assert [row.step for row in spare_checkpoints(project, ended_before=timezone.now())] == [10, 20, 30]


def test_of_a_failed_training_the_best_and_the_newest_state_stay(ended, project):
    ended("failed")
    assert [row.step for row in spare_checkpoints(project, ended_before=timezone.now())] == [10]


def test_what_a_provider_keeps_takes_up_nothing_and_cannot_go(ended, project):
    before = disk_use(project)[0]
    training = ended("failed", steps=())
    for step in (1, 2, 3):
        Checkpoint.objects.create(training_job=training, attempt=1, step=step, is_committed=True)
    default_storage.save("projects/of-another/models/weights", ContentFile(b"x" * 1000))
    assert disk_use(project)[0] == before
    assert spare_checkpoints(project, ended_before=timezone.now()) == []


def test_nothing_of_a_paused_training_can_go(ended, project):
    ended("paused")
    assert spare_checkpoints(project, ended_before=timezone.now()) == []


def test_a_state_that_became_a_model_stays(ended, project):
    training = ended()
    used = Checkpoint.objects.get(step=10)
    TrainedModel.objects.create(
        project=project,
        training_job=training,
        checkpoint_step=10,
        name="Chosen",
        base_model_key="demo-base",
        api_name="ft:chosen",
        storage_prefix=used.storage_prefix,
    )
    assert [row.step for row in spare_checkpoints(project, ended_before=timezone.now())] == [20, 30]


def test_retention_removes_old_states_and_leaves_young_ones(ended, actor, django_capture_on_commit_callbacks):
    old, young = ended(days=30), ended(days=3)
    retention.set_retention(actor=actor, checkpoint_days=7, log_days=None)
    prefix = Checkpoint.objects.filter(training_job=old).first().storage_prefix
    with django_capture_on_commit_callbacks(execute=True):
        keep_house()
    assert (steps_of(old), steps_of(young)) == ([], [10, 20, 30])
    assert not default_storage.exists(f"{prefix}/weights")
    told = AuditEntry.objects.get(act="retention.clean.checkpoints")
    assert told.data == {"by": "site", "items": 3, "bytes": 3000, "days": 7}


def test_without_a_decision_everything_is_kept(ended):
    training = ended(days=3000)
    keep_house()
    assert steps_of(training) == [10, 20, 30]
    assert not Retention.objects.exists()


def test_what_somebody_else_is_cleaning_up_at_this_moment_is_told_once(ended, actor, project, monkeypatch):
    ended()
    seen = spare_checkpoints(project, ended_before=timezone.now())
    retention.clean_up(actor=actor, kind="checkpoints")
    real, looks = spare_checkpoints, iter([seen])
    monkeypatch.setattr(retention, "spare_checkpoints", lambda *a, **kw: next(looks, None) or real(*a, **kw))
    assert retention.clean_up(actor=actor, kind="checkpoints").items == 0
    assert AuditEntry.objects.filter(act="retention.clean.checkpoints").count() == 1


def test_days_must_be_days(actor):
    with pytest.raises(UserError) as problem:
        retention.set_retention(actor=actor, checkpoint_days=0, log_days=None)
    assert problem.value.field == "checkpoint_days"


def test_old_logs_go_but_for_their_last_lines_and_the_curves(ended, actor):
    training = ended("failed", steps=())
    rows = [
        JobEvent(job_id=training.pk, attempt=1, kind=kind, data={"message": f"line {n}", "step": n}, at=timezone.now())
        for n in range(KEPT_LINES + 10)
        for kind in ("log", "metric")
    ]
    JobEvent.objects.bulk_create(rows)
    retention.set_retention(actor=actor, checkpoint_days=None, log_days=7)
    keep_house()
    left = JobEvent.objects.filter(job_id=training.pk)
    assert left.filter(kind="metric").count() == KEPT_LINES + 10
    kept = [data["message"] for data in left.filter(kind="log").order_by("id").values_list("data", flat=True)]
    assert kept == [f"line {n}" for n in range(10, KEPT_LINES + 10)]


def test_a_failed_jobs_work_folder_goes_and_the_end_of_its_output_stays(ended, actor, settings, tmp_path):
    settings.WORK_DIR = tmp_path
    training, going_on = ended("failed", steps=()), ended("paused", steps=())
    for one in (training, going_on):
        (tmp_path / one.pk).mkdir()
    (tmp_path / training.pk / "attempt-1.log").write_text("first attempt")
    (tmp_path / training.pk / "attempt-2.log").write_text("Bus error (core dumped)")
    freed = retention.clean_up(actor=actor, kind="logs")
    assert freed.items == 1
    assert [path.name for path in Path(tmp_path).iterdir()] == [going_on.pk]
    (line,) = JobEvent.objects.filter(job_id=training.pk, kind="log")
    assert "Bus error" in line.data["message"]


def test_models_are_not_cleaned_up_here(actor):
    with pytest.raises(UserError, match="Nothing of this kind"):
        retention.clean_up(actor=actor, kind="models")


def test_what_can_go_is_told_before_and_gone_after(ended, actor, project, django_capture_on_commit_callbacks):
    ended()
    (before,) = [part for part in disk_use(project) if part.kind == "checkpoints"]
    assert (before.held.items, before.can_go.items, before.can_go.size) == (3, 3, 3000)
    with django_capture_on_commit_callbacks(execute=True):
        retention.clean_up(actor=actor, kind="checkpoints")
    (after,) = [part for part in disk_use(project) if part.kind == "checkpoints"]
    assert (after.held.items, after.held.size, after.can_go.items) == (0, 0, 0)


def test_the_page_cleans_up_only_by_the_projects_name(client_for, owner, project, ended):
    training = ended()
    browser, url = client_for(owner), f"/p/{project.slug}/train/housekeeping"
    assert "Remove: Saved states of trainings" in browser.get(url).content.decode()
    assert browser.post(f"{url}/clean", {"kind": "checkpoints", "confirm_name": "x"}).status_code == 422
    assert steps_of(training) == [10, 20, 30]
    browser.post(f"{url}/clean", {"kind": "checkpoints", "confirm_name": project.name})
    assert steps_of(training) == []


def test_the_page_keeps_the_days_that_were_typed(client_for, owner, project):
    browser, url = client_for(owner), f"/p/{project.slug}/train/housekeeping"
    assert browser.post(url, {"checkpoint_days": "-1"}).status_code == 422
    browser.post(url, {"checkpoint_days": "14", "log_days": ""})
    assert Retention.objects.get().checkpoint_days == 14
    assert 'value="14"' in browser.get(url).content.decode()


def test_a_trainer_looks_but_decides_nothing(client_for, trainer, project, ended):
    ended()
    browser, url = client_for(trainer), f"/p/{project.slug}/train/housekeeping"
    assert "Clean up now" not in browser.get(url).content.decode()
    assert browser.post(url, {"checkpoint_days": "1"}).status_code == 403


def test_the_api_tells_decides_and_cleans(client_for, api_key, ended, project):
    training = ended()
    client, headers = client_for(), {"Authorization": f"Bearer {api_key('admin')}"}
    url = "/api/v1/housekeeping"
    put = client.put(f"{url}/retention", {"checkpoint_days": 9}, content_type="application/json", headers=headers)
    assert put.json() == {"checkpoint_days": 9, "log_days": None}
    told = client.get(url, headers=headers).json()
    assert told["retention"]["checkpoint_days"] == 9
    assert told["data"][0]["can_go"] == {"items": 3, "bytes": 3000}
    cleaned = client.post(f"{url}/clean", {"kind": "checkpoints"}, content_type="application/json", headers=headers)
    assert cleaned.json() == {"kind": "checkpoints", "items": 3, "bytes": 3000}
    assert steps_of(training) == []
