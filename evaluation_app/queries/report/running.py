"""What running a model means: how fast it answers, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.queries.report.blocks import Block, Cell, Column, Curve, Facts, Line, Row, Section, Table
from evaluation_app.queries.report.findings import findings_of
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import answer_money, signed_words
from web_kit.wording import NOTHING, bytes_words, duration_words, money_words, number_words

_TIMES = ("avg_latency", "p50_latency", "p95_latency", "p99_latency", "time_to_first_token")


def speed_section(at: Reading) -> Section | None:
    """Answer times of every model that was timed and throughput by batch size; None where the suite was not run."""
    measured = _measured(at)
    if not measured:
        return None
    blocks: list[Block] = [notes] if (notes := findings_of(at, "performance")) else []
    blocks.append(_times(at, measured))
    if any(found.get("throughput_tests") for found in measured.values()):
        blocks += [_throughput_plot(at, measured), _throughput_table(at, measured)]
    return Section(
        key="speed",
        title=_("How fast does it answer?"),
        sentence=_(
            "Measured on the machine that ran the evaluation. Another machine is faster or slower by the same factor for all."
        ),
        blocks=blocks,
        term="latency",
    )


def _measured(at: Reading) -> dict[str, Mapping[str, Any]]:
    """By model; reports of the first version keep it with the model."""
    by_model = (at.part("performance") or {}).get("by_model") or {}
    found = {key: by_model.get(key) or at.model(key).get("performance") for key in at.keys}
    return {key: measured for key, measured in found.items() if measured}


def _times(at: Reading, measured: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("Model"), share=2.0),
        Column(_("Mean"), is_number=True),
        Column(_("Half are faster"), is_number=True),
        Column(_("95 of 100 are faster"), is_number=True),
        Column(_("99 of 100 are faster"), is_number=True),
        Column(_("First word after"), is_number=True),
        Column(_("Tokens a second"), is_number=True),
        Column(_("Most memory"), is_number=True),
    ]
    rows = []
    for key, found in measured.items():
        cells = [Cell(at.names[key], note=at.role(key), is_user=True, is_strong=key == at.subject)]
        cells += [Cell(duration_words(found.get(name))) for name in _TIMES]
        speed, memory = found.get("tokens_per_second"), found.get("peak_memory_bytes")
        cells += [Cell(NOTHING if speed is None else number_words(speed, 1)), Cell(bytes_words(memory))]
        rows.append(Row(cells))
    return Table(columns, rows, title=_("Seconds until the answer is there, one caller at a time"))


def _throughput_plot(at: Reading, measured: Mapping[str, Mapping[str, Any]]) -> Curve:
    lines = [
        Line(
            at.names[key],
            [
                (float(test["batch_size"]), float(test["throughput"]))
                for test in found.get("throughput_tests") or ()
                if test.get("throughput") is not None
            ],
            has_dots=True,
        )
        for key, found in list(measured.items())[:3]
    ]
    label = "; ".join(
        f"{line.name}: " + ", ".join(f"{x:.0f}: {number_words(y, 1)}" for x, y in line.points) for line in lines
    )
    return Curve(
        lines,
        label=_("Answers a second by how many are asked at once. %(figures)s") % {"figures": label},
        x_name=_("asked at once"),
        y_name=_("answers a second"),
        title=_("Answers a second, by how many are asked at once"),
    )


def _throughput_table(at: Reading, measured: Mapping[str, Mapping[str, Any]]) -> Table:
    sizes = sorted({t["batch_size"] for found in measured.values() for t in found.get("throughput_tests") or ()})
    columns = [Column(_("Model"), share=2.0)]
    columns += [Column(_("%(n)s at once") % {"n": size}, is_number=True, share=1.2) for size in sizes]
    rows = []
    for key, found in measured.items():
        tests = {test["batch_size"]: test for test in found.get("throughput_tests") or ()}
        cells = [Cell(at.names[key], is_user=True, is_strong=key == at.subject)]
        for size in sizes:
            test = tests.get(size)
            if test is None:
                cells.append(Cell(NOTHING, note=_("left out for time")))
                continue
            cells.append(
                Cell(
                    _("%(n)s a second") % {"n": number_words(test.get("throughput"), 2)},
                    note=_("done after %(time)s") % {"time": duration_words(test.get("avg_latency"))},
                )
            )
        rows.append(Row(cells))
    return Table(columns, rows)


def cost_section(at: Reading) -> Section | None:
    """Tokens and money of an answer, the training, and other models; None where the suite was not run."""
    found = at.part("cost")
    if not found:
        return None
    blocks: list[Block] = [notes] if (notes := findings_of(at, "cost")) else []
    by_model = found.get("by_model") or {}
    blocks.append(_money_table(at, by_model))
    if found.get("training"):
        blocks.append(_training(found["training"]))
    if found.get("alternatives"):
        blocks.append(_alternatives(found["alternatives"], by_model.get(at.subject) or {}))
    return Section(
        key="cost",
        title=_("What does it cost?"),
        sentence=_("Only prices with a source and a date are used; where one is missing, nothing is guessed."),
        blocks=blocks,
        term="cost_per_answer",
    )


def _money_table(at: Reading, by_model: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("Model"), share=1.8),
        Column(_("Tokens asked"), is_number=True),
        Column(_("Tokens answered"), is_number=True),
        Column(_("One answer"), is_number=True, share=1.4),
        Column(_("How reckoned"), share=3.0),
    ]
    rows = []
    for key in [*[key for key in at.keys if key in by_model], *[key for key in by_model if key not in at.names]]:
        line = by_model[key]
        source = ", ".join(str(part) for part in (line.get("source"), line.get("at")) if part)
        rows.append(
            Row(
                [
                    Cell(str(line.get("name") or key), is_user=True, is_strong=key == at.subject),
                    Cell(number_words(line.get("prompt_tokens"), 0)),
                    Cell(number_words(line.get("completion_tokens"), 0)),
                    Cell(answer_money(line.get("money_per_answer"), line.get("currency"))),
                    Cell(str(line.get("basis") or line.get("reason") or ""), note=source),
                ]
            )
        )
    return Table(columns, rows, title=_("One answer"))


def _training(found: Mapping[str, Any]) -> Facts:
    hours, energy = found.get("device_hours"), found.get("energy_kwh")
    lines = [
        (_("Took"), duration_words(found.get("seconds"))),
        (_("Device"), str(found.get("device") or NOTHING)),
        (_("Device hours"), NOTHING if hours is None else number_words(hours, 2)),
        (_("Energy"), NOTHING if energy is None else f"{number_words(energy, 2)} kWh"),
        (_("Cost"), money_words(found.get("amount"), str(found.get("currency") or "")).strip()),
        (_("How reckoned"), str(found.get("basis") or found.get("reason") or NOTHING)),
    ]
    return Facts(lines, title=_("The training"))


def _alternatives(others: list[Mapping[str, Any]], mine: Mapping[str, Any]) -> Table:
    columns = [
        Column(_("Other model"), share=1.8),
        Column(_("One answer"), is_number=True, share=1.4),
        Column(_("Beside yours"), is_number=True),
        Column(_("Price from"), share=3.0),
    ]
    own = mine.get("money_per_answer")
    rows = []
    for other in others:
        amount, beside = other.get("money_per_answer"), NOTHING
        if own and amount is not None and other.get("currency") == mine.get("currency"):
            beside = f"{signed_words(100 * (amount / own - 1), 0)}%"
        source = ", ".join(str(part) for part in (other.get("source"), other.get("at")) if part)
        rows.append(
            Row(
                [
                    Cell(str(other.get("name") or ""), is_strong=True),
                    Cell(answer_money(amount, other.get("currency"))),
                    Cell(beside),
                    Cell(source or str(other.get("reason") or "")),
                ]
            )
        )
    note = _("The same questions with the same number of tokens. How well these models would answer was not measured.")
    return Table(columns, rows, title=_("The same traffic elsewhere"), note=note)
