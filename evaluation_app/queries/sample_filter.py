"""Which of an evaluation's cases somebody wants to see: read from an address, and written back into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from finetune_engine.errors import UserError

OUTCOMES = ("right", "wrong", "improved", "worsened")
LONGEST_TEXT = 200


@dataclass(frozen=True)
class SampleFilter:
    """``model`` is the key of the model that ``outcome`` and ``rule`` are about (empty: the one under judgement).

    ``outcome`` is one of ``OUTCOMES``: improved and worsened are against the reference. ``column`` and ``value`` keep rows
    of one metadata value, ``rule`` (an acceptance rule's id) those whose answer fails it, ``text`` those that hold it.
    """

    model: str = ""
    outcome: str = ""
    column: str = ""
    value: str = ""
    rule: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.outcome or self.column or self.rule or self.text)

    def as_query(self) -> str:
        """The filter as the end of an address, without the question mark."""
        told = {"q" if name == "text" else name: value for name, value in vars(self).items() if value}
        return urlencode(told)


def filter_of(told: Mapping[str, str]) -> SampleFilter:
    """Read ``model``, ``outcome``, ``column``, ``value`` (or both in one as ``slice=column=value``), ``rule`` and ``q``.

    ``tuned=right|wrong`` is the older way to ask for an outcome. Raises UserError for an outcome that is none.
    """
    told = {name: str(text).replace("\0", "") for name, text in told.items()}  # PostgreSQL takes no NUL
    outcome = told.get("outcome") or told.get("tuned") or ""
    if outcome and outcome not in OUTCOMES:
        sentence = _("The outcome is one of %(known)s.") % {"known": ", ".join(OUTCOMES)}
        raise UserError("bad_filter", sentence, "outcome")
    column, value = told.get("column") or "", told.get("value") or ""
    if not column and (both := told.get("slice") or ""):
        column, _equals, value = both.partition("=")
    return SampleFilter(
        model=(told.get("model") or "")[:40],
        outcome=outcome,
        column=column,
        value=value,
        rule=(told.get("rule") or "")[:40],
        text=(told.get("q") or "").strip()[:LONGEST_TEXT],
    )
