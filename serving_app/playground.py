"""Which models the playground offers, and a form's fields as a question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import parse_chat_request
from serving_app.answering import Question
from serving_app.choices import PRODUCTION, Door
from serving_app.models import Deployment
from serving_app.queries import served_model

MAX_TOKENS = 200
LONGEST_HISTORY = 40


@dataclass(frozen=True)
class Pane:
    """One column: a model, and the name people see."""

    model: str
    name: str


def playground_panes(project: Project, deployment: Deployment | None) -> list[Pane]:
    """What is in use, beside its base model. Nothing when nothing is in use."""
    if deployment is None:
        return []
    trained = deployment.trained_model
    panes = [Pane(PRODUCTION, trained.name if trained else deployment.base_model_key)]
    if trained is not None:
        panes.append(Pane(trained.base_model_key, _("Before training")))
    return panes


def playground_question(actor: Actor, fields: Mapping[str, str]) -> Question:
    """The question in a form: ``text``, and optionally ``model``, ``history`` (JSON turns), ``temperature``,
    ``max_tokens``. Raises UserError naming the field at fault."""
    text = fields.get("text", "").strip()
    if not text:
        raise UserError("text_missing", _("Write something to ask."), field="text")
    body = {
        "model": fields.get("model") or PRODUCTION,
        "messages": [*_history(fields.get("history", "")), {"role": "user", "content": text}],
        "temperature": _number(fields, "temperature", 0.0),
        "max_tokens": int(_number(fields, "max_tokens", MAX_TOKENS)),
    }
    request = parse_chat_request(body)
    model = served_model(actor.project, request.model)
    return Question(actor, Door.PLAYGROUND, request, body | {"model": model.serving_id}, model)


def _history(text: str) -> list[object]:
    if not text:
        return []
    try:
        turns = json.loads(text)
    except ValueError as error:
        raise UserError("bad_history", _("The earlier turns cannot be read. Reload the page."), "history") from error
    if not isinstance(turns, list):
        raise UserError("bad_history", _("The earlier turns cannot be read. Reload the page."), "history")
    return turns[-LONGEST_HISTORY:]


def _number(fields: Mapping[str, str], name: str, default: float) -> float:
    text = fields.get(name, "").strip()
    try:
        return float(text) if text else default
    except ValueError as error:
        raise UserError("invalid_value", _("This must be a number."), name) from error
