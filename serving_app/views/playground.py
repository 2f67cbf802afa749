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
from jobs_app.models import TrainedModel
from serving_app.answering import Question, answer, answer_in_pieces
from serving_app.playground import Pane, playground_panes, playground_question
from serving_app.queries import current_deployment, served_model
from web_kit.sse import ServerSentEvent, sse_response


@project_page({"GET": Act.PREDICT})
def playground(request: HttpRequest, actor: Actor) -> HttpResponse:
    """One model beside its base: ``?model=`` names it, else what is in use."""
    return _page(request, actor, request.GET.get("model", ""))


@project_page({"POST": Act.PREDICT})
def playground_answer(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """The answer to a form: events ``token``, ``done``, ``error`` for the script, a page for everybody else."""
    fields = {name: str(value) for name, value in request.POST.items()}
    if "text/event-stream" in request.headers.get("Accept", ""):
        return sse_response(_events(playground_question(actor, fields)))
    turn: dict[str, Any] = {"text": fields.get("text", "")}
    try:
        body = async_to_sync(answer)(playground_question(actor, fields))
    except UserError as error:
        return _page(request, actor, fields.get("model", ""), turn | {"error": error.sentence}, status=error.status)
    turn |= {"answer": body["choices"][0]["message"]["content"], "facts": body[EXTENSION]}
    return _page(request, actor, fields.get("model", ""), turn)


def _page(
    request: HttpRequest, actor: Actor, wanted: str, turn: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    context = {"project": actor.project, "panes": _panes(actor, wanted), "turn": turn, "may_predict": True}
    return render(request, "serving_app/playground.html", context, status=status)


def _panes(actor: Actor, wanted: str) -> list[Pane]:
    deployment = current_deployment(actor.project)
    if not wanted or wanted == "production":
        return playground_panes(actor.project, deployment)
    model = served_model(actor.project, wanted)
    trained = TrainedModel.objects.filter(project=actor.project, api_name=model.name).first()
    if trained is None:
        return [Pane(model.name, model.name)]
    return [Pane(trained.api_name, trained.name), Pane(trained.base_model_key, trained.base_model_key)]


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
            "confidence": done.get("confidence"),
            "latency": done.get("latency_seconds"),
            "completion_tokens": done.get("completion_tokens"),
            "cached": done.get("cached"),
            "request_id": question.request_id,
        },
    )
