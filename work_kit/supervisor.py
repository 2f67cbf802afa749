"""Runs one job at a time in a child process of its own, and keeps its promises to the database.

The supervisor claims a job, lets the job's kind write the inputs, starts the engine as a freshly exec'ed child in its own
process group, copies the child's events into the database, carries stop requests to it, and stores its results. It
never imports torch. What it must not do: decide anything from Redis, or write anything without its lease.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event
from work_kit import operations
from work_kit.child import command, confined_command
from work_kit.choices import Reason, State, StopAction
from work_kit.eventfile import EventFile
from work_kit.kinds import JobKind, NotYet, kind_of
from work_kit.models import Job
from work_kit.operations import Fenced, Lease

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
GRACE_SECONDS = {StopAction.CANCEL: 4.0, StopAction.PAUSE: 120.0, StopAction.STOP_AND_KEEP: 600.0}
KILL_AFTER_SIGTERM_SECONDS = 4.0
_EXIT_BUSY = 4  # the engine's answer when another trainer holds the folder
_SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "STORAGE_URL", "METRICS_TOKEN", "AWS_", "OPENAI_API_KEY")

shutting_down = threading.Event()  # set when this worker was told to leave


def host_name() -> str:
    """This machine, as pages name it."""
    return os.environ.get("WORKER_HOST") or socket.gethostname()


def device_name() -> str:
    """What this worker computes on: ``cuda:<index>`` when it is given one GPU, else ``cpu``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"cuda:{visible}" if visible and visible != "-1" else "cpu"


def run_waiting(queue: str) -> int:
    """Run waiting jobs of this queue until none is left or this worker is told to leave. Returns how many."""
    done = 0
    while not shutting_down.is_set():
        lease = operations.claim_job(queue=queue, host=host_name(), device=device_name())
        if lease is None:
            break
        supervise(lease)
        done += 1
    return done


def supervise(lease: Lease) -> None:
    """Carry one claimed job to wherever this attempt ends. Raises nothing: what goes wrong is recorded."""
    job = Job.objects.select_related("project").get(pk=lease.job_id)
    keeper = LeaseKeeper(lease)
    keeper.start()
    try:
        Attempt(job, lease, keeper).run()
    except Fenced:
        logger.warning("job %s: somebody else took over attempt %s", lease.job_id, lease.attempt)
    except DatabaseError:
        logger.exception("job %s: the database went away; the job will be taken up again", lease.job_id)
    finally:
        keeper.stop()
    _tidy(lease.job_id)


def _tidy(job_id: str) -> None:
    """Remove the work folder of a job that needs it no more. A failed job keeps its own, with the logs."""
    try:
        state = Job.objects.values_list("state", flat=True).get(pk=job_id)
    except (DatabaseError, Job.DoesNotExist):
        return
    if state in {State.SUCCEEDED, State.CANCELLED}:
        shutil.rmtree(Path(settings.WORK_DIR) / job_id, ignore_errors=True)


