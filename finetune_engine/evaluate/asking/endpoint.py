"""A model at an OpenAI-compatible address that answers: several questions at a time, repeated while trouble may pass."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import openai

from finetune_engine.errors import EngineError, UserError
from finetune_engine.evaluate.asking.asker import Answer, Messages, ReferenceCost
from finetune_engine.evaluate.asking.remembered import Batch, Watch, is_stopping, raise_stopped, remembered
from finetune_engine.evaluate.asking.store import AnswerStore, key_of
from finetune_engine.evaluate.asking.wording import Wording
from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.settings import Endpoint
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.train.provider.client import explained, guarded_client, may_pass, pause_seconds

AT_ONCE = 4
GLANCE_SECONDS = 0.2
MOST_CUTS = 8
MOST_UNREADABLE = 4
NO_KEY = "none"
"""What the client sends where the endpoint needs no key."""
REFUSED = frozenset({400, 413, 422})
TOO_LONG = ("context_length", "context length", "too many tokens", "maximum context", "too long")


@dataclass(frozen=True)
class Patience:
    """How long to wait for one answer, before the second try, and for trouble to pass at all (seconds)."""

    answer_seconds: float = 120.0
    first_pause_seconds: float = 1.0
    patience_seconds: float = 300.0


class Unreadable(Exception):
    """What came back is no chat completion."""


class _Ended(Exception):
    """The run ends: a worker leaves its question."""


class Refused(Exception):
    """The endpoint takes this question under no circumstances."""


@dataclass
class _Manner:
    """What this endpoint turned out to accept; learnt from its refusals, so that each is met once."""

    limit_name: str = "max_tokens"
    has_temperature: bool = True
    changes: threading.Lock = field(default_factory=threading.Lock)

    def parameters(self, max_new_tokens: int) -> dict[str, Any]:
        told: dict[str, Any] = {self.limit_name: max_new_tokens}
        return told | ({"temperature": 0.0} if self.has_temperature else {})

    def learn(self, error: openai.APIStatusError, sent: dict[str, Any]) -> bool:
        """Whether to try again because the refusal was about a parameter that can be said otherwise."""
        words = f"{error.param or ''} {error}"
        with self.changes:
            if "max_tokens" in sent and "max_completion_tokens" in words:
                self.limit_name = "max_completion_tokens"
                return True
            if "temperature" in sent and "temperature" in words:
                self.has_temperature = False
                return True
        return False


class EndpointAsker:
    """Asks an endpoint through the answer store. ``asked_over_wire`` counts the answers that really came from there."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        store: AnswerStore,
        watch: Watch,
        examples: Sequence[TestCase] = (),
        patience: Patience | None = None,
    ) -> None:
        if spec.endpoint is None:
            raise ValueError(f"{spec.key} has no endpoint")
        self._spec, self._endpoint = spec, spec.endpoint
        self._store, self._watch = store, watch
        self._patience = patience or Patience()
        self._wording = Wording(spec.prompt, examples)
        self._manner = _Manner()
        self._client = guarded_client(
            self._endpoint, _key_of(spec, self._endpoint), answer_seconds=self._patience.answer_seconds
        )
        self._troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._has_warned = self._has_answered = False
        self._ending = threading.Event()
        self.asked_over_wire = 0
        self.shortened = 0

    @property
    def spec(self) -> ModelSpec:
        """Which model this is."""
        return self._spec

    @property
    def digest(self) -> str:
        """SHA-256 over address, model name and what is put around each question. What happens behind the address stays
        unknown: a provider may change a model without changing its name."""
        parts = [self._endpoint.base_url, self._endpoint.model, self._wording.digest]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def can_score(self) -> bool:
        """An endpoint gives no likelihood of a text that it did not write."""
        return False

    @property
    def vocabulary(self) -> int | None:
        """An endpoint does not tell."""
        return None

    def answer(self, questions: Sequence[Messages], *, max_new_tokens: int) -> list[Answer]:
        """One greedy answer to each question.

        A question that the endpoint refuses (a content filter, an empty text) counts as answered with nothing, with a
        warning; when it has never answered one, that is an error. Raises UserError ``endpoint_failed`` naming model and
        address when it cannot be reached or keeps failing; what was answered stays in the store. Raises ports.Stopped.
        """
        asked = [self._wording.put(question) for question in questions]
        where = {"base_url": self._endpoint.base_url, "name": self._endpoint.model}
        keys = [
            key_of({"kind": "answer", "endpoint": where, "messages": turns, "max_new_tokens": max_new_tokens})
            for turns in asked
        ]
        refused: dict[bytes, str] = {}

        def ask(rows: list[int], keep: Callable[[Batch], None]) -> None:
            for row, answer, words in self._each(asked, rows, max_new_tokens):
                if answer is None:
                    refused[keys[row]] = words
                    continue
                self.asked_over_wire += 1
                keep([(row, asdict(answer))])
            if refused and not self._has_answered and self.asked_over_wire == 0 and len(refused) == len(set(keys)):
                raise self._failed(next(iter(refused.values())))

        values = remembered(self._store, self._watch, keys, ask)
        self._has_answered = self._has_answered or any(value is not None for value in values)
        if refused:
            self._warn(
                "questions_refused",
                f"{self._spec.name} refused {len(refused)} of {len(keys)} questions; they count as empty answers. It said: "
                f"{next(iter(refused.values()))}",
            )
        return [Answer("", "stop") if value is None else Answer(**value) for value in values]

    def cost_of(self, questions: Sequence[Messages], texts: Sequence[str]) -> list[ReferenceCost]:
        """Not to be had."""
        raise self._no_scores()

    def choice_loglikelihoods(
        self, questions: Sequence[Messages], choices: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Not to be had."""
        raise self._no_scores()

    def text_cost(self, texts: Sequence[str]) -> list[ReferenceCost]:
        """Not to be had."""
        raise self._no_scores()

    def timed(self, question: Messages, *, max_new_tokens: int) -> tuple[Answer, float]:
        """One answer asked afresh, past the store, and the seconds of the call that succeeded.

        Raises as ``answer`` does, and UserError ``question_refused``.
        """
        turns, seconds = self._wording.put(question), 0.0

        def ask(turns: Sequence[Any], max_new_tokens: int) -> Answer:
            nonlocal seconds
            began = time.monotonic()
            answer = self._ask_once(turns, max_new_tokens)
            seconds = time.monotonic() - began
            return answer

        ((_, answer, words),) = self._each([turns], [0], max_new_tokens, ask)
        if answer is None:
            raise UserError("question_refused", words, reason="provider_error")
        return answer, seconds

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _each(
        self,
        asked: Sequence[Any],
        rows: Sequence[int],
        max_new_tokens: int,
        ask: Callable[[Sequence[Any], int], Answer] | None = None,
    ) -> Iterator[tuple[int, Answer | None, str]]:
        """``(row, answer, "")`` as they come, or ``(row, None, why)`` for a question that was refused. Raises ports.Stopped."""
        self._ending.clear()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting: dict[Future[Answer], int] = {}
            left = iter(rows)
            try:
                while True:
                    for row in islice(left, max(0, 2 * AT_ONCE - len(waiting))):
                        waiting[pool.submit(self._patiently, asked[row], max_new_tokens, ask)] = row
                    if not waiting:
                        return
                    done, _ = wait(waiting, timeout=GLANCE_SECONDS, return_when=FIRST_COMPLETED)
                    self._tell_troubles()
                    if is_stopping(self._watch.run):
                        raise_stopped(self._watch.run)
                    for future in done:
                        yield self._outcome(waiting.pop(future), future)
            finally:
                self._ending.set()
                for future in waiting:
                    future.cancel()

    def _outcome(self, row: int, future: Future[Answer]) -> tuple[int, Answer | None, str]:
        try:
            return row, future.result(), ""
        except Refused as error:
            return row, None, str(error)
        except (openai.OpenAIError, Unreadable) as error:
            raise self._failed(_words(error)) from error

    def _patiently(
        self,
        turns: list[dict[str, Any]],
        max_new_tokens: int,
        ask: Callable[[Sequence[Any], int], Answer] | None = None,
    ) -> Answer:
        """One answer, tried again while trouble may pass. Runs in a worker thread."""
        ask = ask or self._ask_once
        began, failures, cuts = time.monotonic(), 0, 0
        while True:
            if self._ending.is_set():
                raise _Ended
            sent = self._manner.parameters(max_new_tokens)
            try:
                return ask(turns, max_new_tokens)
            except (openai.OpenAIError, Unreadable) as error:
                if isinstance(error, openai.APIStatusError) and not may_pass(error):
                    if self._manner.learn(error, sent):
                        continue
                    if _is_too_long(error) and cuts < MOST_CUTS:
                        turns, cuts = without_oldest(turns), cuts + 1
                        self.shortened += cuts == 1
                        continue
                    if error.status_code in REFUSED:
                        raise Refused(str(explained(error))) from error
                    raise
                failures += 1
                is_hopeless = isinstance(error, Unreadable) and failures >= MOST_UNREADABLE
                if is_hopeless or time.monotonic() - began > self._patience.patience_seconds:
                    raise
                self._pause(error, failures)

    def _pause(self, error: openai.OpenAIError | Unreadable, failures: int) -> None:
        first = self._patience.first_pause_seconds
        known = error if isinstance(error, openai.OpenAIError) else openai.OpenAIError(str(error))
        if failures == 1:
            self._troubles.put(_words(error))
        if self._ending.wait(min(pause_seconds(known, failures, first), self._patience.patience_seconds)):
            raise _Ended

    def _ask_once(self, turns: Sequence[Any], max_new_tokens: int) -> Answer:
        parameters = self._manner.parameters(max_new_tokens)
        try:
            messages: Any = _spoken(turns)
            said: Any = self._client.chat.completions.create(
                model=self._endpoint.model, messages=messages, **parameters
            )
            choice = said.choices[0]
            usage = said.usage
            return Answer(
                text=str(choice.message.content or ""),
                finish_reason="length" if choice.finish_reason == "length" else "stop",
                prompt_tokens=_count(usage, "prompt_tokens"),
                completion_tokens=_count(usage, "completion_tokens"),
            )
        except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            raise Unreadable("Its answer is not in the shape of a chat completion.") from error

    def _tell_troubles(self) -> None:
        while not self._troubles.empty():
            words = self._troubles.get()
            if not self._has_warned:
                self._has_warned = True
                self._warn("endpoint_trouble", f"{self._spec.name}: {words} Trying again for a while.")

    def _warn(self, code: str, message: str) -> None:
        self._watch.run.emit("warn", level="warn", code=code, message=message, model=self._spec.key)

    def _failed(self, words: str) -> UserError:
        return UserError(
            "endpoint_failed",
            f"The model {self._endpoint.model} at {self._endpoint.base_url} could not be asked: {words} What it answered so "
            "far is kept: start the evaluation again when the endpoint works, or leave this model out.",
            "models.endpoint",
            reason="provider_error",
        )

    def _no_scores(self) -> EngineError:
        return EngineError("internal", f"{self._spec.name} is at an endpoint, which gives no likelihoods.")


def without_oldest(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without the first half of the longest one."""
    longest = max(range(len(turns)), key=lambda at: len(str(turns[at].get("content") or "")))
    text = str(turns[longest].get("content") or "")
    return [
        {**turn, "content": text[(len(text) + 1) // 2 :]} if at == longest else turn for at, turn in enumerate(turns)
    ]


def _spoken(turns: Sequence[Any]) -> list[dict[str, Any]]:
    names = ("role", "content", "name", "tool_calls", "tool_call_id")
    return [{name: turn[name] for name in names if turn.get(name) is not None or name == "content"} for turn in turns]


def _key_of(spec: ModelSpec, endpoint: Endpoint) -> str:
    if endpoint.key_variable and endpoint.key is None:
        raise UserError(
            "no_endpoint_key",
            f"There is no key for {spec.name}: the environment variable {endpoint.key_variable} is not set.",
            "models.endpoint.key_variable",
            reason="bad_config",
        )
    return endpoint.key or NO_KEY


def _count(usage: Any, name: str) -> int | None:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_too_long(error: openai.APIStatusError) -> bool:
    words = f"{error.code or ''} {error}".lower()
    return error.status_code == 413 or (error.status_code == 400 and any(mark in words for mark in TOO_LONG))


def _words(error: openai.OpenAIError | Unreadable) -> str:
    return str(error) if isinstance(error, Unreadable) else str(explained(error))
