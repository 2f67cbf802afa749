"""Who may read ``/metrics``, and what is in it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


def test_without_a_token_only_this_machine_reads(client, settings) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="::1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="").status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="8.8.8.8").status_code == 404


def test_with_a_token_whoever_has_it_reads(client, settings) -> None:
    settings.METRICS_TOKEN = "long-secret"
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 404
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 404
    answer = client.get("/metrics", REMOTE_ADDR="10.0.0.7", HTTP_AUTHORIZATION="Bearer long-secret")
    assert answer.status_code == 200


def test_every_promised_figure_is_there_and_jobs_are_counted(client, project, settings) -> None:
    from django.utils import timezone

    from work_kit.models import Job

    settings.METRICS_TOKEN = ""
    Job.objects.create(project=project, kind="x", queue="cpu", title="x", available_at=timezone.now())
    text = client.get("/metrics").content.decode()
    for name in (
        "model_requests_total",
        "model_request_duration_seconds",
        "model_errors_total",
        "model_tokens_total",
        "model_time_to_first_token_seconds",
        "model_cache_hits_total",
        "model_feedback_total",
    ):
        assert (
            f"# TYPE {name.removesuffix('_total') if name.endswith('_total') else name}" in text
            or f"# TYPE {name} " in text
        )
    assert 'jobs{state="queued"} 1.0' in text
    assert 'jobs{state="failed"} 0.0' in text
