"""Drawings of a dataset: from the job's figures, with the same in words and as a table."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datasets_app.queries.plots import bars_of, dataset_plots
from web_kit.plots import share_bar

HISTOGRAM = [{"from": 1, "to": 5, "count": 10}, {"from": 6, "to": 10, "count": 30}, {"from": 11, "to": 40, "count": 1}]


@pytest.fixture
def drawn(bare_dataset):
    bare_dataset.total = 41
    bare_dataset.labels = {"Payment": 30, "<b>Rare</b>": 1, "Notice": 10}
    bare_dataset.codes = {"duplicate_exact": 4, "contradiction": 1}
    bare_dataset.statistics = {
        "prompt_length_histogram": HISTOGRAM,
        "avg_prompt_length": 7.3,
        "token_length_histogram": HISTOGRAM,
        "languages": {"de": 30, "en": 11},
        "turns": {"10": 1, "2": 40},
        "roles": {"user": 41, "assistant": 41},
    }
    bare_dataset.save()
    return bare_dataset


def plots_of(dataset):
    return {plot.key: plot for plot in dataset_plots(dataset)}


def test_every_figure_that_was_counted_is_drawn(drawn):
    assert set(plots_of(drawn)) == {
        "labels", "prompt_lengths", "token_lengths", "sameness", "languages", "turns", "roles",
    }  # fmt: skip


def test_a_figure_that_was_not_counted_has_no_drawing(bare_dataset):
    assert dataset_plots(bare_dataset) == []


def test_lengths_are_told_in_a_sentence(drawn):
    assert plots_of(drawn)["prompt_lengths"].sentence == (
        "Half of them have at most 10 words; the longest has 40. On average 7.3."
    )


def test_labels_are_told_with_the_most_and_the_least_frequent(drawn):
    sentence = plots_of(drawn)["labels"].sentence
    assert "3 labels" in sentence
    assert "“Payment”, has 73.2% of the rows; the rarest, “<b>Rare</b>”, 1 row." in sentence


def test_languages_have_names(drawn):
    assert [bar.label for bar in plots_of(drawn)["languages"].bars] == ["German", "English"]


def test_numbers_of_messages_are_in_their_order(drawn):
    assert [bar.label for bar in plots_of(drawn)["turns"].bars] == ["2", "10"]


def test_rows_of_one_input_and_one_answer_need_no_drawing_of_turns_and_speakers(drawn):
    drawn.statistics |= {"turns": {"2": 41}}
    assert not {"turns", "roles"} & set(plots_of(drawn))


def test_languages_judged_by_a_part_of_the_rows_say_so(drawn):
    drawn.statistics |= {"total_examples": 4_100}
    assert plots_of(drawn)["languages"].sentence == "Most rows are in German (73.2%). Judged by 41 rows."


def test_rare_bars_are_counted_instead_of_drawn():
    bars, left_out = bars_of({str(n): n for n in range(1, 41)})
    assert (len(bars), left_out) == (15, 25)
    assert bars[0].width == 1.0


def test_the_page_says_every_drawing_in_words_and_as_a_table(client_for, project, viewer, drawn):
    page = client_for(viewer).get(reverse("datasets:detail", args=[project.slug, drawn.pk])).content.decode()
    assert 'role="img"' in page
    assert "Half of them have at most 10 words" in page
    assert "<caption" in page
    assert "?code=duplicate_exact" in page
    assert "?label=%3Cb%3ERare%3C%2Fb%3E" in page
    assert "<b>Rare</b>" not in page


def test_the_divided_bar_leaves_out_what_is_not_there_and_shows_what_is_tiny():
    drawn = share_bar([("Accepted", 999_999, "ok"), ("Flagged", 0, "warn"), ("Rejected", 1, "bad")], label="A <b>")
    assert "svg-warn" not in drawn
    assert drawn.count("<rect") == 2
    assert "A &lt;b&gt;" in drawn
    assert 'width="0' not in drawn
