"""The gallery: every component with honest content, to look at while building pages (only when DEBUG is on)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from web_kit import gallery_content
from web_kit.sse import ServerSentEvent, last_event_id, sse_response

PACE_SECONDS = 0.03


@require_GET
def gallery(request: HttpRequest) -> HttpResponse:
    """The page. ``?errors`` shows the form as refused."""
    data = {"name": "", "epochs": "40", "when": "now"} if "errors" in request.GET else None
    extra = {
        "form": gallery_content.GalleryForm(data),
        "live": gallery_content.live_job(reverse("web_kit:events")),
    }
    return render(request, "web_kit/gallery.html", gallery_content.context() | extra)


async def gallery_events(request: HttpRequest) -> HttpResponseBase:
    """The rest of the example run, as a job's stream would send it."""
    return sse_response(_example_run(max(0, last_event_id(request) - 1000)))


async def _example_run(after: int) -> AsyncIterator[ServerSentEvent]:
    total = gallery_content.STEPS
    for row in gallery_content.metrics()[after:]:
        step = row["step"]
        await asyncio.sleep(PACE_SECONDS)
        yield ServerSentEvent(row, "metric", 1000 + step)
        progress = {"done": step, "total": total, "unit": "steps", "eta_seconds": (total - step) * 4}
        yield ServerSentEvent(progress, "progress")
        if step % 40 == 0:
            line = {
                "level": "info",
                "message": f"Checkpoint saved at step {step}.",
                "at": datetime.now(UTC).timestamp(),
            }
            yield ServerSentEvent(line, "log")
    reading = "It began to memorise after step 80; the checkpoint of step 80 is the one to use."
    yield ServerSentEvent({"sentence": reading}, "reading")
    yield ServerSentEvent({"phase": "done", "label": "Finished"}, "phase")
    yield ServerSentEvent({"state": "succeeded", "label": "Finished", "tone": "ok"}, "state")
    yield ServerSentEvent({"state": "succeeded", "url": reverse("web_kit:gallery")}, "end", 1000 + total + 1)


@require_POST
async def gallery_ask(request: HttpRequest) -> HttpResponseBase:
    """Answers any question with the same sentence, word by word."""
    return sse_response(_example_answer(request.POST.get("text", "")))


async def _example_answer(question: str) -> AsyncIterator[ServerSentEvent]:
    words = f"You asked: {question} This sentence comes from the gallery, not from a model.".split(" ")
    for word in words:
        await asyncio.sleep(PACE_SECONDS)
        yield ServerSentEvent({"text": f"{word} "}, "token")
    yield ServerSentEvent({"facts": ["Confidence 83%", "Time 0.41 s", f"{len(words)} tokens"]}, "done")


@require_POST
def gallery_upload(request: HttpRequest) -> JsonResponse:
    """Takes a file, keeps nothing, and leads back to the gallery."""
    if not request.FILES:
        return JsonResponse({"error": {"message": "Choose a file first."}}, status=422)
    return JsonResponse({"url": reverse("web_kit:gallery")})
