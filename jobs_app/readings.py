"""What a loss chart says, in a sentence for people who have never read one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from web_kit.wording import number_words

MEMORISING = 1.02  # the validation loss stands this much above its best
LEARNED = 0.98


def reading(points: Sequence[Mapping[str, Any]], *, is_over: bool = False) -> str:
    """One or two sentences about the points (``step``, ``train_loss``, ``valid_loss``?). Empty without any."""
    if not points:
        return ""
    if any(_number(point.get("train_loss")) is None and "train_loss" in point for point in points[-3:]):
        return _("The loss is no longer a number: the training went astray. A smaller learning rate helps.")
    checks = [(point["step"], _number(point.get("valid_loss"))) for point in points if "valid_loss" in point]
    known = [(step, loss) for step, loss in checks if loss is not None]
    if len(known) < 2:
        return (
            _("Too early to say: wait for the second check on examples it does not learn from.") if not is_over else ""
        )
    first, (best_step, best), last = known[0][1], min(known, key=lambda pair: pair[1]), known[-1][1]
    if last > best * MEMORISING:
        return _(
            "From step %(step)s it began to memorise: on new examples it no longer gets better. "
            "The state of step %(step)s is the one that is kept."
        ) % {"step": number_words(int(best_step))}
    if best < first * LEARNED:
        if is_over:
            return _("It learned well: the loss on new examples fell from %(first)s to %(best)s.") % {
                "first": number_words(first, 2),
                "best": number_words(best, 2),
            }
        return _("Learning well: the loss on new examples is still falling.")
    return _("It hardly gets better on new examples. More examples, or larger adjustments, may help.")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
