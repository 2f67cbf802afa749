"""Template tags that every page may use. They are builtins: no ``{% load %}`` is needed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import template
from django.forms import BoundField
from django.templatetags.static import static
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from web_kit import svg, wording
from web_kit.glossary import GLOSSARY
from web_kit.states import look_of

register = template.Library()
_term_numbers = itertools.count(1)


def _number(value: Any) -> int | float | Decimal | None:
    """``value`` as a number, None when it is none (an empty string, a missing key)."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return value
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


@register.simple_tag
def icon(name: str, label: str = "", css_class: str = "") -> SafeString:
    """A symbol of the icon sprite. Without ``label`` it is decoration and hidden from screen readers."""
    classes = f"icon {css_class}".strip()
    href = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="{}" role="img" aria-label="{}"><use href="{}"></use></svg>', classes, label, href
        )
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"></use></svg>', classes, href)


@register.filter
def ago(moment: Any) -> SafeString | str:
    """A relative moment with the exact one on hover and in print: ``<time datetime title>3 minutes ago</time>``."""
    if not isinstance(moment, date):
        return wording.NOTHING
    if not isinstance(moment, datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), formats.date_format(moment))
    aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    local = timezone.localtime(aware)
    exact = f"{formats.date_format(local, 'DATETIME_FORMAT')} {local.tzname()}"
    return format_html('<time datetime="{}" title="{}">{}</time>', aware.isoformat(), exact, wording.ago_words(aware))


@register.filter
def number(value: Any, places: int | None = None) -> str:
    """``{{ 5200|number }}`` is ``5,200``; ``{{ 0.8734|number:2 }}`` is ``0.87``; nothing is a dash."""
    return wording.number_words(_number(value), places)


@register.filter
def percent(value: Any, places: int = 1) -> str:
    """``{{ 0.873|percent }}`` is ``87.3%``; nothing is a dash."""
    return wording.percent_words(_number(value), places)


@register.filter
def duration(value: Any) -> str:
    """``{{ 4321|duration }}`` is ``1 h 12 min``; a ``timedelta`` works as well."""
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    return wording.duration_words(_number(value))


@register.filter
def money(value: Any, currency: str = "USD") -> str:
    """``{{ amount|money:"EUR" }}`` is ``12.50 EUR``; nothing is ``price not known``."""
    return wording.money_words(_number(value), currency)


@register.filter
def bytesize(value: Any) -> str:
    """``{{ 1536|bytesize }}`` is ``1.5 KB``."""
    return wording.bytes_words(_number(value))


@register.filter
def heat(share: Any) -> str:
    """The class ``heat-0`` to ``heat-9`` for a share between 0 and 1."""
    value = float(_number(share) or 0)
    return f"heat-{min(9, max(0, int(value * 10)))}"


@register.filter
def item(mapping: Any, key: Any) -> Any:
    """``mapping[key]``, or None: for dictionaries whose key is a variable."""
    if isinstance(mapping, Mapping):
        return mapping.get(key)
    try:
        return mapping[key]
    except (KeyError, IndexError, TypeError):
        return None


@register.simple_tag
def state_badge(state: Any, label: str = "", tone: str = "") -> SafeString:
    """A badge with the state's word, colour and shape. ``label`` and ``tone`` win over the table of states."""
    look = look_of(str(state), word=label, tone=tone)
    return format_html('<span class="badge badge-{}">{}{}</span>', look.tone, icon(look.icon), look.word)


@register.simple_tag
def badge(word: str, tone: str = "idle") -> SafeString:
    """A badge for something that is no state: ``{% badge "Best" "ok" %}``."""
    return state_badge("", word, tone)


