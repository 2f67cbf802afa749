"""What other processes did to kept answers, looked up at most once a second while anybody asks."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from logging import getLogger

from django.utils import timezone

from serving_app.caching.exact import Answers
from serving_app.caching.semantic import Groups
from serving_app.gateway.database import ask_database
from serving_app.operations.caches import announce_forgotten
from serving_app.queries.caches import Forgotten, News, cache_news

LOOK_AGAIN_SECONDS = 1.0
logger = getLogger(__name__)


class Newsreader:
    """Keeps the caches of this process in step with the database."""

    def __init__(self, answers: Answers, groups: Groups) -> None:
        self._answers = answers
        self._groups = groups
        self.forget_everything()

    def forget_everything(self) -> None:
        """As on the first day: what happened before is no news."""
        self._looked_at = float("-inf")
        self._since: datetime = timezone.now()
        self._heard: set[Forgotten] = set()

    def ring(self) -> None:
        """Something was changed in this process: look before the next question."""
        self._looked_at = float("-inf")

    async def catch_up(self) -> bool:
        """Look, unless somebody did within the last second. False when the database cannot be read: then nothing may
        be told, for it might have been denied."""
        if time.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
            return True
        self._looked_at, began = time.monotonic(), timezone.now()
        try:
            news = await ask_database(cache_news, self._since)
        except Exception as error:  # a front door: whatever the database's driver raises, the model can still be asked
            logger.warning("the news of the answer caches cannot be read: %s", error)
            self._looked_at = float("-inf")
            return False
        for notice in set(news.forgotten) - self._heard:
            await self._forget(notice)
        if news.gone or news.kept:  # in a thread: an index may have to be built anew
            await asyncio.to_thread(self._take, news)
        # Only now: a caller who hung up in between, or Redis being away, leaves the news to the next one.
        if not self._answers.is_away:
            self._since, self._heard = began, set(news.forgotten)
        return True

    def _take(self, news: News) -> None:
        self._groups.remove(news.gone)
        self._groups.add(news.kept)

    async def _forget(self, notice: Forgotten) -> None:
        if not notice.key and not notice.request_id:
            await self._answers.clear(notice.project_id)
            return
        key = await self._answers.forget(notice.project_id, key=notice.key, request_id=notice.request_id)
        if key and notice.request_id:
            # Only the process that told the answer knows its key; the others may hold an answer of their own under it.
            await ask_database(announce_forgotten, project_id=notice.project_id, key=key)