class LeaseKeeper(threading.Thread):
    """Renews the lease from a thread of its own, so that slow preparing or storing never loses it."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(daemon=True, name=f"lease-{lease.job_id}")
        self.lease = lease
        self.stop_action = ""
        self.fenced = False
        self.renewed_at = time.monotonic()
        self._ended = threading.Event()

    @property
    def is_silent(self) -> bool:
        """Whether the database has not answered for so long that the lease may run out."""
        return time.monotonic() - self.renewed_at > settings.LEASE_SECONDS / 2

    def run(self) -> None:
        """Beat until stopped or fenced."""
        pause = 0.0
        while not self._ended.wait(pause):
            pause = min(1.0, settings.HEARTBEAT_SECONDS)
            try:
                if time.monotonic() - self.renewed_at >= settings.HEARTBEAT_SECONDS or not self.stop_action:
                    self._beat()
            except Fenced:
                self.fenced = True
                break
            except DatabaseError as error:
                logger.warning("job %s: no answer from the database (%s)", self.lease.job_id, error)
                close_old_connections()
        connection.close()

    def _beat(self) -> None:
        if time.monotonic() - self.renewed_at >= settings.HEARTBEAT_SECONDS:
            self.stop_action = operations.renew_lease(self.lease)
            self.renewed_at = time.monotonic()
        else:  # a person who presses Stop should not wait a whole heartbeat
            self.stop_action = str(Job.objects.values_list("stop_action", flat=True).get(pk=self.lease.job_id))

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        self.join()


class Attempt:
    """One attempt at one job: its folder, its child, and how it ends."""

    def __init__(self, job: Job, lease: Lease, keeper: LeaseKeeper) -> None:
        self.job = job
        self.lease = lease
        self.keeper = keeper
        self.kind: JobKind = kind_of(job.kind)
        self.workdir = Path(settings.WORK_DIR) / job.pk
        self.out = self.workdir / "out"
        self.error_log = self.workdir / f"attempt-{lease.attempt}.log"
        self.events = EventFile(self.workdir / f"attempt-{lease.attempt}.jsonl")
        self.last: dict[str, Event] = {}
        self.leaving = False
        self._asked_at: float | None = None
        self._told = ""

    def run(self) -> None:
        """Prepare, run the child, and end the attempt in exactly one way."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._control("go")
            arguments = self.kind.prepare(self.job, self.workdir)
            code = self._run_child(arguments)
            self._conclude(code)
        except NotYet as wait:
            operations.release_job(self.lease, state=State.QUEUED, seconds=wait.seconds, uncounted=True)
        except UserError as error:
            operations.end_attempt(self.lease, reason=error.reason, failure=error.as_dict())
        except EngineError as error:
            logger.error("job %s: %s", self.job.pk, error)
            failure = {"code": error.reason, "message": error.message, **error.details}
            operations.end_attempt(self.lease, reason=error.reason, failure=failure)
        except (Fenced, DatabaseError):
            raise
        except Exception as error:  # the front door of a job: whatever it is, it is recorded with the job
            logger.exception("job %s: attempt %s failed", self.job.pk, self.lease.attempt)
            failure = {"code": "internal", "message": f"{type(error).__name__}: {error}"[:500]}
            operations.end_attempt(self.lease, reason=_reason_of(error), failure=failure)

    def _run_child(self, arguments: list[str]) -> int:
        begin = confined_command if getattr(self.kind, "is_confined", False) else command
        with open(self.events.path, "ab") as out, open(self.error_log, "ab") as err:
            child = subprocess.Popen(
                begin("finetune_engine", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=settings.BASE_DIR,
                env=_child_environment(getattr(self.kind, "environment", dict)),
            )
        try:
            while (code := child.poll()) is None:
                self._tick(child)
                time.sleep(TICK_SECONDS)
        finally:
            _kill_group(child, signal.SIGKILL)
            child.wait()
        self._copy_events(until_stored=True)
        return code

    def _tick(self, child: subprocess.Popen[bytes]) -> None:
        if self.keeper.fenced:
            raise Fenced(self.lease.job_id)
        if self.keeper.is_silent:
            self._control("hold")
            return
        action = self.keeper.stop_action
        if not action and shutting_down.is_set():
            self.leaving, action = True, StopAction.PAUSE
        self._control(action or "go")
        if action:
            self._insist(child, action)
        self._copy_events()

    def _insist(self, child: subprocess.Popen[bytes], action: str) -> None:
        """Give the child its grace, then SIGTERM, then SIGKILL, to the whole group."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        over = time.monotonic() - self._asked_at - GRACE_SECONDS[StopAction(action)]
        if over > KILL_AFTER_SIGTERM_SECONDS:
            _kill_group(child, signal.SIGKILL)
        elif over > 0:
            _kill_group(child, signal.SIGTERM)

    def _copy_events(self, *, until_stored: bool = False) -> None:
        """Move new events into the database; on a database error they stay in the file for the next try."""
        while True:
            batch = self.events.read()
            try:
                operations.record_events(self.lease, batch, self.kind, self.workdir)
            except DatabaseError:
                if not until_stored:
                    self.events.rewind(batch)
                    return
                self.events.rewind(batch)
                if self.keeper.fenced:
                    raise Fenced(self.lease.job_id) from None
                close_old_connections()
                time.sleep(1.0)
                continue
            for _, event in batch:
                self.last[event.kind] = event
                if event.kind == "checkpoint":
                    self._after(event)
            if not batch:
                return

    def _after(self, event: Event) -> None:
        after = getattr(self.kind, "after_event", None)
        if after is not None:
            after(self.job, event, self.workdir)

    def _conclude(self, code: int) -> None:
        if "stopped" in self.last:
            self._stopped(str(self.last["stopped"].data.get("action", "cancel")))
        elif "done" in self.last and "error" not in self.last:
            if code:  # the exit code is a cross-check only: what counts is the last word and the results that verify
                logger.warning("job %s: its process said that it was done, then ended with %s", self.job.pk, code)
            operations.begin_saving(self.lease)
            saved = self.kind.save(self.job, self.workdir)
            operations.succeed_job(self.lease, self.kind, saved)
        elif "error" in self.last:
            data = dict(self.last["error"].data)
            reason = str(data.pop("reason", Reason.INTERNAL))
            operations.end_attempt(
                self.lease, reason=reason if reason in Reason.values else Reason.INTERNAL, failure=data
            )
        else:
            self._vanished(code)

    def _stopped(self, action: str) -> None:
        if action == StopAction.PAUSE and self.leaving:
            operations.release_job(self.lease, state=State.QUEUED)
        elif action == StopAction.PAUSE and self.keeper.stop_action != StopAction.CANCEL:
            operations.release_job(self.lease, state=State.PAUSED)
        elif self.keeper.stop_action or (action == StopAction.CANCEL and not self.leaving):
            operations.release_job(self.lease, state=State.CANCELLED)
        else:
            operations.release_job(self.lease, state=State.QUEUED)

    def _vanished(self, code: int) -> None:
        """The child ended without a word: killed, crashed, or another trainer holds the folder."""
        if self.leaving:
            operations.release_job(self.lease, state=State.QUEUED)
            return
        killed = code < 0
        failure = {
            "code": "process_killed" if killed else "process_ended",
            "message": f"The process was ended by {signal.Signals(-code).name}."
            if killed
            else f"The process ended early (exit code {code}).",
            "log": _tail(self.error_log),
        }
        lost = code in {-signal.SIGKILL, -signal.SIGTERM, _EXIT_BUSY}
        operations.end_attempt(self.lease, reason=Reason.WORKER_LOST if lost else Reason.INTERNAL, failure=failure)

    def _control(self, action: str) -> None:
        if self._told == action:
            return
        path = self.out / "control.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"action": action}))
        temporary.replace(path)
        self._told = action


def _child_environment(extra: Any) -> dict[str, str]:
    """The supervisor's environment without its secrets, and with what a shared machine needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    root = str(settings.BASE_DIR)
    kept["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH")])])
    return {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"} | kept | dict(extra())


def _kill_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _tail(path: Path, characters: int = 2000) -> str:
    try:
        return path.read_text(errors="replace")[-characters:]
    except OSError:
        return ""


def _reason_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == 28:  # ENOSPC
        return Reason.DISK_FULL
    if type(error).__module__.startswith(("botocore", "boto3", "urllib3", "s3transfer")):
        return Reason.STORAGE_UNREACHABLE
    return Reason.INTERNAL
