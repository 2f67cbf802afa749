"""The plots of how a model in use does: each with the sentence that it shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import formats, timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from serving_app.histograms import LATENCY_EDGES, quantile
from serving_app.queries.costs import Prices
from serving_app.queries.watch import CONFIDENCE_MIDDLES, Figures, Span, Watch
from web_kit import svg
from web_kit.svg_time import TimeMark, time_plot
from web_kit.wording import duration_words, money_words, number_words, percent_words


@dataclass(frozen=True)
class Panel:
    """A drawing with its title, its sentence and the names of its lines (one line needs none)."""

    key: str
    title: str
    sentence: str
    drawing: SafeString
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableLine:
    """One step of the span for the table."""

    moment: str
    figures: Figures


def panels_of(watch: Watch) -> list[Panel]:
    """The plots in the order of a reader's questions: how much, how fast, what failed, how sure, what it took."""
    makers = (_traffic, _speed, _errors, _confidence, _people, _verdicts, _cache, _tokens)
    return [make(watch) for make in makers]


def table_of(watch: Watch) -> list[TableLine]:
    """The same as a table, the newest first; steps without anything are left out."""
    lines = zip(watch.span.starts, watch.steps, strict=True)
    found = [TableLine(moment_words(at, watch.span), one) for at, one in lines if one.requests or one.good or one.bad]
    return found[::-1]


def moment_words(at: datetime, span: Span) -> str:
    """A moment as the span needs it: an hour, or a day and an hour."""
    local = timezone.localtime(at)
    if span.step >= timedelta(days=1):
        return formats.date_format(local, "j M")
    return formats.date_format(local, "H:i" if span.until - span.since < timedelta(days=2) else "j M H:i")


def cost_sentence(watch: Watch) -> str:
    """What the span cost, as far as prices are known."""
    prices, seconds, unpriced = Prices(watch.by_deployment), 0.0, 0
    local, remote = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)  # by currency
    for reference, figures in watch.by_deployment.items():
        cost = prices.cost(
            reference,
            prompt_tokens=figures.prompt_tokens,
            completion_tokens=figures.completion_tokens,
            seconds=figures.latency_sum,
        )
        if not cost.is_remote:
            seconds += figures.latency_sum
        elif cost.amount is None:
            unpriced += figures.prompt_tokens + figures.completion_tokens
        if cost.amount is not None:
            (remote if cost.is_remote else local)[cost.currency] += cost.amount
    told = [_machine_words(seconds, local)] if seconds or not (remote or unpriced) else []
    if remote:
        told.append(_("The provider took about %(money)s.") % {"money": _sum_words(remote)})
    if unpriced:
        told.append(_("The price of %(n)s tokens at a provider is not known.") % {"n": number_words(unpriced)})
    return " ".join(told)


def _machine_words(seconds: float, money: Mapping[str, Decimal]) -> str:
    if money:
        words = _("Answering took %(time)s of this machine, about %(money)s.")
        return words % {"time": duration_words(seconds), "money": _sum_words(money)}
    return _(
        "Answering took %(time)s. What an hour of this machine costs is not known: the person who runs this site can say "
        "it with MACHINE_HOUR_COST."
    ) % {"time": duration_words(seconds)}


def _sum_words(money: Mapping[str, Decimal]) -> str:
    return _listed([money_words(amount, currency) for currency, amount in sorted(money.items())])


def _plot(watch: Watch, *lines: Callable[[Figures], float | None], label: str, unit: str = "number") -> SafeString:
    span = watch.span
    length = span.step * len(span.starts)  # the last step may reach beyond the span, and the axis with it
    return time_plot(
        [[line(step) for step in watch.steps] for line in lines],
        label=label,
        moments=[moment_words(at, span) for at in span.starts],
        unit=unit,
        marks=[
            TimeMark((change.at - span.since) / length, _("%(name)s came into use") % {"name": change.label})
            for change in watch.changes
        ],
        highest=1.0 if unit == "share" else None,
    )


def _panel(watch: Watch, key: str, title: str, sentence: str, *lines: tuple[str, Callable[[Figures], float | None]],
           unit: str = "number") -> Panel:  # fmt: skip
    drawing = _plot(watch, *(line for _name, line in lines), label=sentence, unit=unit)
    return Panel(key, title, sentence, drawing, tuple(name for name, _line in lines) if len(lines) > 1 else ())


def _traffic(watch: Watch) -> Panel:
    whole = watch.whole
    minutes = (watch.span.until - watch.span.since).total_seconds() / 60
    busiest = max((step.requests for step in watch.steps), default=0) / (watch.span.step.total_seconds() / 60)
    sentence = _("%(n)s, %(mean)s a minute on average and %(most)s at the busiest.") % {
        "n": ngettext("%(n)s question", "%(n)s questions", whole.requests) % {"n": number_words(whole.requests)},
        "mean": number_words(whole.requests / minutes, 1),
        "most": number_words(busiest, 1),
    }
    return _panel(watch, "traffic", _("How much is asked"), sentence, (_("questions"), lambda one: one.requests))


