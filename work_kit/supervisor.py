"""Runs one job at a time in a child process of its own, and keeps its promises to the database.

The supervisor claims a job, lets the job's kind write the inputs, starts the engine as a freshly exec'ed child in its own
process group, copies the child's events into the database, carries stop requests to it, and stores its results. It
never imports torch. What it must not do: decide anything from Redis, or write anything without its lease.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event
from finetune_engine.train.failpoints import failpoint
from work_kit import leftovers, machine, operations, process
from work_kit.choices import Reason, State, StopAction
from work_kit.eventfile import EventFile
from work_kit.keeper import Control, LeaseKeeper
from work_kit.kinds import JobKind, NotYet, kind_of
from work_kit.models import Job
from work_kit.operations import Fenced, Lease
from work_kit.outages import OUTAGES, drop_connection, until_answered

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
LOG_CHARACTERS = 2000  # of a crashed child's last words, kept with the job

shutting_down = threading.Event()  # set when this worker was told to leave

T = TypeVar("T")


def run_waiting(queue: str) -> int:
    """Run waiting jobs of this queue until none is left or this worker is told to leave. Returns how many."""
    done = 0
    while not shutting_down.is_set():
        lease = _claim(queue)
        if lease is None:
            break
        supervise(lease)
        done += 1
    return done


def _claim(queue: str) -> Lease | None:
    """The next job's lease, or None. When the answer to a claim is lost, ask whether it was made."""
    token = secrets.token_hex(16)
    try:
        return operations.claim_job(queue=queue, host=machine.host_name(), device=machine.device_name(), token=token)
    except OUTAGES as error:
        logger.warning("no answer to a claim (%s)", error)
        drop_connection()
    over = time.monotonic() + settings.LEASE_SECONDS

    def give_up() -> None:
        if time.monotonic() > over or shutting_down.is_set():
            raise Fenced(token)

    try:
        return until_answered(lambda: operations.claimed_with(token), give_up=give_up)
    except Fenced:  # if it was made, the lease is over by now
        return None


def supervise(lease: Lease) -> None:
    """Carry one claimed job to wherever this attempt ends. Raises nothing: what goes wrong is recorded."""
    workdir = Path(settings.WORK_DIR) / lease.job_id
    with contextlib.suppress(OSError):  # a disk without room is recorded with the attempt
        (workdir / "out").mkdir(parents=True, exist_ok=True)
    keeper = LeaseKeeper(lease, Control(workdir / "out" / "control.json"))
    keeper.start()
    try:
        job = until_answered(
            lambda: Job.objects.select_related("project").filter(pk=lease.job_id).first(), give_up=keeper.check
        )
        if job is not None:
            Attempt(job, lease, keeper, workdir).run()
    except Fenced:
        logger.warning("job %s: somebody else took over attempt %s", lease.job_id, lease.attempt)
    except Exception:  # the front door: without an end of its own, the attempt ends with its lease
        logger.exception("job %s: the end of attempt %s could not be recorded", lease.job_id, lease.attempt)
    finally:
        keeper.stop()
    try:
        if (ended := Job.objects.filter(pk=lease.job_id).first()) is not None:
            leftovers.tidy(ended)
    except OUTAGES:
        drop_connection()  # it is swept later


