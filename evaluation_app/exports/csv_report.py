"""All figures of a report as one flat table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from datasets_app.exports.cells import guarded
from evaluation_app.queries.report.whole import WholeReport

HEAD = ("model", "suite", "metric", "part", "value", "ci_low", "ci_high", "n", "higher_is_better", "unit", "signature")
Line = dict[str, Any]


def report_csv(whole: WholeReport) -> bytes:
    """UTF-8 with a mark at the beginning, so that spreadsheets read it rightly; no cell can act as a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEAD)
    for line in lines_of(whole):
        writer.writerow([_cell(line.get(name)) for name in HEAD])
    return ("\N{BYTE ORDER MARK}" + out.getvalue()).encode()


def lines_of(whole: WholeReport) -> Iterator[Line]:
    """One line for each figure. ``part`` tells figures of one metric apart (a class, a group, a batch size)."""
    report = whole.evaluation.report
    names = whole.at.names
    yield from _quality(report)
    yield from _comparisons(report, whole.at.name, whole.at.against_name)
    yield from _performance(report, names)
    yield from _robustness(report, names, whole.at.subject)
    yield from _fairness(report, whole.at.name)
    yield from _capabilities(report, whole.at.name)
    yield from _cost(report)
    yield from _rules(report, names, whole.at.subject)
    yield from _slices(report, names, whole.at.subject, whole.at.against)
    yield from _rest(whole)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return guarded(value) if isinstance(value, str) else value


def _interval(found: Mapping[str, Any]) -> Line:
    return {"ci_low": found.get("ci_low"), "ci_high": found.get("ci_high"), "n": found.get("n")}


def _quality(report: Mapping[str, Any]) -> Iterator[Line]:
    for model in [*(report.get("models") or ()), *(report.get("baselines") or ())]:
        base = {"model": model.get("name"), "suite": "quality"}
        for score in model.get("scores") or ():
            told = {name: score.get(name) for name in ("metric", "value", "higher_is_better", "signature")}
            yield base | told | _interval(score)
        for row in model.get("per_class") or ():
            for metric in ("precision", "recall", "f1"):
                yield base | {"metric": metric, "part": row["label"], "value": row[metric], "n": row["support"]}


def _comparisons(report: Mapping[str, Any], name: str, against: str) -> Iterator[Line]:
    """Differences, the subject less the other. The engine calls the model that it compares with ``base``, whatever its key."""
    names = {"base": against} | {one.get("key"): one.get("name") for one in report.get("baselines") or ()}
    for gain in report.get("comparisons") or ():
        other = names.get(gain.get("against", "base")) or gain.get("against", "base")
        told = {"model": f"{name} - {other}", "suite": "comparison", "metric": gain.get("metric")}
        yield told | {"value": gain.get("difference"), "signature": gain.get("test")} | _interval(gain)
        yield told | {"part": "p", "value": gain.get("p_value"), "signature": gain.get("test")}
        if gain.get("p_holm") is not None:
            yield told | {"part": "p (Holm)", "value": gain["p_holm"], "signature": gain.get("test")}


def _performance(report: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Line]:
    by_model = (report.get("performance") or {}).get("by_model") or {}
    first = {model["key"]: model.get("performance") for model in report.get("models") or ()}
    for key, name in names.items():
        found = by_model.get(key) or first.get(key)
        if not found:
            continue
        base = {"model": name, "suite": "performance"}
        for metric in ("avg_latency", "p50_latency", "p95_latency", "p99_latency", "time_to_first_token"):
            yield base | {"metric": metric, "value": found.get(metric), "unit": "s", "higher_is_better": False}
        yield base | {"metric": "tokens_per_second", "value": found.get("tokens_per_second"), "higher_is_better": True}
        for test in found.get("throughput_tests") or ():
            part = {"part": f"batch {test.get('batch_size')}", "higher_is_better": True, "unit": "answers/s"}
            yield base | {"metric": "throughput", "value": test.get("throughput")} | part


def _robustness(report: Mapping[str, Any], names: Mapping[str, str], subject: str) -> Iterator[Line]:
    for test in report.get("robustness") or ():
        metric = test.get("test")
        for key, found in (test.get("by_model") or {}).items():
            base = {"model": names.get(key, key), "suite": "robustness", "metric": metric, "higher_is_better": True}
            interval = _interval(test) if key == subject else {"n": test.get("n")}
            yield base | {"value": found.get("score")} | interval
            for part in ("original", "perturbed", "worst_case", "flip_rate", "degradation"):
                better = part in ("original", "perturbed", "worst_case")
                yield base | {"part": part, "value": found.get(part), "higher_is_better": better, "n": test.get("n")}


