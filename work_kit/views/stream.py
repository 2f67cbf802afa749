"""A job's events as server-sent events, replayable by ``Last-Event-ID``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from web_kit.long_streams import long_stream
from web_kit.sse import last_event_id
from work_kit.models import Job
from work_kit.stream import follow


def job_events(request: HttpRequest, job: Job, *, url: str = "") -> HttpResponseBase:
    """The job's past and future as a stream: ``phase, progress, metric, sample, checkpoint, log, reading, state`` and at
    last ``end``.

    ``url`` is where the page should go when the job has ended. A reader that comes back sends the last id it saw.
    """
    chunks = follow(job.pk, last_event_id(request), url=url)
    response = long_stream(request, chunks, content_type="text/event-stream; charset=utf-8")
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response