class Attempt:
    """One attempt at one job: its folder, its child, and how it ends."""

    def __init__(self, job: Job, lease: Lease, keeper: LeaseKeeper, workdir: Path) -> None:
        self.job = job
        self.lease = lease
        self.keeper = keeper
        self.kind: JobKind = kind_of(job.kind)
        self.workdir = workdir
        self.out = workdir / "out"
        self.error_log = workdir / f"attempt-{lease.attempt}.log"
        self.events = EventFile(workdir / f"attempt-{lease.attempt}.jsonl")
        self.last: dict[str, Event] = {}

    def run(self) -> None:
        """Prepare, run the child, and end the attempt in exactly one way."""
        try:
            self._make_room()
            self._take_over()
            arguments = self._patiently(lambda: self.kind.prepare(self.job, self.workdir))
            self._conclude(*self._run_child(arguments))
        except NotYet as wait:
            seconds = wait.seconds
            self._patiently(
                lambda: operations.release_job(self.lease, state=State.QUEUED, seconds=seconds, uncounted=True)
            )
        except UserError as error:
            self._fail(error.reason, error.as_dict())
        except EngineError as error:
            logger.error("job %s: %s", self.job.pk, error)
            self._fail(error.reason, {"code": error.reason, "message": error.message, **error.details})
        except (Fenced, *OUTAGES):
            raise
        except Exception as error:  # the front door of a job: whatever it is, it is recorded with the job
            logger.exception("job %s: attempt %s failed", self.job.pk, self.lease.attempt)
            message = f"{type(error).__name__}: {error}"[:500]
            self._fail(_reason_of(error), {"code": "internal", "message": message})

    def _make_room(self) -> None:
        """Have a folder on a disk with room. Raises EngineError ``disk_full`` when there is too little even after a sweep."""
        if machine.free_disk() < settings.MINIMUM_FREE_DISK_BYTES:
            self._patiently(leftovers.sweep_work_folders)
        if (free := machine.free_disk()) < settings.MINIMUM_FREE_DISK_BYTES:
            raise EngineError(
                "disk_full",
                f"{machine.host_name()} has {free // 2**20} MB of free disk; a job needs "
                f"{settings.MINIMUM_FREE_DISK_BYTES // 2**20} MB (setting MINIMUM_FREE_DISK_BYTES).",
            )
        self.out.mkdir(parents=True, exist_ok=True)

    def _take_over(self) -> None:
        """Finish what earlier attempts on this machine could not: end a child that outlives its right to work, and store
        events and checkpoints that their workers died with."""
        if process.end_former(self.out):
            logger.warning("job %s: ended a former child of this job", self.job.pk)
        for number, events in leftovers.earlier_events(self.workdir, self.lease.attempt):
            earlier = copy.copy(self.job)
            earlier.attempt = number
            while batch := events.read():
                self._patiently(lambda batch=batch, number=number: self._record(batch, number))  # type: ignore[misc]
                for _, event in batch:
                    self._patiently(lambda event=event, earlier=earlier: self._after(earlier, event))  # type: ignore[misc]

    def _run_child(self, arguments: list[str]) -> tuple[process.Child, int]:
        # Before the child could read what an earlier attempt was told.
        self.keeper.control.tell(self.keeper.action, is_leaving=self.keeper.only_leaves)
        child = process.Child(
            getattr(self.kind, "program", "finetune_engine"),
            arguments,
            events=self.events.path,
            errors=self.error_log,
            confined=getattr(self.kind, "is_confined", False),
            environment=getattr(self.kind, "environment", dict)() | self._secrets(),
        )
        try:
            while (code := child.process.poll()) is None:
                self._tick(child)
                time.sleep(TICK_SECONDS)
        finally:
            child.end()
        self._patiently(self._copy_events)
        return child, code

    def _secrets(self) -> dict[str, str]:
        """Variables for this job's child alone. They pass from the database to the child's environment, and nowhere else."""
        secrets_of = getattr(self.kind, "secrets", None)
        return dict(self._patiently(lambda: secrets_of(self.job))) if secrets_of is not None else {}

    def _tick(self, child: process.Child) -> None:
        self.keeper.check()
        self.keeper.leaving = shutting_down.is_set()
        self.keeper.tell()
        child.watch_memory()
        child.insist(action := self.keeper.action)
        if action == "hold":
            return
        try:
            self._copy_events()
        except OUTAGES as error:
            logger.warning("job %s: events wait for the database (%s)", self.job.pk, error)
            drop_connection()

    def _copy_events(self) -> None:
        """Move new events into the database; on an outage they stay in the file for the next try."""
        while batch := self.events.read():
            try:
                self._record(batch)
                for _, event in batch:
                    self.last[event.kind] = event
                    self._after(self.job, event)
            except OUTAGES:
                self.events.rewind(batch)
                raise

    def _record(self, batch: list[tuple[int, Event]], attempt: int | None = None) -> None:
        operations.record_events(self.lease, batch, self.kind, self.workdir, of_attempt=attempt)

    def _after(self, job: Job, event: Event) -> None:
        after = getattr(self.kind, "after_event", None)
        if after is not None and event.kind == "checkpoint":
            after(job, event, self.workdir)

    def _conclude(self, child: process.Child, code: int) -> None:
        self.keeper.check()
        if "stopped" in self.last:
            self._stopped()
        elif "done" in self.last and "error" not in self.last:
            if code:  # the exit code is a cross-check only: what counts is the last word and the results that verify
                logger.warning("job %s: its process said that it was done, then ended with %s", self.job.pk, code)
            self._save()
        elif code == process.BUSY:  # out of our sight somebody still works in the folder; that is no fault of the job
            self._release(State.QUEUED, seconds=settings.LEASE_SECONDS)
        elif "error" in self.last:
            data = dict(self.last["error"].data)
            reason = str(data.pop("reason", Reason.INTERNAL))
            self._fail(reason if reason in Reason.values else Reason.INTERNAL, data)
        elif self.keeper.leaving:
            self._release(State.QUEUED)
        else:
            self._fail(child.reason(code), _last_words(code, self.error_log))

    def _save(self) -> None:
        """Store the results and end the job with them, unless people asked to discard it before that."""
        self._patiently(lambda: operations.begin_saving(self.lease))
        failpoint("store", "before")
        saved = self._patiently(lambda: self.kind.save(self.job, self.workdir))
        failpoint("store", "after")
        state = self._patiently(lambda: operations.succeed_job(self.lease, self.kind, saved))
        discard = getattr(self.kind, "discard", None)
        if state == State.CANCELLED and discard is not None:
            discard(self.job, saved)

    def _stopped(self) -> None:
        """The child ended as it was told: by people, by this worker that leaves, or because its time is over."""
        orders = self.keeper.orders
        if orders.stop_action == StopAction.PAUSE:
            self._release(State.PAUSED)
        elif orders.stop_action:
            self._release(State.CANCELLED)
        elif orders.is_late:
            minutes = float(self.job.params.get("max_seconds") or 0) / 60
            self._fail(Reason.DEADLINE, {"code": "deadline", "message": f"It was allowed {minutes:g} minutes."})
        elif self.keeper.leaving:
            self._release(State.QUEUED)
        else:  # a SIGTERM from outside
            self._fail(Reason.WORKER_LOST, {"code": "process_ended", "message": "The process was told to end."})

    def _release(self, state: State, seconds: float = 0.0) -> None:
        self._patiently(lambda: operations.release_job(self.lease, state=state, seconds=seconds))

    def _fail(self, reason: str, failure: dict[str, Any]) -> None:
        self._patiently(lambda: operations.end_attempt(self.lease, reason=reason, failure=failure))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until the database answers, as long as the job is ours."""
        return until_answered(ask, give_up=self.keeper.check)


def _last_words(code: int, log: Path) -> dict[str, Any]:
    """What to show for a child that ended without a word."""
    killed = code < 0
    ended = f"was ended by {signal.Signals(-code).name}" if killed else f"ended early (exit code {code})"
    tail = leftovers.last_words(log, LOG_CHARACTERS)
    return {"code": "process_killed" if killed else "process_ended", "message": f"The process {ended}.", "log": tail}


def _reason_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == 28:  # ENOSPC
        return Reason.DISK_FULL
    if type(error).__module__.startswith(("botocore", "boto3", "urllib3", "s3transfer")):
        return Reason.STORAGE_UNREACHABLE
    return Reason.INTERNAL
