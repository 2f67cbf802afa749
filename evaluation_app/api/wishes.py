"""What a program asks of an evaluation, and what its names stand for in the project."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import ConfigDict, Field

from accounts_app.permissions import Actor
from evaluation_app.choices import Split
from evaluation_app.operations import ContenderWish
from evaluation_app.operations.evaluation_settings import KNOWN
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import find_base_model, trained_models
from jobs_app.queries.providers import connections_of

MOST_NAMED = 50  # each is looked up; naming one twice is harmless, so it may be more than are compared


class PromptIn(Schema):
    """Other instructions for the subject's base model, and how many solved examples it sees before each question."""

    model_config = ConfigDict(extra="forbid")

    system: str = ""
    shots: int = 0


class ContenderIn(Schema):
    """One model: ``trained_model``, ``base_model``, ``prompt``, or ``connection`` (id or name) with ``model``."""

    model_config = ConfigDict(extra="forbid")

    trained_model: str | None = None
    base_model: str | None = None
    prompt: PromptIn | None = None
    connection: str | None = None
    model: str | None = None
    name: str = ""


class NewEvaluation(Schema):
    """``models`` names trained models (API name or id) and base models (key), or describes others. The verdict is about
    ``trained_model``, else the first trained model; its base model is always asked as well. Without ``snapshot`` the
    models are judged on the one that it was trained from."""

    models: list[str | ContenderIn] = Field(default_factory=list)
    trained_model: str | None = None
    snapshot: str | None = None
    split: str = Split.TEST
    limit: int | None = None
    suites: list[str] | None = None
    headline: str | None = None
    metrics: list[str] | None = None
    weights: dict[str, float] | None = None
    slices: dict[str, Any] | None = None
    fairness: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None
    discordance: float | None = None
    cost: dict[str, Any] | None = None
    group_by: str | None = None
    cost_approved: bool = False

    def settings(self) -> dict[str, Any]:
        """What goes into the evaluation's settings."""
        return {name: value for name in KNOWN if (value := getattr(self, name)) is not None}


class RepeatEvaluation(Schema):
    """``snapshot`` None: the newest of the same data."""

    snapshot: str | None = None
    cost_approved: bool = False


def named_models(actor: Actor, payload: NewEvaluation) -> tuple[TrainedModel, list[ContenderWish]]:
    """The model that the verdict is about, and all that were named. Raises UserError for what the project does not have."""
    if len(payload.models) > MOST_NAMED:
        raise UserError("too_many_models", _("Name at most %(most)s models.") % {"most": MOST_NAMED}, field="models")
    first = [ContenderIn(trained_model=payload.trained_model)] if payload.trained_model else []
    wishes = [_wish(actor, entry) for entry in (*first, *payload.models)]
    subject = next((wish.trained_model for wish in wishes if wish.trained_model is not None), None)
    if subject is None:
        sentence = _("Name at least one trained model in 'models'; it is compared with its base model and the others.")
        raise UserError("one_model", sentence, field="models")
    return subject, wishes


def _wish(actor: Actor, entry: str | ContenderIn) -> ContenderWish:
    if isinstance(entry, str):
        model = _trained(actor, entry)
        return ContenderWish(trained_model=model) if model is not None else _base(entry)
    told = [name for name in ("trained_model", "base_model", "prompt") if getattr(entry, name) is not None]
    told += ["connection"] if entry.connection or entry.model else []
    if len(told) != 1:
        sentence = _("Each model is one of these: trained_model, base_model, prompt, or connection with model.")
        raise UserError("bad_model", sentence, field="models")
    if entry.trained_model is not None:
        if (model := _trained(actor, entry.trained_model)) is None:
            raise _unknown(entry.trained_model)
        return ContenderWish(trained_model=model)
    if entry.base_model is not None:
        return _base(entry.base_model, entry.name)
    if entry.prompt is not None:
        return ContenderWish(system=entry.prompt.system, shots=entry.prompt.shots, name=entry.name[:250])
    known = connections_of(actor.project)
    named = entry.connection or ""
    connection = known.filter(pk=named).first() or known.filter(name=named).first()
    if connection is None and named:
        sentence = _("This project has no connection %(name)r.") % {"name": named}
        raise UserError("connection_not_found", sentence, field="models", status=404)
    return ContenderWish(connection=connection, remote_name=entry.model or "", name=entry.name[:250])


def _trained(actor: Actor, name: str) -> TrainedModel | None:
    mine = trained_models(actor.project)
    return mine.filter(api_name=name).first() or mine.filter(pk=name).first()


def _base(key: str, name: str = "") -> ContenderWish:
    if find_base_model(key) is None:
        raise _unknown(key)
    return ContenderWish(base_model_key=key, name=name[:250])


def _unknown(name: str) -> UserError:
    sentence = _("There is no trained model %(name)r in this project, and no base model with this key.")
    return UserError("model_not_found", sentence % {"name": name}, "models", status=404)
