"""Which deployment answers a question: the main one, or a trial that takes a share or listens along."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from logging import getLogger
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from serving_app.choices import DeploymentRole, Door
from serving_app.queries import Route, ServedModel
from web_kit.ids import new_id

if TYPE_CHECKING:
    from serving_app.gateway.answering import Question

MOST_SHADOWS = 8
"""Copies under way at once in one process. While so many are, further questions go without a copy."""

logger = getLogger(__name__)

_SHADOWS: WeakKeyDictionary[asyncio.AbstractEventLoop, set[asyncio.Task[None]]] = WeakKeyDictionary()


def chosen_model(route: Route, *, request_id: str, end_user: str = "") -> ServedModel:
    """Who answers this question. The same ``end_user`` always meets the same model while the share stays, and whoever met the
    trial still meets it when its share grows."""
    if route.trial is None or route.role != DeploymentRole.SPLIT:
        return route.main
    salt = route.trial.deployment_id or ""
    is_tried = share_of(end_user or request_id, salt) < route.share_percent / 100
    return route.trial if is_tried else route.main


def share_of(who: str, salt: str) -> float:
    """A number in 0..1 that is always the same for this name and salt, and even over many names."""
    digest = hashlib.blake2b(f"{salt}\n{who}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def answered(question: Question, body: dict[str, Any]) -> None:
    """Called after an answer was given: has the shadow, if there is one, answer the same question for the log alone.
    Returns at once and never raises."""
    shadow = question.model.shadow
    if shadow is None or share_of(question.request_id, shadow.serving_id) >= question.model.shadow_percent / 100:
        return
    under_way = _SHADOWS.setdefault(asyncio.get_running_loop(), set())
    if len(under_way) >= MOST_SHADOWS:
        return
    task = asyncio.get_running_loop().create_task(_answer_along(_copy(question, shadow)), name="shadow")
    under_way.add(task)
    task.add_done_callback(under_way.discard)


def _copy(question: Question, shadow: ServedModel) -> Question:
    body = {name: value for name, value in question.body.items() if name not in ("stream", "stream_options")}
    return replace(
        question,
        door=Door.SHADOW,
        request=replace(question.request, stream=False, include_usage=False),
        body=body | {"model": shadow.serving_id},
        model=shadow,
        shadow_of=question.request_id,
        settles_tokens=False,
        request_id=new_id(),
        at=datetime.now(UTC),
        began=time.perf_counter(),
    )


async def _answer_along(question: Question) -> None:
    from serving_app.gateway.answering import answer

    try:
        await answer(question)
    except Exception as error:  # the log has it; nobody waits for this answer
        logger.info("a shadow gave no answer: %s", type(error).__name__)
