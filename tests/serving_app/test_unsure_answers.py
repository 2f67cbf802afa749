"""From a question through the gateway to a person: an answer that the model is not sure enough of waits to be checked."""

from __future__ import annotations

import pytest

from serving_app.operations.calibrations import set_human_threshold
from serving_app.queries.escalations import to_check_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def logged() -> None:
    from serving_app.gateway.database import prediction_log

    assert prediction_log.flush()


def test_an_unsure_answer_is_marked_for_the_caller_and_waits(inference, deployed_base, actor, project, ask):
    set_human_threshold(actor=actor, deployment=deployed_base, ask_human_below=1.0)
    body = ask("/predict", {"text": "What is a lease?", "temperature": 0, "max_tokens": 5}).json()
    assert body["needs_human"] is True
    logged()
    waiting = to_check_of(project).get()
    assert waiting.request_id == body["request_id"]
    assert waiting.output == body["prediction"]


def test_a_sure_answer_waits_for_nobody(inference, deployed_base, actor, project, ask):
    set_human_threshold(actor=actor, deployment=deployed_base, ask_human_below=0.0)
    body = ask("/predict", {"text": "What is a lease?", "temperature": 0, "max_tokens": 5}).json()
    assert body["needs_human"] is False
    logged()
    assert not to_check_of(project).exists()
