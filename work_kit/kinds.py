"""Kinds of job: what an app must say so that the job engine can run its work.

An app registers its kinds once, from ``runner.register()`` in its ``AppConfig.ready``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from finetune_engine.events import Event
from work_kit.models import Job


class NotYet(Exception):
    """Raised by ``JobKind.prepare`` when what the job needs is still being made: it goes back to the queue."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not yet; again in {seconds} s")
        self.seconds = seconds


class JobKind(Protocol):
    """One kind of job. All work happens in a child process, ``python -m finetune_engine ...``; the methods
    below only carry things in and out. ``name`` is ``<app>.<verb>``, ``queue`` one of ``choices.Queue``.

    More is optional. ``after_event(job, event, workdir)`` is called for each ``checkpoint`` event outside any transaction
    (store the files, then the row). ``make_smaller(job, times)`` is asked after memory ran out: it has the next attempt
    use less and returns a sentence that says how, or "" when it cannot. ``discard(job, saved)`` removes what ``save``
    stored when the job was cancelled before ``commit``, ``tidy(job)`` what killed attempts of an ended job left in the
    storage. ``environment()`` gives the child more variables, ``secrets(job)`` those that are nobody else's business;
    ``reading(job)`` says in plain words what the curves mean, ``phase_label(job_id, data)`` what a phase event does (empty:
    the usual words); ``program`` is a module to run instead of the engine.
    ``announced = ("fine_tuning.job", "ftjob-")`` lets webhooks hear of its end under that name, with that id prefix;
    ``page_url(job)`` is the path of its page, and lets people hear of it by e-mail. With ``is_confined = True`` the
    child, which reads strangers' files, has no network where the kernel allows it, and limited memory.
    """

    @property
    def name(self) -> str:
        """``<app>.<verb>``."""

    @property
    def queue(self) -> str:
        """One of ``choices.Queue``."""

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Write the inputs into ``workdir`` and return the arguments of ``python -m finetune_engine``.

        The engine adds nothing: include ``--out str(workdir / "out")``. Called for every attempt; may find what
        an earlier attempt on this host left there (checkpoints), and should fetch from storage what it needs.
        Outside any transaction. Raises UserError when the inputs cannot be used.
        """

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Mirror one event into the app's own tables, inside the transaction that records it. Be quick."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Copy the child's results to storage, outside any transaction, under a fresh prefix (``job.id`` and
        ``job.attempt``), manifest last. Returns what ``commit`` needs. Raises EngineError when results are missing.
        """

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Create the rows of the result inside the guarded transaction that makes the job ``succeeded``.
        Returns ``Job.result``.
        """

    def ended(self, job: Job) -> None:
        """The job became failed or cancelled: mark the app's own rows, inside that transaction."""


_KINDS: dict[str, JobKind] = {}


def register(kind: JobKind) -> None:
    """Make a kind known. Registering the same name again replaces it."""
    _KINDS[kind.name] = kind


def kind_of(name: str) -> JobKind:
    """The kind with this name. Raises LookupError when no installed app registers it."""
    try:
        return _KINDS[name]
    except KeyError:
        raise LookupError(f"no installed app runs jobs of kind {name!r}; known: {sorted(_KINDS)}") from None