def _speed(watch: Watch) -> Panel:
    whole = watch.whole
    if whole.half_within is None:
        sentence = _("Nothing was answered in this time.")
    else:
        sentence = _("Half of the answers come within %(half)s; 95 of 100 within %(most)s.") % {
            "half": duration_words(whole.half_within),
            "most": duration_words(whole.most_within),
        }
        first = _first_word(whole)
        sentence = f"{sentence} {first}" if first else sentence
    lines = (
        (_("half within (seconds)"), lambda one: one.half_within),
        (_("95 of 100 within (seconds)"), lambda one: one.most_within),
    )
    return _panel(watch, "speed", _("How fast it answers"), sentence, *lines)


def _first_word(whole: Figures) -> str:
    half = quantile(whole.first_token, LATENCY_EDGES, 0.5)
    return _("Half of the streams begin within %(n)s.") % {"n": duration_words(half)} if half is not None else ""


def _errors(watch: Watch) -> Panel:
    whole = watch.whole
    kinds = [
        (whole.failed, _("%(n)s failed on our side")),
        (whole.refused, _("%(n)s were refused because of the call itself")),
        (whole.left, _("in %(n)s the caller left before the end")),
    ]
    told = [words % {"n": number_words(count)} for count, words in kinds if count]
    if told:
        sentence = _("Of %(n)s questions %(kinds)s.") % {"n": number_words(whole.requests), "kinds": _listed(told)}
    else:
        sentence = _("Every question got its answer.") if whole.requests else _("Nothing was asked in this time.")
    lines = (
        (_("failed"), lambda one: one.failed),
        (_("refused"), lambda one: one.refused),
        (_("caller left"), lambda one: one.left),
    )
    return _panel(watch, "errors", _("What went wrong"), sentence, *lines)


def _confidence(watch: Watch) -> Panel:
    counts = watch.whole.confidence
    total = sum(counts)
    if not total:
        sentence = _("Nothing is known of confidence in this time.")
    else:
        sure = sum(count for count, middle in zip(counts, CONFIDENCE_MIDDLES, strict=True) if middle > 0.9)
        sentence = _("The model was %(mean)s sure on average, and more than 90%% sure of %(sure)s of its answers.") % {
            "mean": percent_words(watch.whole.mean_confidence, 0),
            "sure": percent_words(sure / total, 0),
        }
    bins = [
        {"from": round(middle * 100 - 2.5), "to": round(middle * 100 + 2.5), "count": count}
        for middle, count in zip(CONFIDENCE_MIDDLES, counts or [0] * len(CONFIDENCE_MIDDLES), strict=True)
    ]
    return Panel("confidence", _("How sure it is"), sentence, svg.histogram(bins, label=sentence, unit="%"))


def _people(watch: Watch) -> Panel:
    whole = watch.whole
    sentence = _("%(n)s of the answers (%(share)s) were put before a person.") % {
        "n": number_words(whole.needs_human),
        "share": percent_words(whole.human_share or 0.0),
    }
    line = (_("share"), lambda one: one.human_share)
    return _panel(watch, "people", _("What a person should look at"), sentence, line, unit="share")


def _verdicts(watch: Watch) -> Panel:
    good, bad = watch.whole.good, watch.whole.bad
    if good or bad:
        sentence = _("People called %(good)s of %(all)s answers good and %(bad)s bad.") % {
            "good": number_words(good),
            "bad": number_words(bad),
            "all": number_words(good + bad),
        }
    else:
        sentence = _("Nobody has said what they think of an answer in this time.")
    lines = ((_("good"), lambda one: one.good), (_("bad"), lambda one: one.bad))
    return _panel(watch, "verdicts", _("What people think"), sentence, *lines)


def _cache(watch: Watch) -> Panel:
    whole = watch.whole
    sentence = _(
        "%(share)s of the answers came from a cache: %(exact)s to the same question, %(alike)s to one that means the same."
    ) % {
        "share": percent_words(whole.hit_share or 0.0),
        "exact": number_words(whole.exact_hits),
        "alike": number_words(whole.semantic_hits),
    }
    line = (_("share"), lambda one: one.hit_share)
    return _panel(watch, "cache", _("What was known already"), sentence, line, unit="share")


def _tokens(watch: Watch) -> Panel:
    whole = watch.whole
    sentence = _("%(read)s tokens were read and %(written)s written. %(cost)s") % {
        "read": number_words(whole.prompt_tokens),
        "written": number_words(whole.completion_tokens),
        "cost": cost_sentence(watch),
    }
    lines = ((_("read"), lambda one: one.prompt_tokens), (_("written"), lambda one: one.completion_tokens))
    return _panel(watch, "tokens", _("What it took"), sentence, *lines)


def _listed(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    return _("%(first)s and %(last)s") % {"first": ", ".join(words[:-1]), "last": words[-1]}
