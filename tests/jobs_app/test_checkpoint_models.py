"""A saved state becomes a model of its own, and back."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts_app.models import AuditEntry
from finetune_engine.errors import UserError
from jobs_app import uses
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import checkpoints, delete_trained_model
from jobs_app.operations.checkpoint_models import drop_checkpoint_model, use_checkpoint
from jobs_app.queries import model_files, trained_model_of, training_jobs
from web_kit.ids import new_id
from work_kit.models import Job

pytestmark = pytest.mark.django_db

FILES = {"adapter_model.safetensors": b"weights", "optimizer.safetensors": b"moments" * 99, "state.json": b"{}"}


@pytest.fixture
def save():
    """``save(training, step)``: a committed checkpoint with real files in the storage."""

    def make(training, step: int, *, is_best: bool = False) -> Checkpoint:
        prefix = f"projects/{training.project_id}/checkpoints/{training.pk}/1-{step:08d}-{new_id()[-8:]}"
        entries = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        }
        for name, content in FILES.items():
            default_storage.save(f"{prefix}/{name}", ContentFile(content))
        default_storage.save(f"{prefix}/manifest.json", ContentFile(json.dumps({"files": entries}).encode()))
        return Checkpoint.objects.create(
            training_job=training,
            attempt=1,
            step=step,
            metrics={"train_loss": 0.4, "valid_loss": 0.6, "learning_rate": 1.0},
            is_best=is_best,
            storage_prefix=prefix,
            manifest_sha256="3" * 64,
            is_committed=True,
        )

    return make


@pytest.fixture
def checkpoint(start, save):
    training = start()
    Job.objects.filter(pk=training.pk).update(state="failed", failure_reason="diverged")
    return save(training, 40, is_best=True)


def is_there(prefix: str) -> bool:
    return default_storage.exists(f"{prefix}/manifest.json")


def test_the_last_good_state_of_a_failed_training_becomes_a_model(actor, checkpoint):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    assert model.api_name.endswith(":ckpt-step-40")
    assert model.metrics == {"train_loss": 0.4, "valid_loss": 0.6, "best_step": 40}
    assert model.size_bytes == len(FILES["adapter_model.safetensors"])
    assert AuditEntry.objects.filter(act="checkpoint.use").count() == 1


def test_the_same_state_again_is_the_same_model(actor, checkpoint):
    assert use_checkpoint(actor=actor, checkpoint=checkpoint) == use_checkpoint(actor=actor, checkpoint=checkpoint)


def test_it_answers_under_its_name_like_any_model(actor, checkpoint):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    found = model_files(model.api_name, actor.project)
    assert (found.digest, found.adapter.name) == ("3" * 64, checkpoint.storage_prefix.rpartition("/")[2])


def test_it_is_never_taken_for_the_trainings_own_model(actor, checkpoint):
    use_checkpoint(actor=actor, checkpoint=checkpoint)
    assert trained_model_of(training_jobs(actor.project).get()) is None


def test_a_state_that_is_gone_says_so(actor, checkpoint):
    Checkpoint.objects.all().delete()
    with pytest.raises(UserError) as problem:
        use_checkpoint(actor=actor, checkpoint=checkpoint)
    assert (problem.value.code, problem.value.status) == ("checkpoint_gone", 409)


def test_thinning_leaves_the_files_of_a_model(actor, checkpoint, save, django_capture_on_commit_callbacks):
    checkpoint.is_best = False
    checkpoint.save()
    use_checkpoint(actor=actor, checkpoint=checkpoint)
    for step in (50, 60, 70):
        save(checkpoint.training_job, step)
    with django_capture_on_commit_callbacks(execute=True):
        checkpoints.thin_out(checkpoint.training_job_id)
    assert not Checkpoint.objects.filter(step=40).exists()
    assert is_there(checkpoint.storage_prefix)


def test_undoing_leaves_the_state(actor, checkpoint, django_capture_on_commit_callbacks):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    with django_capture_on_commit_callbacks(execute=True):
        drop_checkpoint_model(actor=actor, model=model)
    assert not TrainedModel.objects.exists()
    assert is_there(checkpoint.storage_prefix)


def test_the_files_go_with_the_last_that_names_them(actor, checkpoint, django_capture_on_commit_callbacks):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    Checkpoint.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        delete_trained_model(actor=actor, model=model)
    assert not is_there(checkpoint.storage_prefix)


def test_what_could_not_be_had_again_is_not_undone(actor, checkpoint):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    Checkpoint.objects.all().delete()
    with pytest.raises(UserError) as refused:
        drop_checkpoint_model(actor=actor, model=model)
    assert (refused.value.code, refused.value.status) == ("state_is_gone", 409)
    assert TrainedModel.objects.exists()


def test_deleting_the_trainings_own_model_leaves_models_of_its_states(
    actor, trained, save, django_capture_on_commit_callbacks
):
    kept, spare = save(trained.training_job, 10), save(trained.training_job, 20)
    use_checkpoint(actor=actor, checkpoint=kept)
    with django_capture_on_commit_callbacks(execute=True):
        delete_trained_model(actor=actor, model=trained)
    assert (is_there(kept.storage_prefix), is_there(spare.storage_prefix)) == (True, False)


def test_a_model_in_use_is_not_undone(actor, checkpoint):
    from serving_app.operations import deploy_model

    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    deploy_model(actor=actor, trained_model=model, sign_off="Tried by hand; good enough.")
    with pytest.raises(UserError, match="deployed as 'production'") as problem:
        drop_checkpoint_model(actor=actor, model=model)
    assert problem.value.status == 409


def test_a_model_that_a_training_goes_on_from_is_in_use(start, trained):
    start(name="Second round", parent_model=trained)
    assert "Second round" in uses.use_of(trained)


def test_a_download_leaves_out_what_only_training_needs(client_for, owner, project, actor, checkpoint):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    answer = client_for(owner).get(f"/p/{project.slug}/train/models/{model.pk}/download")
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert sorted(archive.namelist()) == ["model/adapter_model.safetensors", "model/manifest.json"]
        assert list(json.loads(archive.read("model/manifest.json"))["files"]) == ["adapter_model.safetensors"]


def test_the_button_makes_the_model_and_undo_takes_it_back(client_for, trainer, project, checkpoint):
    browser, url = client_for(trainer), f"/p/{project.slug}/train/{checkpoint.training_job_id}"
    assert "Use this one" in browser.get(url).content.decode()
    made = browser.post(f"{url}/states/40/use")
    assert made["Location"] == f"/p/{project.slug}/train/models/{TrainedModel.objects.get().pk}"
    assert "at step 40" in browser.get(made["Location"]).content.decode()
    browser.post(f"{url}/states/40/use", {"undo": "1"})
    assert not TrainedModel.objects.exists()


def test_the_evaluation_form_and_the_deployment_page_offer_it(client_for, owner, project, actor, checkpoint):
    model = use_checkpoint(actor=actor, checkpoint=checkpoint)
    for path in ("results/new", "use/"):
        assert model.name in client_for(owner).get(f"/p/{project.slug}/{path}").content.decode()


def test_the_api_lists_makes_and_undoes(client_for, headers, checkpoint):
    client, url = client_for(), f"/api/v1/jobs/{checkpoint.training_job_id}/checkpoints"
    (listed,) = client.get(url, headers=headers).json()["data"]
    assert (listed["step"], listed["is_best"], listed["trained_model"]) == (40, True, None)
    made = client.post(f"{url}/40/model", headers=headers)
    assert (made.status_code, made.json()["api_name"]) == (201, listed["model_name"])
    assert client.get(url, headers=headers).json()["data"][0]["trained_model"] == made.json()["id"]
    assert client.delete(f"{url}/40/model", headers=headers).status_code == 204
    assert client.delete(f"{url}/40/model", headers=headers).status_code == 404
