"""What the curves of a training say, in sentences for people who have never read one.

The headline says how it goes; warnings follow it. All rules look at ``metric`` points (``step``, ``train_loss``,
``valid_loss``?, ``tokens_per_second``?); a loss that is no finite number arrives as a string.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from web_kit.wording import number_words

MEMORISING = 1.02  # the validation loss stands this much above its best
LEARNED = 0.98
GAP = 0.5  # validation loss less training loss, smoothed, from which memorising is likely
PLATEAU_CHECKS = 3  # so many checks in a row that bring next to nothing
PLATEAU = 0.005  # the share of the loss that counts as something
CLIMBING = 1.5  # the newest training losses against the lowest stretch so far
SLOW = 0.5  # the newest speed against the usual one
_WINDOW = 10  # steps that are taken together where a single one says little

Points = Sequence[Mapping[str, Any]]


def reading(points: Points, *, is_over: bool = False) -> str:
    """The headline and the warnings about these points, as one text. Empty without any point."""
    if not points:
        return ""
    if any(_number(point.get("train_loss")) is None and "train_loss" in point for point in points[-3:]):
        return _("The loss is no longer a number: the training went astray. A smaller learning rate helps.")
    sentences = [_headline(points, is_over), _gap_warning(points)]
    if not is_over:
        sentences += [_climb_warning(points), _slow_warning(points)]
    return " ".join(filter(None, sentences))


def best_step(points: Points) -> int | None:
    """The step with the lowest validation loss; None before the first check."""
    checks = _checks(points)
    return min(checks, key=lambda pair: pair[1])[0] if checks else None


def _headline(points: Points, is_over: bool) -> str:
    checks = _checks(points)
    if len(checks) < 2:
        return "" if is_over else _("Too early to say: wait for the second check on examples it does not learn from.")
    first, (step, best), last = checks[0][1], min(checks, key=lambda pair: pair[1]), checks[-1][1]
    if last > best * MEMORISING:
        return _(
            "From step %(step)s it began to memorise: on new examples it no longer gets better. "
            "The state of step %(step)s is the one that is kept."
        ) % {"step": number_words(step)}
    if _is_flat(checks) and not is_over:
        return _(
            "It stands still: the last %(n)s checks on new examples brought next to nothing. You can stop and keep "
            "the best so far, of step %(step)s."
        ) % {"n": PLATEAU_CHECKS, "step": number_words(step)}
    if best < first * LEARNED:
        if is_over:
            return _("It learned well: the loss on new examples fell from %(first)s to %(best)s.") % {
                "first": number_words(first, 2),
                "best": number_words(best, 2),
            }
        return _("Learning well: the loss on new examples is still falling.")
    return _("It hardly gets better on new examples. More examples, or larger adjustments, may help.")


def _is_flat(checks: Sequence[tuple[int, float]]) -> bool:
    """Whether the last checks are no better than what came before them. The first checks of a run never count."""
    if len(checks) <= PLATEAU_CHECKS + 1:
        return False
    before = min(loss for _step, loss in checks[:-PLATEAU_CHECKS])
    return min(loss for _step, loss in checks[-PLATEAU_CHECKS:]) > before * (1 - PLATEAU)


def _gap_warning(points: Points) -> str:
    gap = smoothed_gap(points)
    if gap is None or gap <= GAP:
        return ""
    return _(
        "Possible overfitting: on examples it learned from it is %(gap)s better than on new ones. The best state for new "
        "examples is that of step %(step)s."
    ) % {"gap": number_words(gap, 2), "step": number_words(best_step(points))}


def smoothed_gap(points: Points) -> float | None:
    """Validation loss less training loss: the mean of the last two checks, each against the training losses since the
    check before it. None before the second check."""
    gaps, since = [], []
    for point in points:
        train, valid = _number(point.get("train_loss")), _number(point.get("valid_loss"))
        if train is not None:
            since.append(train)
        if valid is not None and since:
            gaps.append(valid - statistics.fmean(since))
            since = []
    return statistics.fmean(gaps[-2:]) if len(gaps) >= 2 else None


def _climb_warning(points: Points) -> str:
    losses = [loss for point in points if (loss := _number(point.get("train_loss"))) is not None]
    if len(losses) < 3 * _WINDOW:
        return ""
    stretches = [statistics.fmean(losses[at : at + _WINDOW]) for at in range(0, len(losses) - _WINDOW, _WINDOW)]
    lowest, newest = min(stretches), statistics.fmean(losses[-_WINDOW:])
    if lowest <= 0 or newest < lowest * CLIMBING:
        return ""
    return _("The training loss climbs again: it may be going astray. A smaller learning rate helps.")


def _slow_warning(points: Points) -> str:
    speeds = [speed for point in points if (speed := _number(point.get("tokens_per_second"))) is not None]
    if len(speeds) < 3 * _WINDOW:
        return ""
    usual, newest = statistics.median(speeds[:-_WINDOW]), statistics.median(speeds[-_WINDOW:])
    if newest >= usual * SLOW:
        return ""
    return _("It has become slow: %(now)s tokens per second instead of %(usual)s. Something else uses the machine.") % {
        "now": number_words(newest, 0),
        "usual": number_words(usual, 0),
    }


def _checks(points: Points) -> list[tuple[int, float]]:
    return [(int(point["step"]), loss) for point in points if (loss := _number(point.get("valid_loss"))) is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
