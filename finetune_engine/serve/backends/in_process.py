"""Answers from models in this process: one base in memory, its adapters on top, callers batched together.

Each base model has one thread of its own that loads, switches adapters and runs steps, so nothing on the
torch module ever overlaps. A caller's thread only puts a ticket in that thread's line and reads what comes.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, FailureReason, UserError
from finetune_engine.serve.exchange import DEFAULT_MAX_TOKENS, CompletionRequest, Delta, Served, Usage
from finetune_engine.serve.live_batch import LiveBatch, LiveRow
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import LoadedModel, attach_adapter, detach_adapter, load_base

logger = logging.getLogger(__name__)

MAX_ROWS = 16
MAX_CACHED_TOKENS = 32_768
MAX_ADAPTERS = 8
_LOOK_UP_SECONDS = 0.2


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies. ``adapter`` None is the base itself; ``digest`` changes whenever the files do."""

    model_id: str
    base: BaseModelRef
    adapter: Path | None
    digest: str


@dataclass
class Ticket:
    """One request in line. ``out`` receives deltas, then None; or an exception."""

    request: CompletionRequest
    files: ModelFiles
    cancelled: threading.Event
    out: queue.SimpleQueue[Delta | Exception | None] = field(default_factory=queue.SimpleQueue)
    rows: list[LiveRow] = field(default_factory=list)
    template_sha256: str | None = None

    @property
    def is_written(self) -> bool:
        """Whether every choice has ended."""
        return all(row.writing.finish is not None for row in self.rows)

    def finish(self) -> None:
        """Tell the usage and close."""
        written = sum(len(row.writing.ids) for row in self.rows)
        usage = Usage(len(self.rows[0].writing.prompt), written)
        self.out.put(Delta(usage=usage, served=Served(self.files.digest, self.template_sha256)))
        self.out.put(None)


class BaseWorker(threading.Thread):
    """The one thread that touches a base model and its adapters."""

    def __init__(self, ref: BaseModelRef, *, after: threading.Event | None, max_adapters: int, max_rows: int) -> None:
        super().__init__(name=f"model-{ref.key}", daemon=True)
        self.finished = threading.Event()
        self.ready: tuple[str, ...] = ()
        self._ref = ref
        self._after = after
        self._max_adapters, self._max_rows = max_adapters, max_rows
        self._line: deque[Ticket] = deque()
        self._news = threading.Condition()
        self._retired = False
        self._base: LoadedModel | None = None
        self._models: OrderedDict[str, tuple[str, LoadedModel]] = OrderedDict()

    def submit(self, ticket: Ticket) -> bool:
        """Put a ticket in line. False when this worker is retiring and takes no more."""
        with self._news:
            if self._retired:
                return False
            self._line.append(ticket)
            self._news.notify()
            return True

    def retire(self) -> None:
        """Finish what is in line, then free the memory and end."""
        with self._news:
            self._retired = True
            self._news.notify()

    def run(self) -> None:
        """Serve until retired."""
        try:
            if self._after is not None:
                self._after.wait()
            while (ticket := self._wait()) is not None:
                try:
                    self._serve(ticket)
                except Exception as problem:  # the front door of this thread: every error goes to its caller
                    self._refuse(ticket, problem)
        finally:
            self._models.clear()
            self._base, self.ready = None, ()
            self.finished.set()

    def _wait(self) -> Ticket | None:
        """The oldest ticket whose caller is still there; None when retired and done."""
        with self._news:
            while True:
                while self._line:
                    ticket = self._line.popleft()
                    if not ticket.cancelled.is_set():
                        return ticket
                    ticket.out.put(None)
                if self._retired:
                    return None
                self._news.wait()

    def _refuse(self, ticket: Ticket, problem: Exception) -> None:
        if not isinstance(problem, UserError):
            logger.error("model %s could not answer", ticket.files.model_id, exc_info=problem)
        ticket.out.put(problem)

    def _serve(self, first: Ticket) -> None:
        """Answer ``first``, and everyone for the same model who comes while it runs."""
        batch = LiveBatch(self._load(first.files))
        tickets: list[Ticket] = []
        joining = [first]
        try:
            while joining or batch.rows:
                self._begin(batch, joining, tickets)
                for row, delta in batch.step():
                    owner = next(ticket for ticket in tickets if row in ticket.rows)
                    owner.out.put(delta)
                tickets = self._settle(batch, tickets)
                joining = self._joiners(batch, first.files.digest)
        except Exception as problem:
            logger.exception("a step of %s failed", first.files.model_id)
            for ticket in [*tickets, *joining]:
                ticket.out.put(EngineError(_reason(problem), str(problem)))

    def _begin(self, batch: LiveBatch, joining: list[Ticket], tickets: list[Ticket]) -> None:
        """Move tickets from ``joining`` to ``tickets`` and read their prompts; those at fault are told instead."""
        rows: list[LiveRow] = []
        while joining:
            ticket = joining[0]
            try:
                ticket.rows = _rows_of(ticket.request, batch.loaded)
                ticket.template_sha256 = batch.loaded.template_sha256
                tickets.append(ticket)
                rows += ticket.rows
            except UserError as problem:
                ticket.out.put(problem)
            joining.pop(0)
        if rows:
            batch.add(rows)

    def _settle(self, batch: LiveBatch, tickets: list[Ticket]) -> list[Ticket]:
        """Close tickets that are written or whose caller has gone; the others."""
        going = []
        for ticket in tickets:
            if ticket.is_written:
                ticket.finish()
            elif ticket.cancelled.is_set():
                batch.drop(ticket.rows)
                ticket.out.put(None)
            else:
                going.append(ticket)
        return going

    def _joiners(self, batch: LiveBatch, digest: str) -> list[Ticket]:
        """Tickets that may join now. Nobody overtakes a caller of another model who came first."""
        if batch.rows and not batch.can_join:
            return []
        found: list[Ticket] = []
        width = max((len(row.writing.prompt) + row.writing.limit for row in batch.rows), default=0)
        rows = len(batch.rows)
        with self._news:
            while self._line and self._line[0].files.digest == digest:
                rows += self._line[0].request.n
                if (batch.rows or found) and (rows > self._max_rows or rows * width > MAX_CACHED_TOKENS):
                    break
                ticket = self._line.popleft()
                if ticket.cancelled.is_set():
                    ticket.out.put(None)
                else:
                    found.append(ticket)
        return found

    def _load(self, files: ModelFiles) -> LoadedModel:
        """The model of ``files``, loaded and attached if need be; least recently used adapters leave."""
        if self._base is None:
            self._base = load_base(self._ref)
        if files.adapter is None:
            loaded = self._base
        elif files.digest in self._models:
            loaded = self._models[files.digest][1]
        else:
            while len(self._models) >= self._max_adapters:
                _, (_, oldest) = self._models.popitem(last=False)
                detach_adapter(oldest)
            name = "a" + sha256(files.digest.encode()).hexdigest()[:16]
            loaded = attach_adapter(self._base, files.adapter, name=name)
        self._models[files.digest] = (files.model_id, loaded)
        self._models.move_to_end(files.digest)
        self.ready = tuple(model_id for model_id, _ in self._models.values())
        return loaded


