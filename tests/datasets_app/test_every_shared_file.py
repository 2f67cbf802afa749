"""Every file of the folder with real data goes through the site: uploaded, looked at, and never a page that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from datasets_app import operations
from datasets_app.models import Dataset

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TUNESMITH_SHARED") or ROOT.parent / "shared") / "data"
MANY_ALIKE = {"contracts_txt": 2, "LICENSES": 1}  # of these folders a few stand for all
IMPORTED = [
    "alpaca_en_demo.xlsx",
    "demo-dataset.parquet",
    "demo-dataset.tsv",
    "gsm8k_test.snappy.parquet",
    "glaive_toolcall_en_demo.json",
    "cuad_clause_type.test.jsonl",
    "axolotl_conversation.json",
]


def files() -> list[Path]:
    if not FOLDER.is_dir():
        return []
    seen: dict[str, int] = {}
    found = []
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            seen[path.parent.name] = seen.get(path.parent.name, 0) + 1
            if seen[path.parent.name] <= MANY_ALIKE.get(path.parent.name, 1000):
                found.append(path)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(FOLDER)))
def test_it_is_uploaded_and_looked_at(path, client_for, project, trainer):
    client = client_for(trainer, raise_request_exception=True)
    sent = client.post(
        reverse("datasets:upload", args=[project.slug]), {"file": SimpleUploadedFile(path.name, path.read_bytes())}
    )
    if path.stat().st_size == 0:
        assert sent.status_code == 422
        return
    assert sent.status_code == 302
    page = client.get(sent.url)
    assert page.status_code == 200
    look = page.context["look"]
    assert look.rows or look.problem or look.error, "the page must say something"
    said = f"{look.problem} {look.error.get('message', '')}"
    assert "Traceback" not in said
    assert "codec" not in said
    if look.error:
        assert look.error["code"] != "no_preview", "it was too much for the child"


@pytest.mark.parametrize("name", IMPORTED)
def test_some_are_imported_to_the_last_row(name, shared_data, actor, upload_of, quick_jobs):
    path = next(shared_data.rglob(name))
    upload = operations.store_upload(actor=actor, file=upload_of(name, path.read_bytes()), name=name)
    operations.create_dataset(actor=actor, upload=upload)
    quick_jobs()
    dataset = Dataset.objects.get()
    assert dataset.state == "ready", dataset.error
    assert dataset.total == sum(n for key, n in dataset.counts.items() if key != "total") > 0
    assert dataset.sources.get().rows == dataset.total
