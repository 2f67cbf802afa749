"""Pages: a deep page of a row list against its first page, and the route of one page against an empty Django view."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.clock import cpu_seconds


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goal: any depth within 1.5 times the first page (server CPU-seconds, the whole middleware stack)."""
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tunesmith-bench-")
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", verbosity=0)
    client, base = _rows(Client(), 200_000 if full else 5_000)
    last = 200_000 if full else 5_000

    def page(cursor: int) -> None:
        response = client.get(f"{base}?cursor={cursor}" if cursor else base)
        assert response.status_code == 200, response.status_code

    page(0)
    arms = cpu_seconds({"first page": lambda: page(0), "deep page": lambda: page(last - 100)}, repeats=7)
    return {
        "rows, deep page against the first": {
            "value": arms["deep page"] / arms["first page"],
            "unit": "x the first page",
            "goal": "<= 1.5",
            "arms": arms,
        }
    }


def _rows(client: Any, count: int) -> tuple[Any, str]:
    """A project with a dataset of so many rows, imported by the real job; and the API address of its rows."""
    import json

    from django.core.files.base import ContentFile

    from accounts_app.models import User
    from accounts_app.operations import create_api_key, create_project
    from accounts_app.permissions import project_for
    from datasets_app.operations import create_dataset, store_upload
    from work_kit.supervisor import run_waiting

    user = User.objects.create_user(email="bench@example.com")
    project = create_project(user=user, name="Bench")
    actor = project_for(user, project.slug, "train")
    lines = (
        json.dumps({"text": f"row number {n} of many, said in words", "label": "ABC"[n % 3]}) for n in range(count)
    )
    upload = store_upload(
        actor=actor, file=ContentFile("\n".join(lines).encode(), name="rows.jsonl"), name="rows.jsonl"
    )
    dataset = create_dataset(actor=actor, upload=upload, name="Rows")
    run_waiting("cpu")
    dataset.refresh_from_db()
    assert dataset.state == "ready", dataset.error
    client.defaults["HTTP_AUTHORIZATION"] = (
        f"Bearer {create_api_key(project=project, name='bench', scopes=['read'])[1]}"
    )
    return client, f"/api/v1/datasets/{dataset.pk}/examples"
