"""Both pages in a real browser: how they look, and the keys."""

from __future__ import annotations

import pytest

from serving_app.operations.calibrations import calibrate_model, set_human_threshold
from serving_app.queries.calibrations import confidence_view
from serving_app.queries.escalations import to_check_of
from tests.browser import looks_right, looks_right_everywhere
from tests.serving_app.judged import asked, deployed, judged_evaluation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def in_use(trained, actor, project):
    """A calibrated model in use, its threshold set, with traffic and answers that wait."""
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import TrafficBucket

    now = timezone.now()
    deployment = deployed(trained("Clauses"), activated_at=now - timedelta(days=5))
    calibrate_model(actor=actor, evaluation=judged_evaluation(deployment.trained_model))
    TrafficBucket.objects.create(
        project=project, deployment_ref=deployment.pk, model_name="x", start_at=now - timedelta(days=2), requests=1_400
    )
    threshold = confidence_view(deployment).choice_for(0.8).threshold
    set_human_threshold(actor=actor, deployment=deployment, ask_human_below=threshold)
    long = "The tenant may sublet with the landlord's consent, which must not be unreasonably withheld. " * 4
    asked(project, 1, question_text=long, input={"messages": [{"role": "user", "content": long}]}, output="Sublease",
          verdict="bad", correction="Assignment")  # fmt: skip
    asked(project, 2, calibrated=0.12)
    asked(project, 3, calibrated=None, confidence=None)
    return deployment


def test_both_pages_look_right_at_every_width_and_in_both_schemes(browse, live_server, project, owner, in_use):
    page = browse(1280, user=owner)
    page.goto(f"{live_server.url}/p/{project.slug}/use/confidence?promise=85")
    looks_right_everywhere(page, "confidence")
    page.goto(f"{live_server.url}/p/{project.slug}/use/to-check")
    looks_right_everywhere(page, "to check")


def test_single_keys_work_through_the_queue(browse, live_server, project, reviewer, in_use):
    page = browse(390, user=reviewer)
    page.goto(f"{live_server.url}/p/{project.slug}/use/to-check")
    page.keyboard.press("s")
    page.wait_for_selector(f'input[value="request{2:019d}"]', state="attached")
    page.keyboard.press("a")
    page.wait_for_selector(f'input[value="request{3:019d}"]', state="attached")
    page.keyboard.press("c")
    page.keyboard.type("Termination a c s u")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(f'input[value="request{1:019d}"]', state="attached")
    assert [row.request_id for row in to_check_of(project)] == [f"request{1:019d}"]
    page.keyboard.press("u")
    page.wait_for_selector(f'input[value="request{3:019d}"]', state="attached")
    assert to_check_of(project).count() == 2
    looks_right(page, "to check after undo")
