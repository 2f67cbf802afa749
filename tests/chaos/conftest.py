"""The toy training inside a test: real supervisor, real child processes, the test's own database."""

from __future__ import annotations

import pytest

from tests.chaos import kind


@pytest.fixture
def toy_training(actor, transactional_db, settings, tmp_path, monkeypatch):
    """``toy_training(**params)``: an accepted job of the toy kind. Pauses between attempts are short."""
    from django.db import transaction

    from jobs_app.models import TrainingJob
    from work_kit import kinds
    from work_kit.operations import submit_job

    settings.BACKOFF_SECONDS = 0.01
    settings.WORK_DIR = tmp_path / "work"
    monkeypatch.setenv("CHAOS_LEDGER", str(tmp_path))
    kind.install()

    def make(max_seconds: float | None = None, **params):
        with transaction.atomic():
            job = submit_job(actor=actor, kind=kind.KIND, title="Toy", params=params, max_seconds=max_seconds)
            TrainingJob.objects.create(
                pk=job.pk, project=job.project, work=job, name="Toy", base_model_key="demo-base", created_by=actor.user
            )
        return job

    yield make
    kinds._KINDS.pop(kind.KIND, None)
