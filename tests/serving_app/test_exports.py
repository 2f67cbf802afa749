"""A trained model is taken away as files: by the page, by the API, and by nobody else's project."""

# ruff: noqa: F811
from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from finetune_engine.errors import UserError
from serving_app.choices import ExportKind
from tests.datasets_app.conftest import clauses, dataset_from, freeze, quick_jobs, upload_of  # noqa: F401  # fixtures


@pytest.fixture
def adapter(trained) -> Any:
    """A trained model whose adapter of the bundled base lies in the storage."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetune_engine.catalogue.catalogue import load_catalogue
    from work_kit.files import file_sha256

    model = trained("Clauses")
    folder = Path(default_storage.path(model.storage_prefix))
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(load_catalogue()["demo-base"].path)
    module = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    module.save_pretrained(str(folder))
    files = {
        path.name: {"size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in folder.iterdir()
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    return model


def made(actor: Any, model: Any, kind: str = "merged") -> Any:
    from serving_app.operations.exports import start_export

    return start_export(actor=actor, trained_model=model, kind=kind)


def test_the_job_leaves_an_archive_that_was_compared_with_the_served_model(actor, adapter, run_jobs, client_for, owner):
    export = made(actor, adapter)
    run_jobs()
    export.refresh_from_db()
    assert export.work.state == "succeeded", export.work.failure
    assert export.checks["is_equal"]
    address = reverse("serving:download_export", args=[actor.project.slug, export.pk])
    response = client_for(owner).get(address)
    packed = zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content)))
    assert {"ask.py", "README.md", "MODEL_CARD.md", "checks.json", "model/model.safetensors"} <= set(packed.namelist())
    assert packed.testzip() is None


def test_a_second_press_gets_the_archive_that_is_being_made(actor, trained):
    model = trained()
    assert made(actor, model).pk == made(actor, model).pk
    assert made(actor, model, "adapter").pk != made(actor, model).pk


def test_the_same_key_sent_for_another_model_makes_another_archive(actor, trained):
    from serving_app.operations.exports import start_export

    one, two = trained("One"), trained("Two")
    first, again, other = (
        start_export(actor=actor, trained_model=model, kind="merged", idempotency_key="k") for model in (one, one, two)
    )
    assert first.pk == again.pk
    assert other.trained_model == two


def test_an_unknown_kind_names_the_known_ones(actor, trained):
    with pytest.raises(UserError, match="merged, adapter, gguf"):
        made(actor, trained(), "onnx")


def test_a_model_at_a_provider_has_no_files_to_take_away(actor, trained):
    model = trained()
    model.remote_name = "ft:gpt-4.1:x"
    with pytest.raises(UserError, match="provider"):
        made(actor, model)


def test_a_viewer_sees_the_archives_and_cannot_make_one(actor, trained, client_for, viewer):
    model = trained()
    made(actor, model)
    address = reverse("serving:exports", args=[actor.project.slug])
    page = client_for(viewer).get(address).content.decode()
    assert "Clauses" in page
    assert "Make the archive" not in page
    assert client_for(viewer).post(address, {"model": model.pk, "kind": "merged"}).status_code == 403


def test_another_projects_export_looks_like_a_missing_one(actor, trained, client_for, outsider):
    export = made(actor, trained())
    for name in ("download_export",):
        assert (
            client_for(outsider).get(reverse(f"serving:{name}", args=[actor.project.slug, export.pk])).status_code
            == 404
        )


def test_the_page_shows_the_log_that_the_advice_on_a_failure_speaks_of(actor, trained, client_for, owner):
    from django.utils import timezone

    from work_kit.models import JobEvent

    export = made(actor, trained())
    export.work.state, export.work.failure_reason = "failed", "crash_loop"
    export.work.save()
    JobEvent.objects.create(
        job=export.work, attempt=1, kind="log", data={"message": "the <converter> ended"}, at=timezone.now()
    )
    page = client_for(owner).get(reverse("serving:exports", args=[actor.project.slug])).content.decode()
    assert "Read the log below" in page
    assert "the &lt;converter&gt; ended" in page


def test_one_that_is_being_made_is_not_deleted(actor, trained):
    from serving_app.operations.exports import delete_export

    with pytest.raises(UserError, match="being made"):
        delete_export(actor=actor, export=made(actor, trained()))


def stored(actor: Any, model: Any) -> Any:
    """An archive that is done, its file in the storage."""
    from django.core.files.base import ContentFile

    from serving_app.queries.exports import exports_prefix

    export = made(actor, model)
    export.work.state = "succeeded"
    export.work.save()
    name = f"{exports_prefix(actor.project)}/{export.pk}/1/model.zip"
    export.storage_name = default_storage.save(name, ContentFile(b"zip"))
    export.save()
    return export


def test_deleting_an_archive_removes_its_file(actor, trained, django_capture_on_commit_callbacks):
    from serving_app.models import ModelExport
    from serving_app.operations.exports import delete_export

    export = stored(actor, trained())
    with django_capture_on_commit_callbacks(execute=True):
        delete_export(actor=actor, export=export)
    assert not default_storage.exists(export.storage_name)
    assert not ModelExport.objects.filter(pk=export.pk).exists()


def test_deleting_an_archive_removes_what_earlier_attempts_stored(actor, trained, django_capture_on_commit_callbacks):
    from django.core.files.base import ContentFile

    from serving_app.operations.exports import delete_export
    from serving_app.queries.exports import exports_prefix

    export = stored(actor, trained())
    earlier = default_storage.save(f"{exports_prefix(actor.project)}/{export.pk}/0/model.zip", ContentFile(b"zi"))
    with django_capture_on_commit_callbacks(execute=True):
        delete_export(actor=actor, export=export)
    assert not default_storage.exists(earlier)


def test_an_ended_job_keeps_only_the_archive_that_its_row_names(actor, trained):
    from django.core.files.base import ContentFile

    from serving_app.queries.exports import exports_prefix
    from serving_app.runner import ExportRun

    done, failed = stored(actor, trained("One")), stored(actor, trained("Two"))
    earlier = default_storage.save(f"{exports_prefix(actor.project)}/{done.pk}/0/model.zip", ContentFile(b"zi"))
    kept, lost = done.storage_name, failed.storage_name
    type(failed).objects.filter(pk=failed.pk).update(storage_name="")
    ExportRun().tidy(done.work)
    ExportRun().tidy(failed.work)
    ExportRun().tidy(failed.work)
    assert default_storage.exists(kept)
    assert not default_storage.exists(earlier)
    assert not default_storage.exists(lost)


def test_house_keeping_removes_archives_and_spares_those_being_made(actor, trained):
    from serving_app.operations.exports import forget_exports

    done, going_on = stored(actor, trained("One")), made(actor, trained("Two"))
    assert forget_exports(actor.project).items == 1
    assert not default_storage.exists(done.storage_name)
    going_on.refresh_from_db()
    assert going_on.work.state == "queued"


def test_the_api_makes_lists_and_deletes(actor, trained, api_key, client):
    model = trained()
    headers = {"Authorization": f"Bearer {api_key('train', 'read')}"}
    answer = client.post(
        "/api/v1/exports", {"model": model.api_name, "kind": "adapter"}, "application/json", headers=headers
    )
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["status"]) == ("adapter", "queued")
    listed = client.get("/api/v1/exports", headers=headers).json()
    assert [row["id"] for row in listed["data"]] == [answer.json()["id"]]
    address = f"/api/v1/exports/{answer.json()['id']}"
    assert client.get(f"{address}/download", headers=headers).status_code == 404
    assert client.delete(address, headers=headers).status_code == 409


@pytest.mark.parametrize("kind", ExportKind.values)
def test_the_page_says_what_each_kind_is_for(kind, actor, trained, client_for, owner):
    from serving_app.queries.exports import WHAT_FOR

    trained()
    page = client_for(owner).get(reverse("serving:exports", args=[actor.project.slug])).content.decode()
    assert str(WHAT_FOR[ExportKind(kind)])[:30] in page


@pytest.mark.browser
def test_the_page_in_a_browser(actor, trained, browse, live_server):
    from tests.browser import looks_right_everywhere

    export = stored(actor, trained())
    export.checks = {"questions": 8, "same_answers": 8}
    export.save()
    page = browse()
    page.goto(f"{live_server}{reverse('serving:exports', args=[actor.project.slug])}")
    looks_right_everywhere(page, "exports")


def learned_from(model: Any, snapshot: Any) -> None:
    model.training_job.snapshot = snapshot
    model.training_job.save()


def test_the_export_is_asked_rows_of_the_data_that_the_model_did_not_learn_from(
    actor, adapter, clauses, freeze, tmp_path
):
    from serving_app.runner import ASKED, ExportRun

    learned_from(adapter, freeze(clauses, split={"train": 0.5, "test": 0.5}))
    ExportRun().prepare(made(actor, adapter).work, tmp_path)
    questions = json.loads((tmp_path / "spec.json").read_text())["questions"]
    assert 0 < len(questions) <= ASKED
    assert all([turn["role"] for turn in question] == ["user"] for question in questions)


def test_a_model_whose_data_was_deleted_is_still_taken_away(actor, adapter, clauses, freeze, tmp_path):
    from serving_app.runner import ExportRun

    snapshot = freeze(clauses)
    learned_from(adapter, snapshot)
    snapshot.state = "deleted"
    snapshot.save()
    ExportRun().prepare(made(actor, adapter).work, tmp_path)
    assert json.loads((tmp_path / "spec.json").read_text())["questions"] is None
