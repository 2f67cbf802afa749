"""Requests in line for a model, and what happens when its memory runs out."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.answer_reader import AnswerReader, reader_of
from finetune_engine.serve.backends.models import ModelFiles
from finetune_engine.serve.exchange import CompletionRequest, Delta, Served, Tell, Usage
from finetune_engine.serve.live_row import LiveRow
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import LoadedModel

logger = logging.getLogger(__name__)

T = TypeVar("T")

TELL_SECONDS = 0.02
"""A stream is told at most this often: a reader sees no difference, and a piece of text costs more to send than to write."""


@dataclass(eq=False)
class Ticket:
    """One request in line."""

    request: CompletionRequest
    files: ModelFiles
    cancelled: threading.Event
    tell: Tell
    rows: list[LiveRow] = field(default_factory=list)
    template_sha256: str | None = None
    told_at: float = 0.0
    reader: AnswerReader | None = None

    def read(self, loaded: LoadedModel) -> None:
        """Make its rows. Raises UserError when a prompt does not fit the model."""
        rows = rows_of(self.request, loaded)
        for row in rows:
            row.owner = self
        self.template_sha256 = loaded.template_sha256
        self.reader = reader_of(self.request, loaded, rows[0].writing.prompt)
        self.rows = rows

    @property
    def is_written(self) -> bool:
        """Whether every choice has ended."""
        return not any(row.is_going for row in self.rows)

    @property
    def problem(self) -> Exception | None:
        """What ended one of its choices before its time."""
        return next((row.problem for row in self.rows if row.problem is not None), None)

    def tell_news(self, now: float) -> None:
        """Tell what was written. The first piece of a choice goes out at once; the rest of a stream now and then, the rest
        of a whole answer at its end."""
        is_due = self.request.stream and now - self.told_at >= TELL_SECONDS
        news = [row.tell() for row in self.rows if is_due or not row.has_begun or self.is_written]
        try:
            pieces = [self.reader.read(delta) if self.reader else delta for delta in news if delta is not None]
        except Exception as problem:  # a model may write what no reader thought of: its caller is told, nobody else
            logger.exception("an answer could not be read")
            self.rows[0].problem = explained(problem)
            return
        if pieces:
            self.told_at = now
            self.tell(pieces)

    def finish(self) -> None:
        """Tell the rest and the usage, and close."""
        if self.problem is None:
            self.tell_news(time.monotonic())
        if self.problem is not None:
            self.tell(self.problem)
            return
        read = sum(len(row.writing.prompt) for row in self.rows[:: self.request.n])
        written = sum(len(row.writing.ids) for row in self.rows)
        self.tell([Delta(usage=Usage(read, written), served=Served(self.files.digest, self.template_sha256))])
        self.tell(None)


@dataclass(eq=False)
class Errand(Generic[T]):
    """Something else to do with a model: load it, look at its hidden states."""

    files: ModelFiles
    act: Callable[[LoadedModel], T]
    done: Future[T] = field(default_factory=Future)

    def run(self, loaded: LoadedModel) -> None:
        """Do it; what comes of it, an error included, goes to ``done``."""
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            self.done.set_result(self.act(loaded))
        except Exception as problem:  # the errand's giver decides what becomes of it
            self.done.set_exception(problem)

    def fail(self, problem: Exception) -> None:
        """It cannot be done."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(problem)


def prompts_of(request: CompletionRequest, loaded: LoadedModel) -> list[list[int]]:
    """The token ids of each prompt. Raises UserError when one is empty."""
    if request.is_chat:
        prompts = [encode_prompt(loaded, request.message_dicts(), tools=request.tool_dicts())]
    else:
        prompts = [list(loaded.tokenizer(text)["input_ids"]) for text in request.prompts]
    if not all(prompts):
        field_name = "messages" if request.is_chat else "prompt"
        raise UserError("invalid_value", f"'{field_name}' is empty.", field_name, reason="bad_config", status=400)
    return prompts


def rows_of(request: CompletionRequest, loaded: LoadedModel) -> list[LiveRow]:
    """A row for each choice. Raises UserError when a prompt is empty or does not fit the model."""
    rows: list[LiveRow] = []
    for prompt in prompts_of(request, loaded):
        limit = request.limit_within(loaded.context_length, len(prompt))
        rows += [LiveRow.of(request, len(rows) + index, loaded, prompt, limit) for index in range(request.n)]
    return rows


def text_length(request: CompletionRequest) -> int:
    """Characters to be read, without what the template adds."""
    said = sum(len(message.content) for message in request.messages or ())
    called = sum(len(call.arguments) for message in request.messages or () for call in message.tool_calls)
    return sum(map(len, request.prompts)) + said + called


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether the machine's or the GPU's memory was too small."""
    words = str(problem).lower()
    return isinstance(problem, MemoryError | torch.OutOfMemoryError) or (
        isinstance(problem, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )


def explained(problem: Exception, loaded: LoadedModel | None = None) -> EngineError:
    """What a caller is told of a failure that is ours."""
    if isinstance(problem, EngineError):
        return problem
    if is_out_of_memory(problem):
        on_gpu = loaded.device.type == "cuda" if loaded else isinstance(problem, torch.OutOfMemoryError)
        return EngineError("oom_gpu" if on_gpu else "oom_host", f"the memory is too small: {problem}")
    return EngineError("internal", str(problem))


def free_memory() -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