@register.simple_tag
def term(key: str, word: str = "", lower: bool = False) -> SafeString:
    """A glossary word: hover shows the meaning, and pressing it opens a note. ``word`` is the text to show.

    ``lower`` begins the glossary's own word with a small letter (``LoRA`` stays). An unknown key shows the plain
    word, so that a typing mistake never breaks a page.
    """
    entry = GLOSSARY.get(key)
    if entry is None:
        return format_html("{}", word or key)
    shown = word or (_in_sentence(str(entry.word)) if lower else entry.word)
    note_id = f"term-{key.replace('_', '-')}-{next(_term_numbers)}"
    return format_html(
        '<button type="button" class="term" popovertarget="{}" title="{}">{}</button>'
        '<span class="term-note" id="{}" popover><strong>{}</strong>{}</span>',
        note_id,
        entry.meaning,
        shown,
        note_id,
        entry.word,
        entry.meaning,
    )


def _in_sentence(word: str) -> str:
    return word if any(letter.isupper() for letter in word[1:]) else word[:1].lower() + word[1:]


@register.simple_tag
def interval(
    value: Any,
    ci_low: Any = None,
    ci_high: Any = None,
    low: float = 0.0,
    high: float = 1.0,
    reference: Any = None,
    base: bool = False,
    label: str = "",
) -> SafeString:
    """A score with its confidence interval as a small bar; ``base`` draws it grey, ``reference`` is a dashed line."""
    v, a, b, r = (None if _number(x) is None else float(_number(x) or 0) for x in (value, ci_low, ci_high, reference))
    words = label or (
        _("%(value)s, interval from %(low)s to %(high)s")
        % {"value": number(v, 3), "low": number(a, 3), "high": number(b, 3)}
        if a is not None
        else number(v, 3)
    )
    return svg.interval(v, a, b, low=float(low), high=float(high), reference=r, is_base=bool(base), label=words)


@register.simple_tag
def histogram(bins: Sequence[Mapping[str, Any]] | None, label: str, unit: str = "") -> SafeString:
    """Bars for ``[{"from", "to", "count"}, ...]``. ``label`` says in a sentence what is shown."""
    return svg.histogram(bins or [], label=label, unit=unit)


@register.simple_tag
def line_chart(
    series: Sequence[tuple[str, Sequence[tuple[Any, Any]]]], label: str, x_name: str = "", height: int = 190
) -> SafeString:
    """Up to three lines ``[(name, [(x, y), ...]), ...]``; add a ``chart-legend`` list when there is more than one."""
    return svg.line_chart(series, label=label, x_name=x_name, height=height)


@register.simple_tag
def sparkline(values: Sequence[Any] | None, label: str) -> SafeString:
    """A line without axes for a table cell."""
    return svg.sparkline(values or [], label=label)


@register.simple_tag(takes_context=True)
def page_title(context: template.Context, *parts: Any) -> str:
    """``Jobs · Contracts · Tunesmith`` for ``<title>``: the parts, the project in ``nav``, the product."""
    project = getattr(context.get("nav"), "project", None)
    name = getattr(project, "name", None) or getattr(project, "label", None)
    words = [str(part) for part in parts if part] + ([str(name)] if name else []) + ["Tunesmith"]
    return " · ".join(dict.fromkeys(words))


@register.simple_tag
def field_term(field: BoundField) -> SafeString | str:
    """The field's glossary word in small type, when the form names one in its ``terms``."""
    key = getattr(field.form, "terms", {}).get(field.name, "")
    return format_html('<span class="field-term">{}</span>', term(key, lower=True)) if key in GLOSSARY else ""


@register.inclusion_tag("web_kit/_confusion.html")
def confusion_matrix(labels: Sequence[str], matrix: Sequence[Sequence[int]], caption: str = "") -> dict[str, Any]:
    """Expected labels down, answers across; the shade is the share of the row. ``caption`` is optional."""
    rows = []
    for i, counts in enumerate(matrix):
        total = sum(counts) or 1
        cells = [{"count": n, "heat": heat(n / total), "is_hit": i == j} for j, n in enumerate(counts)]
        rows.append({"label": labels[i] if i < len(labels) else _("other"), "cells": cells})
    columns = list(labels)
    width = max((len(r) for r in matrix), default=0)
    columns += [_("other")] * (width - len(columns))
    return {"labels": columns, "rows": rows, "caption": caption}
