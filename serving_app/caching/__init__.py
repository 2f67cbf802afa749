"""Answers that need not be written again. The gateway asks ``kept_answer`` before a replica and hands every fresh
answer to ``keep_answer``; neither ever fails a question: when a cache is away, the model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from logging import getLogger
from typing import TYPE_CHECKING, Any

from django.conf import settings

from finetune_engine.serve.semantic import packed
from serving_app.caching.embedder import Embedder
from serving_app.caching.exact import Answers, MemoryAnswers, RedisAnswers, exact_key
from serving_app.caching.kept import Found, Kept
from serving_app.caching.news import Newsreader
from serving_app.caching.semantic import Groups, Match, Place, place_of, threshold_of
from serving_app.choices import CacheKind
from serving_app.gateway.database import ask_database
from serving_app.operations.caches import NewEntry, keep_semantic_answer, record_serving, trim_entries
from serving_app.queries.caches import answer_to_tell, kept_questions

if TYPE_CHECKING:
    from serving_app.gateway.answering import Question

__all__ = ["Found", "Kept", "answers", "clear", "exact_key", "keep_answer", "kept_answer", "ring", "settled"]

TRIM_EVERY = 50
MOST_IN_BACKGROUND = 200
logger = getLogger(__name__)

answers: Answers = RedisAnswers(settings.REDIS_URL) if settings.ANSWER_CACHE == "redis" else MemoryAnswers()
_groups = Groups()
_embedder = Embedder()
_news = Newsreader(answers, _groups)
_background: set[asyncio.Task[None]] = set()
_loading: set[Place] = set()
_kept_so_far = 0


async def kept_answer(question: Question) -> Found | None:
    """The answer that was given to this question, or to one that means the same; None when there is none to tell."""
    key = exact_key(question) if question.model.settings.uses_exact_cache else None
    place = place_of(question)
    if (key is None and place is None) or not await _news.catch_up():
        return None
    project_id = question.actor.project.pk
    if key and (kept := await answers.get(project_id, key)) is not None:
        await answers.told(project_id, key, question.request_id)
        return Found(kept, CacheKind.EXACT)
    try:
        return await _alike(question, place) if place is not None else None
    except Exception:  # a front door: the model can always be asked instead
        logger.exception("the semantic cache failed; the model is asked")
        return None


async def keep_answer(question: Question, kept: Kept) -> None:
    """Remember a fresh, complete answer, if it is one that may be told again. The semantic cache does so behind the
    answer's back."""
    if not kept.is_whole:
        return
    project_id = question.actor.project.pk
    if question.model.settings.uses_exact_cache and (key := exact_key(question)):
        await answers.put(project_id, key, kept)
        await answers.told(project_id, key, question.request_id)
    if (place := place_of(question)) is not None and len(_background) < MOST_IN_BACKGROUND:
        _in_background(_keep_alike(question, place, kept))


def ring() -> None:
    """Something was denied or cleared in this process: it holds from the next question on. Other processes hear
    within a second."""
    _news.ring()


def clear() -> None:
    """Forget everything that this process holds in memory (for tests)."""
    if isinstance(answers, MemoryAnswers):
        answers.forget_everything()
    _groups.clear()
    _loading.clear()
    _embedder.rested()
    _news.forget_everything()


async def settled() -> None:
    """Wait until everything that was begun in the background of this event loop is done (for tests)."""
    here = asyncio.get_running_loop()
    while waiting := [task for task in _background if task.get_loop() is here]:
        await asyncio.gather(*waiting, return_exceptions=True)


async def _alike(question: Question, place: Place) -> Found | None:
    groups = _groups.of(place)
    if groups is None:
        _load_soon(place)
        return None
    name = _embedder.name_for(question.model.serving_id)
    if name is None or not groups.get(name):
        return None
    text = question.asked_last
    made = await _embedder.look_up(text, question.model.serving_id, question.request_id)
    group = groups.get(made[0]) if made else None
    match = group.match(text, made[1], threshold_of(question)) if made and group else None
    if match is None:
        return None
    answer = await ask_database(answer_to_tell, match.entry_id)
    if answer is None:  # denied or ended since the last look
        await asyncio.to_thread(_groups.remove, [match.entry_id])
        return None
    _in_background(_note(question, match))  # never left out: a bad word finds the entry by it
    return Found(Kept.from_dict(answer), CacheKind.SEMANTIC, match.entry_id, match.similarity)


def _load_soon(place: Place) -> None:
    if place not in _loading:
        _loading.add(place)
        _in_background(_load(place))


async def _load(place: Place) -> None:
    try:
        found = await ask_database(kept_questions, place.project_id, place.model_identity, place.context_sha256)
        await asyncio.get_running_loop().run_in_executor(None, _groups.load, place, found)
    finally:
        _loading.discard(place)


async def _keep_alike(question: Question, place: Place, kept: Kept) -> None:
    global _kept_so_far
    text = question.asked_last
    made = await _embedder.for_keeping(text, question.model.serving_id, question.request_id)
    if made is None:
        return
    entry = NewEntry(
        project_id=place.project_id,
        model_identity=place.model_identity,
        context_sha256=place.context_sha256,
        embedder=made[0],
        question=text,
        vector=packed(made[1]),
        answer=kept.as_dict(),
        request_id=question.request_id,
    )
    new = await ask_database(keep_semantic_answer, entry=entry)
    if new is not None:
        await asyncio.to_thread(_groups.add, [new])
    _kept_so_far += 1
    if _kept_so_far % TRIM_EVERY == 0:
        await ask_database(trim_entries, project_id=place.project_id, model_identity=place.model_identity)


async def _note(question: Question, match: Match) -> None:
    await ask_database(
        record_serving,
        project_id=question.actor.project.pk,
        entry_id=match.entry_id,
        request_id=question.request_id,
        asked=question.asked_last,
        kept_question=match.question,
        similarity=match.similarity,
    )


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(_safely(work))
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _safely(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # the front door of work that nobody waits for
        logger.exception("the semantic cache could not finish its work")
