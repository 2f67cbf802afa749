"""A job's events as server-sent events, replayable by ``Last-Event-ID``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.http import HttpRequest, StreamingHttpResponse

from web_kit.sse import ServerSentEvent, sse_response
from work_kit.models import Job
from work_kit.stream import follow


def job_events(request: HttpRequest, job: Job, *, url: str = "") -> StreamingHttpResponse:
    """The job's past and future as a stream: ``phase, progress, metric, log, state`` and at last ``end``.

    ``url`` is where the page should go when the job has ended. A reader that comes back sends the last id it saw.
    """
    cursor = _cursor(request)
    return sse_response(_messages(job.pk, cursor, url))


def _cursor(request: HttpRequest) -> int:
    text = request.headers.get("Last-Event-ID") or request.GET.get("after") or "0"
    return int(text) if text.isdecimal() and len(text) < 19 else 0


async def _messages(job_id: str, cursor: int, url: str) -> AsyncIterator[ServerSentEvent]:
    async for snapshot in follow(job_id, cursor):
        for message in snapshot.messages:
            yield ServerSentEvent(event=message.event, data=message.data, id=message.id)
        if snapshot.is_terminal:
            state = snapshot.messages[-1].data.get("state", "")
            yield ServerSentEvent(event="end", data={"state": state, "url": url})
