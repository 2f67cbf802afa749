"""Who uses a trained model or a key. An app above this one says so by registering a look; nothing here knows the apps above."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from jobs_app.models import ProviderConnection, TrainedModel
from work_kit.choices import OPEN

Look = Callable[[TrainedModel], str]
ConnectionLook = Callable[[ProviderConnection], str]

_LOOKS: list[Look] = []
_CONNECTION_LOOKS: list[ConnectionLook] = []


def register(look: Look) -> None:
    """``look(model)`` says in a sentence what uses the model and how to end that; empty when nothing does. Once per
    process, from ``AppConfig.ready``."""
    if look not in _LOOKS:
        _LOOKS.append(look)


def register_connection(look: ConnectionLook) -> None:
    """As ``register``, for the key at a provider."""
    if look not in _CONNECTION_LOOKS:
        _CONNECTION_LOOKS.append(look)


def use_of(model: TrainedModel) -> str:
    """The first use that is found, as a sentence; empty when the model can go."""
    going_on = model.continuations.filter(work__state__in=OPEN).first()
    if going_on is not None:
        sentence = _("The training %(name)r goes on from this model. Wait for its end or cancel it first.")
        return sentence % {"name": going_on.name}
    return next((sentence for look in _LOOKS if (sentence := look(model))), "")


def refuse_if_used(model: TrainedModel) -> None:
    """Raises UserError (409) when something uses the model."""
    if sentence := use_of(model):
        raise UserError("model_in_use", sentence, status=409)


def refuse_if_key_is_used(connection: ProviderConnection) -> None:
    """Raises UserError (409) when something needs this key now."""
    sentence = next((sentence for look in _CONNECTION_LOOKS if (sentence := look(connection))), "")
    if connection.jobs.filter(work__state__in=OPEN).exists():
        sentence = _("A training uses this key now. Wait for its end, or cancel it first.")
    if sentence:
        raise UserError("connection_in_use", sentence, status=409)
