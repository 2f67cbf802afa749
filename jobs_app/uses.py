"""Who uses a trained model. An app above this one says so by registering a look; nothing here knows the apps above."""

from __future__ import annotations

from collections.abc import Callable

from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from work_kit.choices import OPEN

Look = Callable[[TrainedModel], str]

_LOOKS: list[Look] = []


def register(look: Look) -> None:
    """``look(model)`` says in a sentence what uses the model and how to end that; empty when nothing does. Once per
    process, from ``AppConfig.ready``."""
    if look not in _LOOKS:
        _LOOKS.append(look)


def use_of(model: TrainedModel) -> str:
    """The first use that is found, as a sentence; empty when the model can go."""
    going_on = model.continuations.filter(work__state__in=OPEN).first()
    if going_on is not None:
        return f"The training {going_on.name!r} goes on from this model. Wait for its end or cancel it first."
    return next((sentence for look in _LOOKS if (sentence := look(model))), "")


def refuse_if_used(model: TrainedModel) -> None:
    """Raises UserError (409) when something uses the model."""
    if sentence := use_of(model):
        raise UserError("model_in_use", sentence, status=409)
