"""A running import or freezing as the page shows it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from web_kit.live_job import LiveJob, LogLine
from work_kit.models import Job
from work_kit.queries import job_card, log_lines, queue_position, workers
from work_kit.views.stream import job_events


def live_job(job: Job, *, events_url: str, result_url: str) -> LiveJob:
    """The job at this moment; the stream goes on from here."""
    card = job_card(job)
    events = log_lines(job.pk)
    lines = [
        LogLine(str(e.data["message"]), e.at, {"warn": "warning", "error": "error"}.get(e.kind, "info"))
        for e in events
        if e.data.get("message")
    ]
    return LiveJob(
        events_url=events_url,
        state=card.state,
        state_label=card.label,
        phase_label=card.phase_label,
        done=card.done,
        total=card.total,
        unit=card.unit,
        eta_seconds=card.eta_seconds,
        log=lines,
        last_event_id=events[-1].pk if events else None,
        result_url=result_url if card.is_terminal else "",
        is_finished=card.is_terminal,
        has_chart=False,
    )


def waiting_sentence(job: Job) -> str:
    """Why nothing happens yet: nobody there to do it, or others first. Empty when neither."""
    position = queue_position(job)
    if position is None:
        return ""
    if not any(worker.queue == job.queue for worker in workers()):
        return _("No worker is running at the moment. The work starts as soon as one is there.")
    return _("Number %(n)s in the queue.") % {"n": position} if position > 1 else ""


def stream(request: HttpRequest, job: Job | None, url: str) -> HttpResponseBase:
    """The job's events, then ``url`` as the place to go. Raises UserError when there is no job any more."""
    if job is None:
        raise UserError("no_job", _("There is no work going on for this any more."), status=404)
    return job_events(request, job, url=url)
