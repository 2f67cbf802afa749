"""The one thread that touches a base model and its adapters: it loads, switches, and runs steps.

Each model of the base has its own line and its own batch. Batches take turns, and who has fewest rows under way is let in
first, so no model starves another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.backends.models import ModelFiles
from finetune_engine.serve.backends.tickets import (
    Errand,
    Ticket,
    explained,
    free_memory,
    is_out_of_memory,
    text_length,
)
from finetune_engine.serve.live_batch import LiveBatch
from finetune_engine.serve.live_row import LiveRow
from finetune_engine.train.local.load import LoadedModel, attach_adapter, detach_adapter, load_base

logger = logging.getLogger(__name__)

MAX_ROWS = 64
CACHE_BYTES = 1 << 30
"""Keys and values held at once by a base on a processor; on a GPU, a share of what is free when the base is loaded."""
GPU_CACHE_SHARE = 0.8
MAX_ADAPTERS = 8
TURN_STEPS = 4
"""Steps before the next model of the base has its turn: switching adapters costs something too."""
GATHER_STEPS = 4
"""Steps that a few newcomers wait for more of them while many rows are under way: to read prompts costs a pass of its own."""
GATHER_SHARE = 4
READ_ASIDE_CHARACTERS = 20_000
"""Longer texts become tokens in another thread, so that nobody waits for it; tools and schemas too: a grammar takes long."""


@dataclass(eq=False)
class ModelLine:
    """One model of the base: who waits for it, and who is being answered."""

    files: ModelFiles
    errands: deque[Errand[Any]] = field(default_factory=deque)
    tickets: deque[Ticket] = field(default_factory=deque)
    aside: int = 0
    rows: deque[LiveRow] = field(default_factory=deque)
    live: list[Ticket] = field(default_factory=list)
    batch: LiveBatch | None = None
    row_limit: int | None = None
    gathered: int = 0

    @property
    def row_count(self) -> int:
        """Rows in the batch."""
        return self.batch.row_count if self.batch else 0

    @property
    def has_work(self) -> bool:
        """Whether its turn would do anything."""
        return bool(self.errands or self.tickets or self.rows or self.live)


class BaseWorker(threading.Thread):
    """The thread of one base model."""

    def __init__(self, ref: BaseModelRef, *, after: threading.Event | None, max_adapters: int, max_rows: int) -> None:
        super().__init__(name=f"model-{ref.key}", daemon=True)
        self.finished = threading.Event()
        self.ready: tuple[str, ...] = ()
        self._ref = ref
        self._after = after
        self._max_adapters, self._max_rows = max_adapters, max_rows
        self._news = threading.Condition()
        self._inbox: deque[Ticket | Errand[Any]] = deque()
        self._lines: OrderedDict[str, ModelLine] = OrderedDict()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._retired = False
        self._base: LoadedModel | None = None
        self._models: OrderedDict[str, tuple[str, LoadedModel]] = OrderedDict()
        self._cache_tokens = 0
        self._longest_token = 0

    def submit(self, work: Ticket | Errand[Any]) -> bool:
        """Put work in line. False when this worker is retiring and takes no more."""
        with self._news:
            if self._retired:
                return False
            self._inbox.append(work)
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
            while self._wait():
                for line in self._turns():
                    self._take_turn(line)
        except Exception:  # the front door of this thread: whoever waits is told, and another worker takes its place
            logger.exception("the worker of %s failed", self._ref.key)
        finally:
            self._end()

    def _end(self) -> None:
        """Take no more, tell those who still wait, and free the memory."""
        with self._news:
            self._retired = True
        self._aside.shutdown()
        with self._news:
            while self._inbox:
                self._sort(self._inbox.popleft())
        for line in self._lines.values():
            if line.has_work:
                self._fail(line, EngineError("internal", "the model's thread ended in the middle of its work"))
        self._lines.clear()
        self._models.clear()
        self._base, self.ready = None, ()
        free_memory()
        self.finished.set()

    def _wait(self) -> bool:
        """Sort what came in into lines; wait when there is nothing to do. False when retired and done."""
        with self._news:
            while True:
                while self._inbox:
                    self._sort(self._inbox.popleft())
                if any(line.has_work for line in self._lines.values()):
                    return True
                if self._retired and not any(line.aside for line in self._lines.values()):
                    return False
                self._news.wait()

    def _sort(self, work: Ticket | Errand[Any]) -> None:
        line = self._lines.setdefault(work.files.digest, ModelLine(work.files))
        if isinstance(work, Errand):
            line.errands.append(work)
        elif work.rows:
            line.aside -= 1
            self._stand_in_line(line, work)
        else:
            line.tickets.append(work)

    def _turns(self) -> list[ModelLine]:
        """The lines with work, those with the fewest rows under way first. Idle ones are put away."""
        for digest in [digest for digest, line in self._lines.items() if not line.has_work and not line.aside]:
            del self._lines[digest]
        return sorted((line for line in self._lines.values() if line.has_work), key=lambda line: line.row_count)

    def _take_turn(self, line: ModelLine) -> None:
        """Let callers of one model in, and write on. A front door: whatever fails is told to this model's callers."""
        try:
            self._send_off(line)
            if not line.has_work:
                return
            loaded = self._load(line.files)
        except Exception as problem:
            self._fail(line, _unavailable(problem))
            return
        try:
            while line.errands:
                line.errands.popleft().run(loaded)
            self._read(line, loaded)
            if line.batch is None:
                line.batch = LiveBatch(loaded)
            is_alone = sum(other.has_work for other in self._lines.values()) == 1
            for _ in range(1 if is_alone else TURN_STEPS):
                self._admit(line, line.batch)
                line.batch.step()
                self._settle(line)
                if line.batch.is_empty and not line.rows:
                    break
        except Exception as problem:
            self._recover(line, loaded, problem)

    def _send_off(self, line: ModelLine) -> None:
        """Those whose caller has gone leave, wherever they stand."""
        for ticket in [ticket for ticket in line.tickets if ticket.cancelled.is_set()]:
            line.tickets.remove(ticket)
            ticket.tell(None)
        gone = [ticket for ticket in line.live if ticket.cancelled.is_set()]
        if not gone:
            return
        line.live = [ticket for ticket in line.live if ticket not in gone]
        line.rows = deque(row for row in line.rows if row.owner not in gone)
        if line.batch is not None:
            line.batch.drop([row for ticket in gone for row in ticket.rows])
        for ticket in gone:
            ticket.tell(None)

    def _read(self, line: ModelLine, loaded: LoadedModel) -> None:
        """Turn waiting requests into rows; those at fault are told instead."""
        while line.tickets:
            ticket = line.tickets.popleft()
            length = text_length(ticket.request)
            if length > loaded.context_length * self._longest(loaded) * max(1, len(ticket.request.prompts)):
                ticket.tell(_far_too_long(ticket, loaded, length // self._longest(loaded)))
            elif length > READ_ASIDE_CHARACTERS or ticket.request.tools or ticket.request.answer_schema is not None:
                line.aside += 1
                self._aside.submit(self._read_aside, line, ticket, loaded)
            elif (problem := _read_problem(ticket, loaded)) is not None:
                ticket.tell(problem)
            else:
                self._stand_in_line(line, ticket)

    def _stand_in_line(self, line: ModelLine, ticket: Ticket) -> None:
        line.live.append(ticket)
        line.rows.extend(ticket.rows)

    def _read_aside(self, line: ModelLine, ticket: Ticket, loaded: LoadedModel) -> None:
        """In the reader's thread."""
        problem = None if ticket.cancelled.is_set() else _read_problem(ticket, loaded)
        with self._news:
            if ticket.rows:
                self._inbox.append(ticket)
            else:
                line.aside -= 1
            self._news.notify()
        if not ticket.rows:
            ticket.tell(problem)

    def _longest(self, loaded: LoadedModel) -> int:
        """Characters of the longest token."""
        if not self._longest_token:
            self._longest_token = max(map(len, loaded.tokenizer.get_vocab()))
        return self._longest_token

    def _admit(self, line: ModelLine, batch: LiveBatch) -> None:
        """Let waiting rows in while there is room: at least one where none is under way."""
        if not line.rows or (not batch.is_empty and not batch.can_join) or self._gathers(line):
            return
        others = sum(other.row_count for other in self._lines.values() if other is not line)
        rows, width = batch.row_count, max(map(_longest_length, batch.all_rows()), default=0)
        joining: list[LiveRow] = []
        while line.rows:
            width = max(width, _longest_length(line.rows[0]))
            count = rows + len(joining) + 1
            limit = self._max_rows if line.row_limit is None else min(self._max_rows, line.row_limit)
            if count > 1 and (count + others > limit or count * width > self._cache_tokens):
                break
            joining.append(line.rows.popleft())
        batch.add(joining)

    def _gathers(self, line: ModelLine) -> bool:
        """Whether the newcomers are few beside the rows under way, and have not waited long."""
        line.gathered += 1
        if line.gathered <= GATHER_STEPS and len(line.rows) * GATHER_SHARE < line.row_count:
            return True
        line.gathered = 0
        return False

    def _settle(self, line: ModelLine) -> None:
        """Tell everybody what was written; those that are done, and those whose caller has gone, leave."""
        now = time.monotonic()
        self._send_off(line)
        going: list[Ticket] = []
        for ticket in line.live:
            if ticket.problem is not None and line.batch is not None:
                line.batch.drop(ticket.rows)
                line.rows = deque(row for row in line.rows if row.owner is not ticket)
                ticket.finish()
            elif ticket.is_written:
                ticket.finish()
            else:
                ticket.tell_news(now)
                going.append(ticket)
        line.live = going
        if not going:
            line.row_limit = None

    def _recover(self, line: ModelLine, loaded: LoadedModel, problem: Exception) -> None:
        """After a step that failed. Where memory was too small, the rows begin again where they were, fewer at a time."""
        waiting = {id(row) for row in line.rows}
        going = [row for ticket in line.live for row in ticket.rows if row.is_going and id(row) not in waiting]
        if line.batch is not None:
            line.batch.clear()
        is_full = is_out_of_memory(problem)
        freed = is_full and sum(other.batch.forget_prompts() for other in self._lines.values() if other.batch) > 0
        # A row that was alone has another chance where remembered prompts made room, but only one.
        if not is_full or (len(going) < 2 and (not freed or line.row_limit == 1)):
            self._fail(line, explained(problem, loaded))
            return
        logger.warning("%s rows of %s do not fit the memory; trying half of them", len(going), line.files.model_id)
        line.batch = None
        del problem
        free_memory()
        line.row_limit = max(1, len(going) // 2)
        line.rows.extendleft(reversed(going))
        self._settle(line)

    def _fail(self, line: ModelLine, problem: EngineError) -> None:
        logger.error("model %s could not answer: %s", line.files.model_id, problem)
        for errand in line.errands:
            errand.fail(problem)
        for ticket in [*line.live, *line.tickets]:
            ticket.tell(problem)
        line.errands.clear()
        line.tickets.clear()
        line.rows.clear()
        line.live, line.batch, line.row_limit = [], None, None
        free_memory()

    def _load(self, files: ModelFiles) -> LoadedModel:
        """The model of ``files``, loaded and attached if need be; least recently used adapters leave."""
        if self._base is None:
            self._base = load_base(self._ref)
            self._cache_tokens = cache_tokens(self._base)
        if files.digest in self._models:
            loaded = self._models[files.digest][1]
        elif files.adapter is None:
            loaded = self._base
        else:
            self._make_room()
            name = "a" + sha256(files.digest.encode()).hexdigest()[:16]
            loaded = attach_adapter(self._base, files.adapter, name=name)
        self._models[files.digest] = (files.model_id, loaded)
        self._models.move_to_end(files.digest)
        self.ready = tuple(model_id for model_id, _ in self._models.values())
        return loaded

    def _make_room(self) -> None:
        """Detach adapters beyond the limit, the least recently used first; never one in the middle of an answer."""
        busy = {digest for digest, line in self._lines.items() if line.live}
        idle = [
            digest for digest, (_, loaded) in self._models.items() if digest not in busy and loaded is not self._base
        ]
        held = sum(loaded is not self._base for _, loaded in self._models.values())
        for digest in idle[: max(0, held - self._max_adapters + 1)]:
            detach_adapter(self._models.pop(digest)[1])


def cache_tokens(loaded: LoadedModel) -> int:
    """How many tokens' keys and values fit the budget."""
    config: Any = loaded.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    each: int = 2 * config.num_hidden_layers * heads * width * loaded.dtype.itemsize
    budget = CACHE_BYTES
    if loaded.device.type == "cuda":
        budget = int(torch.cuda.mem_get_info(loaded.device)[0] * GPU_CACHE_SHARE)
    return max(1, budget // each)


def _longest_length(row: LiveRow) -> int:
    """Tokens of a row when it is done."""
    return len(row.writing.prompt) + row.writing.limit


def _read_problem(ticket: Ticket, loaded: LoadedModel) -> Exception | None:
    """Make a ticket's rows. What is wrong with it, or None."""
    try:
        ticket.read(loaded)
    except (UserError, EngineError) as problem:
        return problem
    except Exception as problem:  # a tokenizer or a grammar may fail on a text nobody thought of
        logger.exception("a prompt could not be read")
        return explained(problem, loaded)
    return None


def _far_too_long(ticket: Ticket, loaded: LoadedModel, least: int) -> UserError:
    field_name = "messages" if ticket.request.is_chat else "prompt"
    return UserError(
        "context_length_exceeded",
        f"This model reads at most {loaded.context_length} tokens, the answer included; "
        f"the text sent has at least {least}. Shorten it.",
        field_name,
        reason="bad_config",
        status=400,
    )


def _unavailable(problem: Exception) -> EngineError:
    """A model that cannot be loaded is not its caller's fault, whatever is wrong with its files."""
    if isinstance(problem, UserError):
        return EngineError("model_unavailable", problem.sentence)
    if isinstance(problem, OSError):
        return EngineError("model_unavailable", f"the model's files cannot be read: {problem}")
    return explained(problem)
