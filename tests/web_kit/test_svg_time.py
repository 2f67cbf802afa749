"""Figures over time, drawn."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

from web_kit.svg_time import TimeMark, time_plot

NAMES = [f"{hour:02d}:00" for hour in range(24)]


def test_a_gap_lifts_the_pen_and_the_sentence_is_read_aloud() -> None:
    drawn = time_plot([[1.0, 2.0, None, 3.0, 4.0]], label="Half came within 2 s.", moments=NAMES[:5])
    root = ET.fromstring(drawn)
    assert root.attrib["aria-label"] == "Half came within 2 s."
    assert root.attrib["role"] == "img"
    (line,) = [part for part in root.iter() if part.attrib.get("class", "").startswith("svg-line")]
    assert line.attrib["d"].count("M") == 2


def test_moments_on_the_axis_do_not_touch() -> None:
    drawn = time_plot([[1.0] * 24], label="x", moments=NAMES)
    places = [float(x) for x in re.findall(r'<text x="([0-9.]+)" y="172"', drawn)]
    assert len(places) >= 4
    assert min(b - a for a, b in itertools.pairwise(places)) > 45


def test_a_mark_says_what_changed_and_is_never_markup() -> None:
    drawn = time_plot([[1.0]], label="x", moments=["now"], marks=[TimeMark(0.5, "<b>model</b> came into use")])
    assert "&lt;b&gt;model&lt;/b&gt; came into use" in drawn


def test_nothing_at_all_is_still_a_drawing() -> None:
    measured_nothing = ET.fromstring(time_plot([[None, None]], label="Nothing.", moments=["a", "b"], unit="share"))
    assert "100%" in [part.text for part in measured_nothing.iter()]
    assert [part.attrib["d"] for part in measured_nothing.iter() if part.tag.endswith("path")] == [""]
    without_steps = ET.fromstring(time_plot([], label="Nothing.", moments=[]))
    assert without_steps.attrib["aria-label"] == "Nothing."
