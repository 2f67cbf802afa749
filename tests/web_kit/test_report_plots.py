"""The drawings of a report."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from web_kit import report_plots
from web_kit.report_plots import Standing


def drawn(svg: str) -> ElementTree.Element:
    assert "style=" not in svg
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 0.03, [0.0, 0.01, 0.02, 0.03]),
        (-1.0, 1.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (0.0, 37.0, [0.0, 10.0, 20.0, 30.0]),
        (2.0, 2.0, [2.0]),
    ],
)
def test_marks_of_a_scale_are_round(low, high, marks) -> None:
    assert report_plots.ticks(low, high) == marks


def test_a_forest_says_in_words_what_it_shows_and_holds_values_on_the_scale() -> None:
    rows = [
        Standing("Clauses <b>", "81% (73% to 88%)", 0.81, 0.73, 0.88, False),
        Standing("off", "-", None, None, None, True),
    ]
    svg = report_plots.forest(rows, label="Right answers: 81%", low=0.0, high=1.0, unit="share")
    tree = drawn(svg)
    assert tree.get("aria-label") == "Right answers: 81%"
    assert "Clauses &lt;b&gt;" in svg
    assert len(re.findall("<circle", svg)) == 1, "what was not measured has no dot"


def test_bars_are_as_long_as_their_values() -> None:
    svg = report_plots.bars([("Typing mistakes", [(0, 0.8, "80%"), (1, 0.4, "40%")])], label="x", high=1.0)
    boxes = [float(box.get("width") or 0) for box in drawn(svg) if box.tag.endswith("rect")]
    assert boxes[0] == pytest.approx(2 * boxes[1], rel=0.01)


def test_a_curve_has_a_diagonal_only_where_it_is_asked_for() -> None:
    lines = [("right", [(0.5, 0.4), (0.9, 0.9)], True)]
    plain = report_plots.curve(lines, label="x", x_name="a", y_name="b", is_share=True)
    crossed = report_plots.curve(lines, label="x", x_name="a", y_name="b", is_share=True, has_diagonal=True)
    assert "svg-interval-reference" not in plain
    assert "svg-interval-reference" in crossed


def test_the_words_of_a_curve_stand_inside_the_picture_and_clear_of_its_lines() -> None:
    tree = drawn(report_plots.curve([], label="x", x_name="sure", y_name="right answers", is_share=True))
    width = float((tree.get("viewBox") or "").split()[2])
    texts = {text.text: text for text in tree if text.tag.endswith("text")}
    last = max((text for text in tree if text.text == "100%"), key=lambda text: float(text.get("x") or 0))
    assert float(last.get("x") or 0) + len("100%") * report_plots.LETTER / 2 <= width
    top_line = min(float(line.get("y1") or 0) for line in tree if line.get("class") == "svg-grid")
    assert float(texts["right answers"].get("y") or 0) + 4 < top_line, "letters hang below their line"
    assert float(texts["right answers"].get("y") or 0) - 11.5 >= 0


def test_nothing_to_draw_is_still_a_drawing() -> None:
    drawn(report_plots.curve([], label="none", x_name="", y_name="", is_share=False))
    drawn(report_plots.bars([], label="none", high=1.0))
    drawn(report_plots.forest([], label="none", low=0.0, high=0.0, unit="number"))