class InProcessBackend:
    """Answers with models from this machine's disk. Safe to call from many threads.

    ``resolve`` finds the files of a model id and raises UserError (status 404) for one it does not know.
    At most ``max_models`` bases stay in memory; the least recently used is retired for a new one.
    """

    def __init__(
        self,
        resolve: Callable[[str], ModelFiles],
        *,
        max_models: int = 2,
        max_adapters: int = MAX_ADAPTERS,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._resolve = resolve
        self._max_models, self._max_adapters, self._max_rows = max_models, max_adapters, max_rows
        self._workers: OrderedDict[BaseModelRef, BaseWorker] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, request: CompletionRequest, cancelled: threading.Event | None = None) -> Iterator[Delta]:
        """Pieces of the answer as they come; the last one carries usage. See exchange.Backend."""
        stop = cancelled or threading.Event()
        ticket = Ticket(request, self._resolve(request.model), stop)
        self._hand_over(ticket)
        try:
            while not stop.is_set():
                try:
                    item = ticket.out.get(timeout=_LOOK_UP_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()  # a caller who stops reading is a caller who has gone

    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything."""
        with self._lock:
            workers = list(self._workers.values())
        return sorted({model_id for worker in workers for model_id in worker.ready})

    def close(self) -> None:
        """Let all workers finish what is in line and free their memory."""
        with self._lock:
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.retire()

    def _hand_over(self, ticket: Ticket) -> None:
        with self._lock:
            ref = ticket.files.base
            worker = self._workers.get(ref)
            if worker is None or not worker.submit(ticket):
                worker = self._new_worker(ref)
                worker.submit(ticket)
            self._workers.move_to_end(ref)

    def _new_worker(self, ref: BaseModelRef) -> BaseWorker:
        after = None
        if len(self._workers) >= self._max_models:
            # The new base is loaded only once the old one's memory is free.
            _, oldest = self._workers.popitem(last=False)
            oldest.retire()
            after = oldest.finished
        worker = BaseWorker(ref, after=after, max_adapters=self._max_adapters, max_rows=self._max_rows)
        self._workers[ref] = worker
        worker.start()
        return worker


def _rows_of(request: CompletionRequest, loaded: LoadedModel) -> list[LiveRow]:
    """A row for each choice. Raises UserError when the prompt does not fit the model."""
    if request.is_chat:
        prompt = encode_prompt(loaded, request.message_dicts())
    else:
        prompt = list(loaded.tokenizer(request.prompt or "")["input_ids"])
    field_name = "messages" if request.is_chat else "prompt"
    if not prompt:
        raise UserError("invalid_value", f"'{field_name}' is empty.", field_name, reason="bad_config", status=400)
    room = loaded.context_length - len(prompt)
    if room < 1:
        raise UserError(
            "context_length_exceeded",
            f"This model reads at most {loaded.context_length} tokens, the answer included; "
            f"the text sent has {len(prompt)}. Shorten it.",
            field_name,
            reason="bad_config",
            status=400,
        )
    limit = min(request.max_tokens or DEFAULT_MAX_TOKENS, room)
    return [LiveRow.of(request, index, loaded, prompt, limit) for index in range(request.n)]


def _reason(problem: Exception) -> FailureReason:
    return "oom_gpu" if "out of memory" in str(problem).lower() else "internal"
