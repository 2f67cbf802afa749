"""The embedding of a question, from whichever embedder the replicas have."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from logging import getLogger

from prometheus_client import Counter

from finetune_engine.errors import UserError
from finetune_engine.serve.semantic import unit
from finetune_engine.serve.semantic.index import Vector
from serving_app.gateway.forward import asked

MINILM = "embed:minilm"
HIDDEN = "hidden:"
LOOK_UP_SECONDS = 0.15
KEEP_SECONDS = 20.0
ASK_AGAIN_SECONDS = 60.0
REMEMBERED = 1_000
MOST_LATE = 3
REST_SECONDS = 10.0
UNAVAILABLE = Counter(
    "model_semantic_cache_unavailable_total", "Questions without a look-up in the semantic cache.", ["reason"]
)
logger = getLogger(__name__)


class Embedder:
    """Asks for ``embed:minilm``, else for the hidden states of the model that is asked, and remembers for a minute
    what is not there. The vectors of questions that are being answered are kept until their answers come."""

    def __init__(self) -> None:
        self._missing: dict[str, float] = {}
        self._made: OrderedDict[str, tuple[str, Vector]] = OrderedDict()
        self._late = 0
        self._rests_until = 0.0

    def name_for(self, serving_id: str) -> str | None:
        """The embedder to ask for a question to this model; None when none is there."""
        now = time.monotonic()
        names = (MINILM, f"{HIDDEN}{serving_id}")
        return next((name for name in names if self._missing.get(name, 0.0) <= now), None)

    async def look_up(self, text: str, serving_id: str, request_id: str) -> tuple[str, Vector] | None:
        """``(embedder, vector of length 1)`` while the caller waits: at most 150 ms, else None.
        After three in a row that were late nobody waits for ten seconds."""
        if time.monotonic() < self._rests_until:
            UNAVAILABLE.labels("resting").inc()
            return None
        began = time.monotonic()
        made = await self._within(LOOK_UP_SECONDS, text, serving_id)
        self._late = self._late + 1 if made is None and time.monotonic() - began >= LOOK_UP_SECONDS else 0
        if self._late >= MOST_LATE:
            self._late, self._rests_until = 0, time.monotonic() + REST_SECONDS
        if made is not None:
            self._made[request_id] = made
            if len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return made

    def rested(self) -> None:
        """Wait for it again (for tests)."""
        self._late, self._rests_until = 0, 0.0

    async def for_keeping(self, text: str, serving_id: str, request_id: str) -> tuple[str, Vector] | None:
        """The same when nobody waits; the vector of the look-up, if there was one."""
        made = self._made.pop(request_id, None)
        return made or await self._within(KEEP_SECONDS, text, serving_id)

    async def _within(self, seconds: float, text: str, serving_id: str) -> tuple[str, Vector] | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._first_there(text, serving_id)
        except TimeoutError:
            UNAVAILABLE.labels("timeout").inc()
        except (UserError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            UNAVAILABLE.labels("error").inc()
            logger.info("no embedding for the semantic cache: %s", error)
        return None

    async def _first_there(self, text: str, serving_id: str) -> tuple[str, Vector] | None:
        while (name := self.name_for(serving_id)) is not None:
            try:
                async with asked("/v1/embeddings", {"model": name, "input": [text]}, serving_id) as response:
                    body = await response.whole_body()
                return name, unit(body["data"][0]["embedding"])
            except UserError as error:
                if error.status in (429, 503):  # busy or starting: it may well be there
                    raise
                self._missing[name] = time.monotonic() + ASK_AGAIN_SECONDS
        UNAVAILABLE.labels("no_embedder").inc()
        return None
