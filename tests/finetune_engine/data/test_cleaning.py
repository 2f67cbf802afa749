"""Cleaning: what each step does, what it leaves alone, and that the quick search never misses a text."""

from __future__ import annotations

import json
import unicodedata

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finetune_engine.data.cleaning import (
    DEFAULT_STEPS,
    STEPS,
    CleaningPlan,
    clean_messages,
    clean_text,
    needs_cleaning,
    preview,
    read_plan,
    rows_to_clean,
)
from finetune_engine.errors import UserError

PLAN = CleaningPlan()
RULES = {
    "cleaning": [step.name for step in STEPS],
    "replacements": [
        {"find": "Ltd", "replace": "Limited"},
        {"find": 'a"b', "replace": "ab"},
        {"find": r"(\d+) EUR", "replace": "€$1", "is_regex": True},
    ],
    "boilerplate": ["Confidential - page *"],
}


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [
        ("cafÃ© â€“ ok", "café – ok", "repair_unicode"),
        ("agree\u00adment", "agreement", "control_characters"),
        ("one\x0ctwo", "one\ntwo", "control_characters"),
        ("cafe\u0301", "café", "nfc"),
        ("a\u00a0b", "a b", "whitespace"),
        ("a  \nb\t\nc", "a\nb\nc", "whitespace"),
        ("a\r\nb\rc", "a\nb\nc", "whitespace"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb", "whitespace"),
        (" a label\n", "a label", "whitespace"),
    ],
)
def test_each_step_mends_what_it_is_for(before, after, step):
    assert clean_text(before, PLAN) == (after, [step])


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    if x:\n\treturn 1\n\n\n    return 2",
        "  indented first line\n  and second",
        "“curly” quotes, the ligature ﬁ and full-width ＡＢＣ",
        "two  blanks inside a line",
        "日本語　テキスト",
        "שלום\u200f עולם and נ\u05b4",
        "naïve Ærøskøbing – Łódź, 5 µm ± 2 °C",
        "&amp; stays, and so does <b>",
        "a\n\n\nb",
        "👩\u200d👩\u200d👧 family",
    ],
)
def test_what_carries_meaning_is_left_alone(text):
    assert clean_text(text, PLAN) == (text, [])


def test_a_row_with_nul_characters_keeps_them_for_its_own_check():
    assert clean_text("a\0b", PLAN) == ("a\0b", [])


def test_html_codes_are_resolved_only_on_request():
    plan = read_plan({"cleaning": ["html_entities"]})
    assert clean_text("Smith &amp; Co &#8211; see ?a=1&copy=2", plan) == (
        "Smith & Co – see ?a=1&copy=2",
        ["html_entities"],
    )


def test_named_lines_are_removed_whatever_stands_for_the_star():
    plan = read_plan({"boilerplate": ["Confidential - page *"]})
    text = "First line.\n  CONFIDENTIAL - page 3 of 12\nSecond (confidential - page 3) line."
    assert clean_text(text, plan) == ("First line.\nSecond (confidential - page 3) line.", ["boilerplate"])


def test_signs_of_patterns_in_a_line_to_remove_stand_for_themselves():
    plan = read_plan({"cleaning": [], "boilerplate": ["[page 1] (c) a.b+c? ~#&-{}|^$ © *"]})
    assert clean_text("x\n[page 1] (c) a.b+c? ~#&-{}|^$ © 2024\ny", plan)[0] == "x\ny"
    assert clean_text("x\np (c) aXbbc ~#&-{}|^$ © 2024\ny", plan)[0] == "x\np (c) aXbbc ~#&-{}|^$ © 2024\ny"


def test_rules_are_literal_unless_they_say_otherwise():
    plan = read_plan({"cleaning": [], "replacements": [{"find": "a.c", "replace": "$1"}]})
    assert clean_text("abc a.c", plan)[0] == "abc $1"


def test_rules_act_in_their_order():
    plan = read_plan({"cleaning": [], "replacements": [{"find": "a", "replace": "b"}, {"find": "b", "replace": "c"}]})
    assert clean_text("ab", plan)[0] == "cc"


def test_a_pattern_may_use_its_groups():
    plan = read_plan(RULES)
    assert clean_text("12 EUR to Acme Ltd", plan) == ("€12 to Acme Limited", ["replacements"])


