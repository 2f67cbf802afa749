"""What an answer's confidence means, and whether a person should look at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.utils.translation import gettext as _

from serving_app.queries import ServedModel
from web_kit.wording import percent_words


@dataclass(frozen=True)
class Sureness:
    """``calibrated`` is the share of such answers that are right, None when nobody knows."""

    calibrated: float | None = None
    needs_human: bool = False


def sureness_of(model: ServedModel, confidence: float | None) -> Sureness:
    """Judge an answer by the model's own confidence (0..1, None when it gave none).

    A person should look where the calibrated confidence is below the deployment's ``ask_human_below``. Without a curve the
    model's own number is compared; without any number nobody knows, and a person looks.
    """
    settings = model.settings
    if confidence is not None and math.isnan(confidence):
        confidence = None
    calibrated = None
    if confidence is not None and settings.curve is not None:
        calibrated = settings.curve.apply(confidence)
    if settings.ask_human_below is None:
        return Sureness(calibrated)
    told = confidence if calibrated is None else calibrated
    return Sureness(calibrated, told is None or told < settings.ask_human_below)


def sureness_words(calibrated: float | None, confidence: float | None) -> str:
    """One plain sentence: how many of ten such answers are right, or what is known instead."""
    if calibrated is not None:
        of = 10 if 0.05 <= calibrated <= 0.95 else 100
        return _("About %(right)s of %(of)s answers like this are right.") % {"right": round(calibrated * of), "of": of}
    if confidence is not None:
        sentence = _(
            "The model gave its words a probability of %(share)s on average; how often it is right then is not known."
        )
        return sentence % {"share": percent_words(confidence, 0)}
    return _("The model did not say how sure it is.")
