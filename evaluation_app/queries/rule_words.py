"""An acceptance rule as one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.choices import RuleKind
from evaluation_app.queries.pattern_words import pattern_words
from web_kit.wording import number_words

_SHOWN = 4


def rule_words(kind: str, demand: Mapping[str, Any]) -> str:
    """``The answer must contain “30 days” or “one month”.`` The demand is complete, as the engine fills it in."""
    said = {
        RuleKind.CONTAINS: _contains,
        RuleKind.EXCLUDES: _excludes,
        RuleKind.MATCHES: _matches,
        RuleKind.AVOIDS: _avoids,
        RuleKind.LENGTH: _length,
        RuleKind.IF_THEN: _if_then,
        RuleKind.JSON_SCHEMA: _schema,
        RuleKind.LABELS: _labels,
    }
    return said[RuleKind(kind)](demand)


def listed(texts: Sequence[str], joint: str) -> str:
    """Quoted and joined: ``“a”, “b” or “c”``; long lists are cut and say so."""
    shown = [f"“{text if len(text) <= 60 else text[:59] + '…'}”" for text in texts[:_SHOWN]]
    if len(texts) > _SHOWN:
        return _("%(texts)s and %(n)s more") % {"texts": ", ".join(shown), "n": number_words(len(texts) - _SHOWN)}
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {joint} {shown[-1]}"


def _joint(demand: Mapping[str, Any]) -> str:
    return _("and") if demand.get("all", True) else _("or")


def _case(demand: Mapping[str, Any], default: bool = True) -> str:
    ignore_case = demand.get("ignore_case", default)
    if ignore_case == default:
        return ""
    return " " + (_("Capital and small letters are alike.") if ignore_case else _("Capital letters count."))


def _contains(demand: Mapping[str, Any]) -> str:
    sentence = _("The answer must contain %(texts)s.") % {"texts": listed(demand["texts"], _joint(demand))}
    return sentence + _case(demand)


def _excludes(demand: Mapping[str, Any]) -> str:
    return _("The answer must not contain %(texts)s.") % {"texts": listed(demand["texts"], _("or"))} + _case(demand)


def _matches(demand: Mapping[str, Any]) -> str:
    return _pattern(_("The answer must match a pattern: %(words)s."), demand)


def _avoids(demand: Mapping[str, Any]) -> str:
    return _pattern(_("Nothing in the answer may match a pattern: %(words)s."), demand)


def _pattern(sentence: str, demand: Mapping[str, Any]) -> str:
    return sentence % {"words": pattern_words(demand["pattern"]) or demand["pattern"]} + _case(demand, default=False)


def _length(demand: Mapping[str, Any]) -> str:
    unit = _("words") if demand.get("unit") == "words" else _("characters")
    told = {"least": number_words(demand.get("least", 1)), "most": number_words(demand.get("most")), "unit": unit}
    if demand.get("most") is None:
        return _("The answer must have at least %(least)s %(unit)s.") % told
    if not demand.get("least"):
        return _("The answer must have at most %(most)s %(unit)s.") % told
    return _("The answer must have %(least)s to %(most)s %(unit)s.") % told


def _if_then(demand: Mapping[str, Any]) -> str:
    return _("If the question mentions %(first)s, the answer must mention %(then)s.") % {
        "first": listed(demand["if_mentions"], _("or")),
        "then": listed(demand["then_mentions"], _joint(demand)),
    } + _case(demand)


def _schema(demand: Mapping[str, Any]) -> str:
    schema = demand["schema"]
    required = [str(name) for name in schema.get("required") or ()]
    if required:
        return _("The answer must be JSON with %(names)s.") % {"names": listed(required, _("and"))}
    return _("The answer must be JSON of the given shape.")


def _labels(demand: Mapping[str, Any]) -> str:
    return _("The answer must be one of %(labels)s.") % {"labels": listed(demand["labels"], _("or"))}
