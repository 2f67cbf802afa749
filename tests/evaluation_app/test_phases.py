"""What a running evaluation says that it does."""

from __future__ import annotations

import pytest
from django.utils import timezone

from evaluation_app.queries.phases import phase_words
from work_kit.models import Job, JobEvent
from work_kit.stream import look, messages_between

pytestmark = pytest.mark.django_db


@pytest.fixture
def begun(evaluation):
    """An attempt that asks the trained model odd questions."""
    Job.objects.filter(pk=evaluation.pk).update(state="running", attempt=1, phase="trying odd inputs")
    data = {"phase": "trying odd inputs", "model": "tuned"}
    JobEvent.objects.create(job=evaluation.work, attempt=1, seq=1, kind="phase", data=data, at=timezone.now())
    return evaluation


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"phase": "loading model", "model": "base"}, "Loading SmolLM"),
        ({"phase": "evaluating", "model": "tuned"}, "Clauses answers the cases"),
        ({"phase": "comparing"}, "Comparing the models"),
        ({"phase": "something new"}, ""),
        ({"phase": "evaluating", "model": "unheard of"}, "a model answers the cases"),
    ],
)
def test_a_phase_names_the_model_in_plain_words(evaluation, data, words) -> None:
    evaluation.contenders.filter(key="base").update(name="SmolLM")
    assert phase_words(evaluation.pk, data) == words


def test_the_stream_says_it_too(begun) -> None:
    told = [message.data.get("label") for message in look(begun.pk, 0).events if message.event == "phase"]
    assert told == ["Clauses answers mistyped, reworded and hostile questions"]
    last = look(begun.pk, 0).cursor
    older = messages_between(begun.pk, 0, last, 10)
    assert "hostile questions" in str(older[-1].data)


def test_a_reloaded_page_says_the_same(begun, client_for, viewer, project) -> None:
    text = client_for(viewer).get(f"/p/{project.slug}/results/{begun.pk}").content.decode()
    assert "Clauses answers mistyped, reworded and hostile questions" in text


def test_a_new_attempt_does_not_say_what_the_last_one_did(begun, client_for, viewer, project) -> None:
    Job.objects.filter(pk=begun.pk).update(state="queued", attempt=2, phase="waiting")
    text = client_for(viewer).get(f"/p/{project.slug}/results/{begun.pk}").content.decode()
    assert "hostile questions" not in text.split('data-live="log"')[0]
