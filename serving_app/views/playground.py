"""Trying a model in the browser. Answers stream; without JavaScript the form posts and the page is drawn anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app.choices import PRODUCTION
from serving_app.gateway.answering import Question, answer, answer_in_pieces
from serving_app.playground import NOTHING, answer_facts, chosen_panes, model_choices, playground_question
from serving_app.queries import current_deployment
from web_kit.sse import ServerSentEvent, sse_response


@project_page({"GET": Act.PREDICT})
def playground(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Two models side by side: ``?model=`` names the first, else what is in use; ``?beside=`` the second, else the first
    one's base."""
    return _page(request, actor, request.GET.get("model", ""), request.GET.get("beside", ""))


@project_page({"POST": Act.PREDICT})
def playground_answer(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """The answer to a form: events ``token``, ``done``, ``error`` for the script, a page for everybody else."""
    fields = {name: str(value) for name, value in request.POST.items()}
    if "text/event-stream" in request.headers.get("Accept", ""):
        return sse_response(_events(playground_question(actor, fields)))
    shown = fields.get("model", ""), fields.get("beside", "")
    turn: dict[str, Any] = {name: fields.get(name, "") for name in ("text", "system", "temperature", "max_tokens")}
    try:
        body = async_to_sync(answer)(playground_question(actor, fields))
    except UserError as error:
        return _page(request, actor, *shown, turn | {"error": error.sentence}, status=error.status)
    extension = body[EXTENSION]
    turn |= {"answer": body["choices"][0]["message"]["content"], "facts": answer_facts(extension)}
    turn |= {"request_id": extension["request_id"]}
    return _page(request, actor, *shown, turn)


def _page(
    request: HttpRequest,
    actor: Actor,
    model: str,
    beside: str,
    turn: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    deployment = current_deployment(actor.project)
    context = {
        "project": actor.project,
        "panes": chosen_panes(actor.project, deployment, model, beside),
        "choices": model_choices(actor.project, deployment),
        "model": model or PRODUCTION,
        "beside": beside,
        "nothing": NOTHING,
        "turn": turn,
        "may_predict": True,
    }
    return render(request, "serving_app/playground.html", context, status=status)


async def _events(question: Question) -> AsyncIterator[ServerSentEvent]:
    done: dict[str, Any] = {}
    try:
        async for piece in await answer_in_pieces(question):
            for choice in piece.get("choices", ()):
                if text := (choice.get("delta") or {}).get("content"):
                    yield ServerSentEvent(event="token", data={"text": text})
            done = piece.get(EXTENSION) or done
    except UserError as error:
        yield ServerSentEvent(event="error", data={"message": error.sentence})
        return
    yield ServerSentEvent(
        event="done",
        data={
            "facts": answer_facts(done),
            "confidence": done.get("confidence"),
            "needs_human": bool(done.get("needs_human")),
            "latency": done.get("latency_seconds"),
            "completion_tokens": done.get("completion_tokens"),
            "cached": done.get("cached"),
            "request_id": question.request_id,
        },
    )
