"""Drawings of a dataset or snapshot, made from the figures that its job counted: no row is looked at for them.

Each drawing has a sentence that says the same in words, and its numbers as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import get_language_info, ngettext
from django.utils.translation import gettext as _

from datasets_app.choices import SPLITS, TaskType, code_title
from datasets_app.models import Dataset, Snapshot
from web_kit.wording import number_words, percent_words

MOST_BARS = 15
SAMENESS = ("duplicate_exact", "duplicate_near", "contradiction")


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart. ``share`` is 0..1 of all that was counted, ``width`` 0..1 of the longest bar; ``query``
    narrows the list of rows to those that it counts."""

    label: str
    count: int
    share: float
    width: float
    query: str = ""


@dataclass(frozen=True)
class Plot:
    """One drawing: either ``bins`` (a histogram; ``unit`` is what the axis counts) or ``bars``.

    ``sentence`` is the drawing in words; ``first_column`` and ``counted`` head its table.
    """

    key: str
    title: str
    sentence: str
    first_column: str
    counted: str
    bins: list[dict[str, Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    unit: str = ""
    left_out: int = 0


def dataset_plots(dataset: Dataset) -> list[Plot]:
    """What can be drawn of a ready dataset; a figure that was not counted has no drawing."""
    is_labelled = dataset.task_type == TaskType.CLASSIFICATION
    plots = [
        _label_plot(dataset.labels),
        *_length_plots(dataset.statistics, with_answers=not is_labelled),
        _sameness(dataset),
        *_kind_plots(dataset.statistics),
    ]
    return [plot for plot in plots if plot is not None]


def snapshot_plots(snapshot: Snapshot) -> list[Plot]:
    """The drawings of a ready snapshot; those of each split where its job counted them apart."""
    figures = snapshot.statistics or {}
    is_labelled = snapshot.task_type == TaskType.CLASSIFICATION
    plots = [*_length_plots(figures, with_answers=not is_labelled), *_kind_plots(figures)]
    apart: Mapping[str, Any] = figures.get("splits") or {}
    for split in SPLITS:
        for plot in _length_plots(apart.get(split) or {}, with_answers=not is_labelled):
            if plot is not None:
                plots.append(_of_split(plot, split))
    return [plot for plot in plots if plot is not None]


def bars_of(
    counts: Mapping[str, Any], *, names: Mapping[str, str] | None = None, in_order: bool = False
) -> tuple[list[Bar], int]:
    """Bars for ``{key: count}`` and how many more there would be; the most frequent first, or in the order given."""
    pairs = [(str(key), int(count)) for key, count in counts.items() if int(count) > 0]
    if not in_order:
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    total, most = sum(n for _key, n in pairs) or 1, max((n for _key, n in pairs), default=1)
    bars = [Bar((names or {}).get(key, key), n, n / total, n / most) for key, n in pairs[:MOST_BARS]]
    return bars, max(0, len(pairs) - MOST_BARS)


def _label_plot(labels: Mapping[str, int]) -> Plot | None:
    bars, left_out = bars_of(labels)
    bars = [replace(bar, query=urlencode({"label": bar.label})) for bar in bars]
    if not bars:
        return None
    count = len(labels)
    sentence = ngettext("%(n)s label.", "%(n)s labels.", count) % {"n": number_words(count)}
    if count > 1:
        total = sum(labels.values()) or 1
        rare = min(labels, key=lambda name: (labels[name], name))
        sentence += " " + _(
            "The most frequent, “%(most)s”, has %(share)s of the rows; the rarest, “%(rare)s”, %(n)s."
        ) % {
            "most": bars[0].label,
            "share": percent_words(bars[0].count / total),
            "rare": rare,
            "n": ngettext("%(n)s row", "%(n)s rows", labels[rare]) % {"n": number_words(labels[rare])},
        }
    return Plot("labels", _("Labels"), sentence, _("Label"), _("Rows"), bars=bars, left_out=left_out)


def _length_plots(figures: Mapping[str, Any], *, with_answers: bool) -> list[Plot | None]:
    words = _("words")
    wanted = [("prompt_length", _("Length of the inputs"), words)]
    if with_answers:
        wanted.append(("completion_length", _("Length of the answers"), words))
    wanted.append(("token_length", _("Length in tokens of the model"), _("tokens")))
    return [_histogram(figures, name, title, unit) for name, title, unit in wanted]


def _histogram(figures: Mapping[str, Any], name: str, title: str, unit: str) -> Plot | None:
    bins = [dict(one) for one in figures.get(f"{name}_histogram") or [] if isinstance(one, Mapping)]
    if not bins:
        return None
    facts = {"middle": number_words(_middle(bins)), "unit": unit, "longest": number_words(bins[-1].get("to"))}
    sentence = _("Half of them have at most %(middle)s %(unit)s; the longest has %(longest)s.") % facts
    if (average := figures.get(f"avg_{name}")) is not None:
        sentence += " " + _("On average %(n)s.") % {"n": number_words(average, 1)}
    return Plot(f"{name}s", title, sentence, unit.capitalize(), _("Rows"), bins=bins, unit=unit)


def _middle(bins: Sequence[Mapping[str, Any]]) -> int | None:
    """The upper end of the bin in which the middle row lies."""
    half, seen = sum(int(one.get("count", 0)) for one in bins) / 2, 0
    for one in bins:
        seen += int(one.get("count", 0))
        if seen >= half:
            return one.get("to")
    return None


def _sameness(dataset: Dataset) -> Plot | None:
    """Rows that say what another row says."""
    found = [(code, int(dataset.codes.get(code, 0))) for code in SAMENESS]
    found = [(code, n) for code, n in found if n]
    if not found:
        return None
    most = max(n for _code, n in found)
    bars = [
        Bar(code_title(code), n, n / (dataset.total or 1), n / most, query=urlencode({"code": code}))
        for code, n in found
    ]
    sentence = _("Of %(total)s rows, these say the same as another row, or contradict one.") % {
        "total": number_words(dataset.total)
    }
    return Plot("sameness", _("Duplicates and contradictions"), sentence, _("Finding"), _("Findings"), bars=bars)


def _kind_plots(figures: Mapping[str, Any]) -> list[Plot | None]:
    total = int(figures.get("total_examples") or 0)
    turns, roles = _counts(figures.get("turns")), _counts(figures.get("roles"))
    is_plain = set(turns) <= {"2"} and set(roles) <= {"user", "assistant"}  # every row is one input and one answer
    return [
        _languages(_counts(figures.get("languages")), total),
        None if is_plain else _turns(turns),
        None if is_plain else _roles(roles),
    ]


def _counts(raw: Any) -> dict[str, int]:
    return {str(key): int(n) for key, n in raw.items() if int(n) > 0} if isinstance(raw, Mapping) else {}


def _languages(counts: dict[str, int], total: int) -> Plot | None:
    bars, left_out = bars_of(counts, names=language_names(counts))
    if not bars:
        return None
    sentence = _("Most rows are in %(language)s (%(share)s).") % _most(bars, "language")
    looked_at = sum(counts.values())
    if looked_at < total:
        sentence += " " + _("Judged by %(n)s rows.") % {"n": number_words(looked_at)}
    return Plot("languages", _("Languages"), sentence, _("Language"), _("Rows"), bars=bars, left_out=left_out)


def _turns(counts: dict[str, int]) -> Plot | None:
    ordered = dict(sorted(counts.items(), key=lambda pair: _as_number(pair[0])))
    bars, left_out = bars_of(ordered, in_order=True)
    if not bars:
        return None
    sentence = _("Most often a row has %(messages)s messages (%(share)s of the rows).") % _most(bars, "messages")
    return Plot("turns", _("Messages in a row"), sentence, _("Messages"), _("Rows"), bars=bars, left_out=left_out)


def _roles(counts: dict[str, int]) -> Plot | None:
    bars, left_out = bars_of(counts, names=role_names())
    if not bars:
        return None
    sentence = _("%(n)s messages in all rows together.") % {"n": number_words(sum(counts.values()))}
    return Plot("roles", _("Who speaks"), sentence, _("Role"), _("Messages"), bars=bars, left_out=left_out)


def _most(bars: Sequence[Bar], name: str) -> dict[str, str]:
    most = max(bars, key=lambda bar: bar.count)
    return {name: most.label, "share": percent_words(most.share)}


def language_names(counts: Mapping[str, Any]) -> dict[str, str]:
    """``{"de": "German"}``; a code without a known name is left out."""
    names = {}
    for code in counts:
        try:
            names[code] = str(get_language_info(code)["name_translated"])
        except KeyError:
            continue
    return names | {"": _("not recognised"), "und": _("not recognised")}


def role_names() -> dict[str, str]:
    """The plain words for who speaks; an unknown role keeps its name."""
    return {
        "system": _("instructions"),
        "developer": _("instructions (developer)"),
        "user": _("input"),
        "assistant": _("answer"),
        "tool": _("result of a tool"),
    }


def _as_number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("inf")


def _of_split(plot: Plot, split: str) -> Plot:
    return Plot(
        key=f"{split}-{plot.key}",
        title=f"{plot.title}: {split}",
        sentence=plot.sentence,
        first_column=plot.first_column,
        counted=plot.counted,
        bins=plot.bins,
        bars=plot.bars,
        unit=plot.unit,
        left_out=plot.left_out,
    )
