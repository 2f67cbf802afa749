"""Several trainings side by side."""

from __future__ import annotations

import csv
import io

import pytest
from django.utils import timezone

from datasets_app.models import Dataset, Snapshot, Upload
from evaluation_app.models import Evaluation
from jobs_app.models import TrainedModel, TrainingJob
from jobs_app.operations import start_training
from work_kit.models import Job, JobEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def snapshot(project, owner):
    upload = Upload.objects.create(project=project, name="a.jsonl", size=1, sha256="0" * 64, storage_name="none")
    dataset = Dataset.objects.create(
        project=project, upload=upload, name="Clauses", state="ready", total=9, accepted=9, import_attempt=1
    )
    return Snapshot.objects.create(
        project=project, dataset=dataset, number=1, state="ready", sha256="1" * 64, counts={"train": 9}
    )


@pytest.fixture
def run(actor, snapshot):
    """``run(name, *validation losses, **spec)``: a training with a point for each."""

    def make(name: str, *losses: float, **spec) -> TrainingJob:
        training = start_training(actor=actor, name=name, base_model_key="demo-base", snapshot=snapshot, spec=spec)
        for step, loss in enumerate(losses, start=1):
            data = {"step": step, "train_loss": loss / 2, "valid_loss": loss}
            JobEvent.objects.create(job_id=training.pk, attempt=1, kind="metric", data=data, at=timezone.now())
        return training

    return make


@pytest.fixture
def look(client_for, owner, project):
    browser = client_for(owner)
    return lambda *trainings, **more: browser.get(
        f"/p/{project.slug}/train/compare", {"job": [training.pk for training in trainings], **more}
    )


def test_it_shows_the_settings_that_differ_and_only_those(look, run):
    text = look(run("Small", 0.9, r=4), run("Large", 0.8, r=32)).content.decode()
    assert "Settings that differ" in text
    assert 'class="small muted mono">r</span>' in text
    assert "learning_rate" not in text


def test_it_names_the_run_that_came_furthest_on_the_same_examples(look, run):
    text = look(run("Small", 0.9, 0.7), run("Large", 0.8, 0.75)).content.decode()
    assert "On new examples Small came furthest: 0.700 at step 2" in text


def test_losses_on_different_examples_are_not_ranked(look, run, snapshot):
    first, second = run("Small", 0.9), run("Large", 0.8)
    other = Snapshot.objects.create(
        project=snapshot.project, dataset=snapshot.dataset, number=2, state="ready", sha256="2" * 64
    )
    TrainingJob.objects.filter(pk=second.pk).update(snapshot=other)
    text = look(first, second).content.decode()
    assert "only between trainings on the same frozen examples" in text
    assert 'class="best"' not in text


@pytest.mark.parametrize("count", [0, 1, 7])
def test_fewer_than_two_or_more_than_six_are_refused_with_the_way_out(look, run, count):
    answer = look(*(run(f"Run {n}") for n in range(count)))
    assert answer.status_code == 422
    assert "Choose two to six trainings" in answer.content.decode()


def test_a_training_of_another_project_is_not_found(client_for, outsider, run):
    from accounts_app.models import Membership

    slug = Membership.objects.get(user=outsider).project.slug
    jobs = [run("Ours").pk, run("Ours too").pk]
    assert client_for(outsider).get(f"/p/{slug}/train/compare", {"job": jobs}).status_code == 404


def test_a_name_is_never_markup(look, run):
    text = look(run("<b>Bold</b>", 0.5), run("Plain", 0.6)).content.decode()
    assert "<b>Bold</b>" not in text.replace("\\u003C", "<") or "&lt;b&gt;Bold" in text
    assert "&lt;b&gt;Bold&lt;/b&gt;" in text


def test_the_newest_verdict_stands_beside_its_training(look, run, project, snapshot):
    judged, other = run("Judged", 0.5), run("Other", 0.6)
    model = TrainedModel.objects.create(
        project=project, training_job=judged, name="Judged", base_model_key="demo-base", api_name="ft:judged"
    )
    work = Job.objects.create(
        project=project, kind="evaluation.run", queue="gpu", title="E", available_at=timezone.now(), state="succeeded"
    )
    Evaluation.objects.create(project=project, trained_model=model, snapshot=snapshot, work=work, verdict="ship")
    text = look(judged, other).content.decode()
    assert f"/results/{Evaluation.objects.get().pk}" in text


def test_the_table_comes_as_csv_that_no_spreadsheet_computes(look, run):
    answer = look(run("=1+1", 0.5, r=4), run("Plain", 0.6, r=8), format="csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["name"] for row in rows] == ["'=1+1", "Plain"]
    assert [row["r"] for row in rows] == ["4", "8"]
    assert [row["valid_loss"] for row in rows] == ["0.5", "0.6"]


def test_the_api_gives_the_same(client_for, api_key, run):
    first, second = run("Small", 0.9, r=4), run("Large", 0.8, r=32)
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    body = client_for().get(f"/api/v1/comparison?job={first.pk},{second.pk}", headers=headers).json()
    assert body["settings"]["r"] == [4, 32]
    assert [run["valid_loss"] for run in body["data"]] == [0.9, 0.8]


def test_a_copy_says_where_it_comes_from_and_the_first_who_copied_it(client_for, owner, project, actor, snapshot, run):
    first = run("First")
    copy = start_training(
        actor=actor, name="Second", base_model_key="demo-base", snapshot=snapshot, spec={}, cloned_from=first
    )
    browser = client_for(owner)
    text = browser.get(f"/p/{project.slug}/train/{copy.pk}").content.decode()
    assert "Copied from" in text
    assert f"?clone={copy.pk}" in text
    assert "Its copies" in browser.get(f"/p/{project.slug}/train/{first.pk}").content.decode()
