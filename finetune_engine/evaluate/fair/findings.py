"""From gaps and flips to sentences, all corrected together, and to one score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.robust.findings import NEGLIGIBLE, SIGNIFICANCE, finding, percent
from finetune_engine.evaluate.statistics.intervals import holm

__all__ = ["conclude_findings", "percent"]
GRAVE = 0.1
"""From this gap or excess on, a finding is marked as bad."""


@dataclass(frozen=True)
class Gap:
    """One thing that may be unfair: where its corrected p-value goes, how large it is beyond chance, and whether the interval
    (of an excess) is above 0."""

    entry: dict[str, Any]
    p_value: float
    p_name: str
    beyond: float
    is_clear: bool
    sentence: Callable[[], str]


def conclude_findings(
    groups: Sequence[dict[str, Any]], swaps: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, str]], float | None]:
    """Sentences, the gravest first, and the score; None when nothing could be measured. Marks the entries that are findings."""
    gaps = [gap for entry in groups for gap in _group_gaps(entry)] + [
        gap for entry in swaps for gap in _swap_gaps(entry)
    ]
    if not gaps:
        return [], None
    found: list[tuple[float, dict[str, str]]] = []
    for gap, p_holm in zip(gaps, holm([gap.p_value for gap in gaps]), strict=True):
        gap.entry[gap.p_name] = p_holm
        if p_holm < SIGNIFICANCE and gap.beyond > NEGLIGIBLE and gap.is_clear:
            sentence = gap.sentence()
            gap.entry["sentence"] = (
                f"{gap.entry['sentence']} {sentence}".strip() if gap.entry["is_finding"] else sentence
            )
            gap.entry["is_finding"] = True
            found.append((gap.beyond, finding("bad" if gap.beyond >= GRAVE else "warn", sentence)))
    score = 1 - min(1.0, max(0.0, *(gap.beyond for gap in gaps)))
    if not found:
        return [_quiet(groups, swaps)], score
    return [told for _, told in sorted(found, key=lambda entry: -entry[0])], score


def _group_gaps(entry: dict[str, Any]) -> list[Gap]:
    if entry["p_value"] is None:
        return []
    entry["sentence"] = _gap_sentence(entry) + " That is no more than chance makes."
    beyond = entry["difference"] - entry["by_chance"]
    gaps = [
        Gap(
            entry,
            entry["p_value"],
            "p_holm",
            beyond,
            True,
            lambda: _gap_sentence(entry) + " That is more than chance makes.",
        )
    ]
    if entry["equalized_odds_p_value"] is not None:
        beyond = entry["equalized_odds_difference"] - entry["equalized_odds_by_chance"]
        gaps.append(
            Gap(
                entry,
                entry["equalized_odds_p_value"],
                "equalized_odds_p_holm",
                beyond,
                True,
                lambda: _odds_sentence(entry),
            )
        )
    return gaps


def _odds_sentence(entry: dict[str, Any]) -> str:
    return (
        f"The groups of “{entry['column']}” meet different mistakes: for equal cases, how often the same label is given, "
        f"rightly or wrongly, differs between them by up to {_points(entry['equalized_odds_difference'])} points."
    )


def _gap_sentence(entry: dict[str, Any]) -> str:
    shown = [group for group in entry["by_group"] if not group["suppressed"]]
    worst, best = min(shown, key=lambda group: group["value"]), max(shown, key=lambda group: group["value"])
    what = "Right answers" if METRICS[entry["metric"]].is_proportion else "Agreement with the reference answers"
    return (
        f"{what} by “{entry['column']}”: {percent(worst['value'])} for “{worst['group']}”, {percent(best['value'])} for "
        f"“{best['group']}”, a gap of {_points(entry['difference'])} points (interval {_points(entry['difference_low'])}-"
        f"{_points(entry['difference_high'])})."
    )


def _swap_gaps(entry: dict[str, Any]) -> list[Gap]:
    if entry["p_value"] is None:
        return []
    sentence = f"{entry['sentence']} That is more than chance makes."
    return [Gap(entry, entry["p_value"], "p_holm", entry["excess"], entry["excess_low"] > 0, lambda: sentence)]


def _quiet(groups: Sequence[dict[str, Any]], swaps: Sequence[dict[str, Any]]) -> dict[str, str]:
    columns = [f"“{entry['column']}”" for entry in groups if entry["p_value"] is not None]
    kinds = [entry["kind"] for entry in swaps if entry["p_value"] is not None]
    parts = []
    if columns:
        parts.append(f"between the groups of {', '.join(columns)}")
    if kinds:
        parts.append(f"when only {', '.join(kinds)} are changed")
    return finding("ok", f"No difference beyond chance {' or '.join(parts)}.")


def _points(share: float) -> str:
    return f"{100 * share:.0f}"