def _fairness(report: Mapping[str, Any], name: str) -> Iterator[Line]:
    found = report.get("fairness") or {}
    for group in found.get("groups") or ():
        metric = f"{group.get('metric')} by {group.get('column')}"
        base: Line = {"model": name, "suite": "fairness", "metric": metric}
        for line in group.get("by_group") or ():
            value = None if line.get("suppressed") else line.get("value")
            interval = {"n": line.get("n")} if line.get("suppressed") else _interval(line)
            yield base | {"part": str(line.get("group")), "value": value} | interval
        ends = {"ci_low": group.get("difference_low"), "ci_high": group.get("difference_high")}
        yield base | {"part": "difference", "value": group.get("difference"), "higher_is_better": False} | ends
    for swap in found.get("counterfactual") or ():
        base = {"model": name, "suite": "fairness", "metric": f"swap {swap.get('kind')}", "higher_is_better": False}
        yield base | {"part": "flip_rate", "value": swap.get("flip_rate")} | _interval(swap)
        ends = {"ci_low": swap.get("excess_low"), "ci_high": swap.get("excess_high"), "n": swap.get("n")}
        yield base | {"part": "excess", "value": swap.get("excess")} | ends


def _capabilities(report: Mapping[str, Any], name: str) -> Iterator[Line]:
    found = report.get("capabilities") or {}
    for probe in found.get("probes") or ():
        base = {"model": name, "suite": "capabilities", "metric": probe.get("probe"), "higher_is_better": True}
        yield base | {"part": "retention", "value": probe.get("retention")} | _interval(probe)
        for part in ("chance", "base", "tuned"):
            yield base | {"part": part, "value": probe.get(part), "n": probe.get("n")}
    text = found.get("general_text") or {}
    for part in ("base", "tuned", "change"):
        if text.get(part) is not None:
            unit = "" if part == "change" else text.get("unit")
            base = {"model": name, "suite": "capabilities", "metric": "general_text", "higher_is_better": False}
            yield base | {"part": part, "value": text[part], "unit": unit}


def _cost(report: Mapping[str, Any]) -> Iterator[Line]:
    found = report.get("cost") or {}
    for line in (found.get("by_model") or {}).values():
        base = {"model": line.get("name"), "suite": "cost", "higher_is_better": False, "signature": line.get("basis")}
        yield base | {"metric": "money_per_answer", "value": line.get("money_per_answer"), "unit": line.get("currency")}
        for metric in ("prompt_tokens", "completion_tokens"):
            yield base | {"metric": metric, "value": line.get(metric), "unit": "tokens"}
    for other in found.get("alternatives") or ():
        told = {"model": other.get("name"), "suite": "cost", "metric": "money_per_answer", "part": "alternative"}
        signature = " ".join(str(part) for part in (other.get("source"), other.get("at")) if part)
        yield told | {"value": other.get("money_per_answer"), "unit": other.get("currency"), "signature": signature}


def _rules(report: Mapping[str, Any], names: Mapping[str, str], subject: str) -> Iterator[Line]:
    for rule in report.get("acceptance") or ():
        for key, rate in (rule.get("by_model") or {}).items():
            interval = _interval(rule) if key == subject else {"n": rule.get("n")}
            told = {"model": names.get(key, key), "suite": "acceptance", "metric": rule.get("name")}
            yield told | {"value": rate, "higher_is_better": True} | interval


def _slices(report: Mapping[str, Any], names: Mapping[str, str], subject: str, against: str | None) -> Iterator[Line]:
    for one in report.get("slices") or ():
        base = {"suite": "slices", "metric": report.get("headline"), "part": f"{one.get('by')}={one.get('value')}"}
        for key, side in ((subject, "subject"), (against, "against")):
            if key and one.get(side):
                yield (
                    base
                    | {"model": names.get(key, key), "value": one[side].get("value")}
                    | (_interval(one[side]) | {"n": one.get("n")})
                )


def _rest(whole: WholeReport) -> Iterator[Line]:
    overall = whole.evaluation.report.get("overall_score") or {}
    if overall:
        yield {"model": whole.at.name, "suite": "overall", "metric": "overall_score", "value": overall.get("value")}
    for name, figure in vars(whole.kpis).items():
        parts = figure.items() if isinstance(figure, dict) else [("", figure)]
        for part, found in parts:
            if hasattr(found, "expected"):
                ends = {"value": found.expected, "ci_low": found.low, "ci_high": found.high, "unit": found.unit}
                told = {"model": whole.at.name, "suite": "kpi", "metric": name, "part": part}
                yield told | ends | {"signature": found.reason or found.basis}
