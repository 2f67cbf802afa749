"""Answers to questions that mean the same, as one process sees them: an index of the kept questions, the rows behind
it in the database. Whatever fails here costs a hit, never an answer."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from logging import getLogger
from typing import TYPE_CHECKING

from prometheus_client import Counter

from finetune_engine.serve.semantic import DEFAULT_THRESHOLD, NeighbourIndex, refusal, unpacked
from finetune_engine.serve.semantic.index import Vector
from serving_app.caching.exact import plain
from serving_app.queries.caches import KeptQuestion

if TYPE_CHECKING:
    from serving_app.gateway.answering import Question

LONGEST_QUESTION = 800
"""Characters. The embedder reads 256 tokens: of a longer text it would not see the end."""
CANDIDATES = 5
BUSY_SECONDS = 0.005
GROUPS = 200
_NOT_CONTEXT = ("model", "messages", "stream", "include_usage")
REFUSED = Counter(
    "model_semantic_cache_refused_total", "Alike questions that a guard held to differ in meaning.", ["guard"]
)
logger = getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a question's like may be found: never in another project, model or context. The embedder comes on top."""

    project_id: str
    model_identity: str
    context_sha256: str


@dataclass(frozen=True)
class Match:
    """A kept question that means the same."""

    entry_id: str
    question: str
    similarity: float


def place_of(question: Question) -> Place | None:
    """None for a question that the semantic cache leaves alone: more than one turn, sampling, tools, forms of answer,
    log-probabilities, or a long text."""
    request, settings = question.request, question.model.settings
    messages = request.messages or ()
    if not settings.uses_semantic_cache or not 1 <= len(messages) <= 2 or messages[-1].role != "user":
        return None
    if len(messages) == 2 and messages[0].role != "system":
        return None
    if request.temperature != 0 or request.n != 1 or request.top_logprobs is not None:
        return None
    if request.tools or request.answer_schema is not None or request.must_call:
        return None
    text = messages[-1].content
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_QUESTION:
        return None
    return Place(question.actor.project.pk, question.model.identity, _context(question))


def _context(question: Question) -> str:
    """sha256 over the system text and every parameter."""
    request = question.request
    values = {
        field.name: plain(getattr(request, field.name)) for field in fields(request) if field.name not in _NOT_CONTEXT
    }
    values["before"] = [plain(message) for message in (request.messages or ())[:-1]]
    return hashlib.sha256(
        json.dumps(values, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ).hexdigest()


class Group:
    """The kept questions of one place and embedder."""

    def __init__(self) -> None:
        self._index: NeighbourIndex | None = None
        self._questions: dict[int, tuple[str, str]] = {}
        self._keys: dict[str, int] = {}
        self._next = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, found: Iterable[KeptQuestion]) -> None:
        """Take questions in; those that are there already and those with an unreadable vector are passed over."""
        with self._lock:
            new: list[tuple[KeptQuestion, Vector]] = []
            for one in found:
                if one.entry_id not in self._keys:
                    try:
                        new.append((one, unpacked(one.vector)))
                    except ValueError:
                        logger.warning("the vector of the semantic entry %s cannot be read", one.entry_id)
            if not new:
                return
            if self._index is None:
                self._index = NeighbourIndex(len(new[0][1]))
            new = [(one, vector) for one, vector in new if len(vector) == self._index.width]
            keys = range(self._next, self._next + len(new))
            self._next += len(new)
            for key, (one, _) in zip(keys, new, strict=True):
                self._questions[key] = one.entry_id, one.question
                self._keys[one.entry_id] = key
            self._index.add(list(keys), [vector for _, vector in new])

    def remove(self, entry_ids: Iterable[str]) -> None:
        """Take questions out."""
        with self._lock:
            keys = [self._keys.pop(entry_id) for entry_id in entry_ids if entry_id in self._keys]
            for key in keys:
                self._questions.pop(key, None)
            if keys and self._index is not None:
                self._index.remove(keys)

    def match(self, text: str, vector: Vector, threshold: float) -> Match | None:
        """The likest kept question from ``threshold`` that no guard refuses."""
        if self._index is None or len(vector) != self._index.width:
            return None
        if not self._lock.acquire(timeout=BUSY_SECONDS):  # the event loop does not wait while a graph is built
            return None
        try:
            neighbours = self._index.nearest(vector, CANDIDATES)
        finally:
            self._lock.release()
        for neighbour in neighbours:
            if neighbour.similarity < threshold:
                return None
            entry = self._questions.get(neighbour.key)
            if entry is None:
                continue
            guard = refusal(text, entry[1])
            if guard is None:
                return Match(entry[0], entry[1], min(1.0, neighbour.similarity))
            REFUSED.labels(guard).inc()
        return None


class Groups:
    """The groups that this process has loaded; the one unused longest leaves first."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Place, dict[str, Group]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, place: Place) -> dict[str, Group] | None:
        """By embedder; None when the place was not loaded yet."""
        with self._lock:
            found = self._loaded.get(place)
            if found is not None:
                self._loaded.move_to_end(place)
            return found

    def load(self, place: Place, entries: Mapping[str, list[KeptQuestion]]) -> None:
        """Take in the rows of a place, by embedder."""
        groups: dict[str, Group] = {}
        for embedder, found in entries.items():
            groups[embedder] = Group()
            groups[embedder].add(found)
        with self._lock:
            self._loaded[place] = groups
            if len(self._loaded) > GROUPS:
                self._loaded.popitem(last=False)

    def add(self, entries: Iterable[KeptQuestion]) -> None:
        """New rows, of any place; those of places that are not loaded are passed over."""
        for one in entries:
            with self._lock:
                groups = self._loaded.get(Place(one.project_id, one.model_identity, one.context_sha256))
                group = groups.setdefault(one.embedder, Group()) if groups is not None else None
            if group is not None:
                group.add([one])

    def remove(self, entry_ids: list[str]) -> None:
        """Rows that are not told any more."""
        with self._lock:
            every = [group for groups in self._loaded.values() for group in groups.values()]
        for group in every:
            group.remove(entry_ids)

    def clear(self) -> None:
        """As on the first day."""
        with self._lock:
            self._loaded.clear()


def threshold_of(question: Question) -> float:
    """The least cosine for this question's deployment."""
    given = question.model.settings.semantic_threshold
    return DEFAULT_THRESHOLD if given is None else given