@pytest.mark.parametrize(
    ("find", "why"),
    [
        ("(?<=a)b", "ahead or behind"),
        (r"(a)\1", "earlier group"),
        ("[", "not valid"),
        ("a*", "matches nothing"),
        (r"(\w{1,1000}){1000}", "too large"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(find, why):
    with pytest.raises(UserError, match=why) as caught:
        read_plan({"replacements": [{"find": find, "is_regex": True}]})
    assert (caught.value.code, caught.value.field) == ("bad_cleaning", "replacements")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"cleaning": ["polish"]}, "cleaning"),
        ({"cleaning": "nfc"}, "cleaning"),
        ({"replacements": [{"find": ""}]}, "replacements"),
        ({"replacements": [{"find": "a" * 501}]}, "replacements"),
        ({"replacements": [{"find": "a"}] * 101}, "replacements"),
        ({"boilerplate": ["***"]}, "boilerplate"),
        ({"boilerplate": ["two\nlines"]}, "boilerplate"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(raw, field):
    with pytest.raises(UserError) as caught:
        read_plan(raw)
    assert caught.value.field == field


def test_a_hostile_pattern_takes_no_longer_than_its_text():
    plan = read_plan({"cleaning": [], "replacements": [{"find": "(a+)+$", "replace": "", "is_regex": True}]})
    assert clean_text("a" * 50_000 + "b", plan)[1] == []


def test_rules_that_feed_one_another_do_not_fill_the_memory():
    plan = read_plan({"cleaning": [], "replacements": [{"find": "a", "replace": "a" * 500}] * 20})
    assert len(clean_text("a" * 100, plan)[0]) <= 100_000


def test_nothing_given_means_the_default_steps():
    assert read_plan({"cleaning": None}).steps == ("repair_unicode", "control_characters", "nfc", "whitespace")
    assert "html_entities" not in DEFAULT_STEPS


def test_a_step_can_be_switched_off():
    assert clean_text("a\u00a0b cafe\u0301", read_plan({"cleaning": ["nfc"]})) == ("a\u00a0b café", ["nfc"])


def test_all_written_texts_of_a_row_are_cleaned_and_tool_arguments_are_not():
    messages = [
        {"role": "system", "content": "a\u00a0b"},
        {"role": "user", "content": [{"type": "text", "text": "c\r\nd"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": '{"a": "x\u00a0"}'}}],
        },
    ]
    cleaned, steps = clean_messages(messages, PLAN)
    assert [cleaned[0]["content"], cleaned[1]["content"][0]["text"], steps] == ["a b", "c\nd", ["whitespace"]]
    assert cleaned[2] == messages[2]
    assert messages[0]["content"] == "a\u00a0b"


def test_the_preview_shows_a_text_before_and_after_with_the_steps():
    (change,) = preview(["cafÃ©\u00a0"], PLAN)
    assert (change.before, change.after, change.steps) == ("cafÃ©\u00a0", "café", ["repair_unicode", "whitespace"])


PIECES = [
    *("cafÃ©", "â€™", "œ", "é", "e\u0301", "\u212b", "\u0344", "\u1112\u1161\u11ab", "नु\u093c", "\u00a0", "\u2028"),
    *(
        "\u3000",
        "\x85",
        "\x1c",
        "\x7f",
        "\ufeff",
        "\r",
        "\n",
        "\n\n\n\n",
        "\t",
        " ",
        '"',
        "\\",
        "\\n",
        "&amp;",
        "&nbsp;",
    ),
    *("Ltd", 'a"b', "12 EUR", "Confidential - page 1", "word", "中文", "À£", "\0", "b"),
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=8).map("".join)
texts = texts.filter(lambda text: text.isprintable() or not any(0xD800 <= ord(c) <= 0xDFFF for c in text))
plans = st.sampled_from(
    [
        PLAN,
        read_plan(RULES),
        CleaningPlan(()),
        *(CleaningPlan((step.name,)) for step in STEPS),
        read_plan({"boilerplate": ["b"]}),
    ]
)


@settings(max_examples=200, deadline=None)
@given(texts, plans)
@example("\nÀ£", PLAN)
@example("a\x1c", CleaningPlan(("whitespace",)))
def test_the_quick_search_over_a_column_never_misses_a_text(text, plan):
    if clean_text(text, plan)[1]:
        assert needs_cleaning(pl.Series([text]), plan).item()


@settings(max_examples=200, deadline=None)
@given(texts, texts, plans)
def test_the_quick_search_over_stored_rows_never_misses_a_row(prompt, answer, plan):
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    frame = pl.DataFrame(
        {
            "messages": [json.dumps(messages, ensure_ascii=False, separators=(",", ":"))],
            "prompt": [prompt],
            "answer": [answer],
        }
    ).with_columns(pl.lit(2).alias("turns"), pl.lit(None, pl.String).alias("rejected"))
    if clean_messages(messages, plan)[1]:
        assert rows_to_clean(frame, plan).item()


@settings(max_examples=200, deadline=None)
@given(texts)
def test_cleaning_a_clean_text_changes_nothing(text):
    plan = CleaningPlan(("control_characters", "nfc", "whitespace"))
    once = clean_text(text, plan)[0]
    assert clean_text(once, plan) == (once, [])


def test_every_letter_with_another_spelling_is_seen():
    letters = [
        c for c in map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000)]) if unicodedata.normalize("NFC", c) != c
    ]
    assert needs_cleaning(pl.Series(letters), CleaningPlan(("nfc",))).all()


def test_clean_rows_are_passed_over():
    column = pl.Series(
        ["The party shall give notice.", "Zwölf Boxkämpfer – jagen Viktor.", "请告诉我包裹什么时候到", None]
    )
    assert needs_cleaning(column, PLAN).to_list() == [False] * 4


def test_a_field_that_only_the_messages_hold_is_cleaned_too(prepare_text):
    answer = {"role": "assistant", "content": "Yes, it is.", "reasoning_content": "cafÃ© means coffee "}
    row = {"messages": [{"role": "user", "content": "Is it open today?"}, answer]}
    done = prepare_text("a.jsonl", json.dumps(row))
    assert "café means coffee" in done.examples["messages"][0]
    assert "cafÃ©" not in done.examples["messages"][0]
