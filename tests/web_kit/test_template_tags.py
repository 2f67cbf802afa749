"""Template tags: numbers as people read them, nothing invented, nothing that turns text into markup."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.template import Context, Template

from web_kit import svg, wording
from web_kit.glossary import GLOSSARY


def render(text: str, **context) -> str:
    return Template(text).render(Context(context))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (0.87344, "0.873"),
        (1.5, "1.50"),
        (12345.678, "12,345.7"),
        (Decimal("2"), "2"),
        (math.nan, "not a number"),
        ("nan", "not a number"),  # as events spell it
        (math.inf, "infinite"),
        ("", "–"),
    ],
)
def test_numbers(value, expected):
    assert render("{{ v|number }}", v=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (3.25, "3.2 s"),
        (45, "45 s"),
        (95, "1 min 35 s"),
        (1510, "25 min"),
        (4321, "1 h 12 min"),
        (90000, "1 day 1 h"),
        (None, "–"),
        (timedelta(hours=2), "2 h"),
    ],
)
def test_durations(value, expected):
    assert render("{{ v|duration }}", v=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.8734, "87.3%"), (0.8737, "87.4%"), (None, "–"), (1, "100.0%"), (math.nan, "not a number")],
)
def test_shares(value, expected):
    assert render("{{ v|percent }}", v=value) == expected


def test_a_price_nobody_knows_is_never_zero():
    assert render("{{ v|money }}", v=None) == "price not known"
    assert render('{{ v|money:"EUR" }}', v=Decimal("12.5")) == "12.50 EUR"
    assert render("{{ v|money }}", v=Decimal("0.0004")) == "0.0004 USD"


@pytest.mark.parametrize(("value", "expected"), [(0, "0 bytes"), (1536, "1.5 KB"), (2 * 2**30, "2.0 GB"), (None, "–")])
def test_sizes(value, expected):
    assert render("{{ v|bytesize }}", v=value) == expected


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW - timedelta(seconds=5), "just now"),
        (NOW - timedelta(minutes=3), "3 minutes ago"),
        (NOW - timedelta(hours=1), "1 hour ago"),
        (NOW + timedelta(days=2), "in 2 days"),
        (NOW - timedelta(days=60), "Sept. 23, 2026"),
    ],
)
def test_moments_are_relative_until_a_month(moment, expected):
    assert wording.ago_words(moment, NOW) == expected


def test_a_moment_carries_the_exact_time():
    html = render("{{ at|ago }}", at=NOW)
    assert 'datetime="2026-11-22T12:00:00+00:00"' in html
    assert 'title="Nov. 22, 2026, noon UTC"' in html
    assert render("{{ at|ago }}", at=None) == "–"


def test_a_state_is_colour_word_and_shape():
    html = render("{% state_badge s %}", s="failed")
    assert "badge-bad" in html
    assert "Failed" in html
    assert "#octagon-x" in html


def test_an_unknown_state_is_shown_as_it_is_and_escaped():
    html = render("{% state_badge s %}", s="<img onerror=x>")
    assert "<img" not in html
    assert "badge-idle" in html


def test_a_tone_that_does_not_exist_is_neutral():
    assert "badge-idle" in render('{% state_badge "running" "Word" "purple" %}')


def test_a_glossary_word_opens_without_script():
    html = render('{% term "lora" %}')
    assert 'popovertarget="term-lora-' in html
    assert " popover>" in html
    assert str(GLOSSARY["lora"].meaning)[:20] in html


def test_glossary_words_fit_into_a_sentence():
    assert ">loss</button>" in render('{% term "loss" lower=True %}')
    assert ">LoRA</button>" in render('{% term "lora" lower=True %}')
    assert render('{% term "nonsense" %}') == "nonsense"


def test_two_glossary_words_on_a_page_have_different_ids():
    html = render('{% term "loss" %}{% term "loss" %}')
    ids = {part.split('"')[0] for part in html.split(' id="')[1:]}
    assert len(ids) == 2


def test_an_interval_outside_the_track_stays_on_it_and_says_its_numbers():
    html = render("{% interval 1.4 0.2 1.9 %}")
    assert 'aria-label="1.400, interval from 0.200 to 1.900"' in html
    assert 'cx="194"' in html


def test_an_interval_without_a_value_draws_the_empty_track():
    html = render("{% interval v %}", v=None)
    assert "<circle" not in html
    assert "svg-track" in html


def test_a_line_lifts_the_pen_where_the_loss_is_no_number():
    html = svg.line_chart([("a", [(1, 2.0), (2, 1.5), (3, "nan"), (4, math.nan), (5, 1.0), (6, 0.9)])], label="Loss")
    path = html.split(' d="')[1].split('"')[0]
    assert path.count("M") == 2
    assert "nan" not in html.lower()


def test_charts_of_nothing_are_empty_not_broken():
    assert "svg" in svg.histogram([], label="Nothing")
    assert "svg" in svg.line_chart([], label="Nothing")
    assert "svg" in svg.sparkline([None, "x"], label="Nothing")
    assert "svg" in svg.sparkline([3], label="One")


def test_labels_of_charts_are_text():
    evil = '"><script>alert(1)</script>'
    bins = [{"from": 0, "to": 1, "count": 3}]
    for html in (
        svg.histogram(bins, label=evil, unit=evil),
        svg.sparkline([1, 2], label=evil),
        svg.line_chart([(evil, [(1, 1), (2, 2)])], label=evil, x_name=evil),
    ):
        assert "<script" not in html


def test_the_confusion_matrix_shades_by_row_and_frames_the_hits():
    html = render("{% confusion_matrix labels matrix %}", labels=["<a>", "b"], matrix=[[9, 1], [0, 0]])
    assert "&lt;a&gt;" in html
    assert '<td class="heat-9 hit">9</td>' in html
    assert '<td class="heat-1">1</td>' in html


def test_answers_outside_the_labels_have_a_column_of_their_own():
    html = render("{% confusion_matrix labels matrix %}", labels=["a", "b"], matrix=[[3, 0, 2], [0, 4, 0]])
    assert ">other</th>" in html


def test_the_page_title_ends_with_the_product():
    assert render('{% page_title "Jobs" %}') == "Jobs · Tunesmith"
