"""What a comparison of two evaluations says, in sentences."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import MetricWords
from evaluation_app.queries.compare import Pair
from evaluation_app.queries.paired import FEWEST_COMMON, Hindrance
from evaluation_app.queries.report.words import chance_words
from web_kit.wording import number_words

ALPHA = 0.05


def pair_title(pair: Pair) -> str:
    """The answer in one line: better, worse, or not to be told apart."""
    names = {"first": pair.first.subject, "second": pair.second.subject}
    if pair.paired is None:
        return _obstacle(pair.hindrance) % names
    if (pair.p_holm or 0.0) >= ALPHA:
        return _("“%(second)s” and “%(first)s” cannot be told apart by these cases") % names
    if pair.paired.difference > 0:
        return _("“%(second)s” is better than “%(first)s”") % names
    return _("“%(second)s” is worse than “%(first)s”") % names


def _obstacle(hindrance: Hindrance | None) -> str:
    if hindrance is Hindrance.FIGURES:
        return _("“%(second)s” and “%(first)s” are judged by different figures")
    if hindrance is Hindrance.CASES:
        return _("“%(second)s” and “%(first)s” were not asked the same cases")
    return _("“%(second)s” and “%(first)s” cannot be held against each other case by case")


def pair_tone(pair: Pair) -> str:
    """``ok`` or ``bad`` for a difference beyond chance, ``warn`` where none was asked of the same cases, else none."""
    if pair.paired is None:
        return "warn"
    if (pair.p_holm or 0.0) >= ALPHA:
        return ""
    return "ok" if pair.paired.difference > 0 else "bad"


def pair_sentences(pair: Pair) -> list[str]:
    """The figures behind it, one thought each."""
    sentences = []
    if pair.hindrance is Hindrance.FEW:
        sentences.append(
            _("They were asked the same cases, but fewer than %(n)s: too few to say more.") % {"n": FEWEST_COMMON}
        )
    elif not pair.is_same:
        sentences.append(_not_the_same(pair))
    if pair.paired is not None:
        found = pair.paired
        where = _("On the same %(n)s cases") if pair.is_same else _("On the %(n)s cases that both were asked")
        gain = _gain(found.difference, found.ci_low, found.ci_high)
        sentences.append(
            _("%(where)s: %(gain)s; %(chance)s.")
            % {
                "where": where % {"n": number_words(found.n)},
                "gain": gain,
                "chance": chance_words(found.p_value if pair.p_holm is None else pair.p_holm),
            }
        )
        sentences.append(_counts(pair))
    return sentences


def _not_the_same(pair: Pair) -> str:
    if pair.paired is not None:
        sentence = _(
            "Only some of the cases are the same, so part of the difference in the table may come from the cases."
        )
    elif pair.hindrance is Hindrance.FIGURES:
        sentence = _("Case by case, a figure can only be held against the same figure.")
    elif pair.hindrance is Hindrance.ANSWERS:
        sentence = _("One of them kept no answers that could be held against the other's case by case.")
    else:
        sentence = _("A difference between them may come from the cases rather than from the models.")
    if pair.unpaired is not None:
        interval = pair.unpaired.interval
        gain = _gain(pair.unpaired.value, interval.low, interval.high, pair.words)
        sentence += " " + _("All in all: %(gain)s, taking the cases as unrelated.") % {"gain": gain}
    return sentence


def _counts(pair: Pair) -> str:
    found = pair.paired
    assert found is not None
    if found.is_binary:
        won = ngettext("%(n)s case went from wrong to right", "%(n)s cases went from wrong to right", found.better)
        lost = ngettext("%(n)s from right to wrong", "%(n)s from right to wrong", found.worse)
    else:
        won = ngettext("%(n)s case got better", "%(n)s cases got better", found.better)
        lost = ngettext("%(n)s got worse", "%(n)s got worse", found.worse)
    won, lost = won % {"n": number_words(found.better)}, lost % {"n": number_words(found.worse)}
    return _("%(won)s, %(lost)s.") % {"won": won, "lost": lost}


def _gain(value: float, low: float, high: float, words: MetricWords | None = None) -> str:
    scale, places = (100, 1) if words is None or words.unit == "share" else (1, 2)
    signed = [("+" if x > 0 else "") + number_words(x * scale, places) for x in (value, low, high)]
    unit = _(" points") if scale == 100 else ""
    told = {"gain": signed[0], "unit": unit, "low": signed[1], "high": signed[2]}
    return _("%(gain)s%(unit)s (%(low)s to %(high)s)") % told
