"""What was denied or called wrong stays so, whatever happens at the same moment; and nothing waits for a cache."""

from __future__ import annotations

import time

import pytest

from tests.serving_app.test_caches import ALIKE, KEPT, entries_now

pytestmark = pytest.mark.django_db(transaction=True)


def new_entry(project, question: str, request_id: str):
    from serving_app.operations import caches

    return caches.NewEntry(project.pk, "m", "c", "e", question, b"\0<" * 4, {}, request_id)


def test_an_answer_called_wrong_while_it_was_being_embedded_is_not_kept(project):
    from serving_app.operations import caches

    caches._notice(project.pk, request_id="7" * 26)
    assert caches.keep_semantic_answer(entry=new_entry(project, KEPT, "7" * 26)) is None
    assert caches.keep_semantic_answer(entry=new_entry(project, KEPT, "6" * 26)) is not None


def test_a_denial_holds_for_the_same_question_kept_twice_at_once(project):
    from serving_app.models import SemanticEntry
    from serving_app.operations import caches

    kept = caches.keep_semantic_answer(entry=new_entry(project, KEPT, "7" * 26))
    other = caches.keep_semantic_answer(entry=new_entry(project, ALIKE, "6" * 26))
    SemanticEntry.objects.filter(pk=other.entry_id).update(question=KEPT)
    assert caches._deny([kept.entry_id]) == 2
    assert entries_now() == []


def test_notices_outlive_the_exact_answers_that_they_speak_of(project):
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import ForgetNotice
    from serving_app.operations import caches
    from serving_app.tasks import prune_log

    caches._notice(project.pk, request_id="7" * 26)
    for age, there in ((timedelta(minutes=30), True), (timedelta(minutes=62), False)):
        ForgetNotice.objects.update(at=timezone.now() - age)
        prune_log()
        assert ForgetNotice.objects.exists() is there


def test_news_that_a_caller_did_not_wait_for_is_read_by_the_next(project):
    import asyncio

    from serving_app.caching.exact import MemoryAnswers
    from serving_app.caching.news import Newsreader
    from serving_app.caching.semantic import Groups
    from serving_app.operations import caches

    class HungUpOnce(MemoryAnswers):
        tries = 0

        async def forget(self, project_id, *, key="", request_id=""):
            self.tries += 1
            if self.tries == 1:
                raise asyncio.CancelledError
            return ""

    answers = HungUpOnce()
    news = Newsreader(answers, Groups())
    caches._notice(project.pk, request_id="7" * 26)

    async def two_callers():
        with pytest.raises(asyncio.CancelledError):
            await news.catch_up()
        news.ring()
        assert await news.catch_up()

    asyncio.run(two_callers())
    assert answers.tries == 2


def test_a_second_clearing_within_seconds_is_heard_too(project):
    import asyncio

    from serving_app.caching.exact import MemoryAnswers
    from serving_app.caching.news import Newsreader
    from serving_app.caching.semantic import Groups
    from serving_app.operations import caches

    cleared = []

    class Noting(MemoryAnswers):
        async def clear(self, project_id=None):
            cleared.append(project_id)

    news = Newsreader(Noting(), Groups())

    async def look():
        news.ring()
        assert await news.catch_up()

    for times in (1, 2):
        caches._notice(project.pk)
        asyncio.run(look())
        assert cleared == [project.pk] * times
    asyncio.run(look())
    assert len(cleared) == 2, "and each is heard once"


def test_an_index_that_is_being_built_costs_a_hit_and_no_waiting():
    import numpy as np

    from finetune_engine.serve.semantic import packed
    from serving_app.caching.semantic import Group
    from serving_app.queries.caches import KeptQuestion

    vector, group = np.ones(4, np.float32) / 2, Group()
    group.add([KeptQuestion("1", "p", "m", "c", "e", KEPT, packed(vector))])
    with group._lock:
        began = time.perf_counter()
        assert group.match(KEPT, vector, 0.8) is None
        assert time.perf_counter() - began < 0.5
    assert group.match(KEPT, vector, 0.8) is not None


def test_after_three_late_embeddings_nobody_waits_for_a_while(monkeypatch):
    import asyncio

    from serving_app.caching.embedder import Embedder

    embedder, asked = Embedder(), []

    async def hangs(text, serving_id):
        asked.append(text)
        await asyncio.sleep(5)

    monkeypatch.setattr(embedder, "_first_there", hangs)

    async def five():
        for number in range(5):
            assert await embedder.look_up("text", "m", str(number)) is None

    asyncio.run(five())
    assert len(asked) == 3


def test_news_that_redis_could_not_take_is_told_to_it_again(project):
    import asyncio

    from serving_app.caching.exact import RedisAnswers
    from serving_app.caching.news import Newsreader
    from serving_app.caching.semantic import Groups
    from serving_app.operations import caches

    answers, was_away = RedisAnswers("redis://127.0.0.1:1/0"), []
    news = Newsreader(answers, Groups())
    caches._notice(project.pk, request_id="7" * 26)

    async def heard():
        news.ring()
        assert await news.catch_up()
        was_away.append(answers.is_away)

    asyncio.run(heard())
    assert (was_away, news._heard) == ([True], set())
