"""Which models the playground offers, a form's fields as a question, and an answer's facts in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import parse_chat_request
from jobs_app.models import TrainedModel
from jobs_app.queries import base_models, models_with_files
from serving_app.choices import PRODUCTION, Door
from serving_app.gateway.answering import Question
from serving_app.models import Deployment
from serving_app.queries import served_model
from serving_app.sureness import sureness_words
from web_kit.wording import duration_words

MAX_TOKENS = 200
LONGEST_HISTORY = 40
MOST_MODELS = 50
NOTHING = "none"


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


def chosen_panes(project: Project, deployment: Deployment | None, model: str, beside: str) -> list[Pane]:
    """The columns that somebody chose: ``model`` empty is what is in use, ``beside`` empty the base of the first, ``none``
    nothing. Raises UserError 404 for a model that there is not."""
    panes = playground_panes(project, deployment)
    if model and model != PRODUCTION:
        panes = _with_base(project, model)
    if not panes or not beside:
        return panes
    return [panes[0]] if beside == NOTHING else [panes[0], _pane(project, beside)]


def model_choices(project: Project, deployment: Deployment | None) -> list[Pane]:
    """What can stand in a column: what is in use, the trained models whose files are here, the base models that can be asked."""
    choices = [Pane(PRODUCTION, _("What is in use"))] if deployment is not None else []
    choices += [Pane(model.api_name, model.name) for model in models_with_files(project)[:MOST_MODELS]]
    local = [card for card in base_models() if card.is_available and card.provider == "local"]
    return choices + [Pane(card.key, card.name) for card in local]


def playground_question(actor: Actor, fields: Mapping[str, str]) -> Question:
    """The question in a form: ``text``, and optionally ``model``, ``system``, ``history`` (JSON turns), ``temperature``,
    ``max_tokens``. Raises UserError naming the field at fault."""
    text = fields.get("text", "").strip()
    if not text:
        raise UserError("text_missing", _("Write something to ask."), field="text")
    system = fields.get("system", "").strip()
    body = {
        "model": fields.get("model") or PRODUCTION,
        "messages": [
            *([{"role": "system", "content": system}] if system else []),
            *_history(fields.get("history", "")),
            {"role": "user", "content": text},
        ],
        "temperature": _number(fields, "temperature", 0.0),
        "max_tokens": int(_number(fields, "max_tokens", MAX_TOKENS)),
    }
    request = parse_chat_request(body)
    model = served_model(actor.project, request.model)
    return Question(actor, Door.PLAYGROUND, request, body | {"model": model.serving_id}, model)


def answer_facts(extension: Mapping[str, Any]) -> list[str]:
    """What is known of an answer, in short sentences: how sure it is, whether a person should look, where it came from."""
    facts = [sureness_words(extension.get("calibrated_confidence"), extension.get("confidence"))]
    if extension.get("needs_human"):
        facts.append(_("A person should check this answer."))
    if extension.get("cached"):
        facts.append(_("From the cache."))
    if extension.get("latency_seconds") is not None:
        facts.append(_("Time %(seconds)s") % {"seconds": duration_words(extension["latency_seconds"])})
    if extension.get("completion_tokens") is not None:
        facts.append(_("%(n)s tokens") % {"n": extension["completion_tokens"]})
    return facts


def _with_base(project: Project, name: str) -> list[Pane]:
    trained = TrainedModel.objects.filter(project=project, api_name=name).first()
    first = _pane(project, name, trained)
    return [first, Pane(trained.base_model_key, _("Before training"))] if trained is not None else [first]


def _pane(project: Project, name: str, trained: TrainedModel | None = None) -> Pane:
    if name == PRODUCTION:
        return Pane(name, _("What is in use"))
    model = served_model(project, name)
    trained = trained or TrainedModel.objects.filter(project=project, api_name=model.name).first()
    return Pane(model.name, trained.name if trained is not None else model.name)


def _history(text: str) -> list[object]:
    if not text:
        return []
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError("bad_history", _("The earlier turns cannot be read. Reload the page."), "history") from error
    if not isinstance(turns, list):
        raise UserError("bad_history", _("The earlier turns cannot be read. Reload the page."), "history")
    return turns[-LONGEST_HISTORY:]


def _number(fields: Mapping[str, str], name: str, default: float) -> float:
    text = fields.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError("invalid_value", _("This must be a number."), name)
    return value
