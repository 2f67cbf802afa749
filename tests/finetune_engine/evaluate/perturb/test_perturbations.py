"""Each family by example, and what holds for all of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.evaluate.perturb import case, contraction, formats, mild_mix, misspellings, punctuation, space
from finetune_engine.evaluate.perturb.perturbation import (
    Perturbation,
    last_user_text,
    perturbed,
    protected_spans,
    with_last_user_text,
)
from finetune_engine.evaluate.perturb.registry import all_perturbations

RNG = random.Random(1)
KINDS = {"typos", "misspellings", "case", "space", "punctuation", "contraction", "format", "mild_mix"}
PLACEHOLDERS = ["[EMAIL_1]", "[US_SSN_12]", "{{client}}", "{name}", "https://example.org/a?b=C", "jo@example.org"]


def test_all_families_are_there_and_no_two_have_one_name() -> None:
    assert {one.kind for one in all_perturbations()} == KINDS
    assert len({one.key for one in all_perturbations()}) == len(all_perturbations()) == 20


@given(
    st.lists(st.one_of(st.sampled_from(PLACEHOLDERS), st.text(max_size=12)), max_size=12).map(" ".join),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_placeholders_come_through_every_perturbation(text: str, row: int) -> None:
    for perturbation in all_perturbations():
        changed = perturbed(perturbation, text, row)
        for start, end in protected_spans(text, ()) if changed is not None else ():
            assert text[start:end] in changed


@given(st.text(max_size=80), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_every_perturbation(text: str, row: int) -> None:
    for perturbation in all_perturbations():
        changed = perturbed(perturbation, text, row)
        assert changed is None or changed != text


def test_a_perturbation_that_loses_a_placeholder_is_found_out() -> None:
    broken = Perturbation("broken", "all", "typo_resistance", "When all is lost", lambda text, rng: "")
    with pytest.raises(ValueError, match="lost or doubled"):
        perturbed(broken, "Write to [EMAIL_1].", 1)


@pytest.mark.parametrize(
    "listing",
    [
        "One of: refund, late delivery, other.",
        'Choose "refund" or "late delivery".',
        "- refund\n- late delivery: it came late\n- other",
        "refund | late delivery | other",
        "1. refund\n2. late delivery",
    ],
)  # fmt: skip
def test_labels_that_the_prompt_lists_stay(listing: str) -> None:
    upper = next(one for one in all_perturbations() if one.key == "case:upper")
    changed = perturbed(upper, f"{listing}\n\nThe parcel came late.", 1, ["refund", "late delivery", "other"])
    assert changed is not None
    assert "refund" in changed
    assert "late delivery" in changed
    assert "THE PARCEL CAME LATE" in changed


def test_a_label_in_running_text_is_a_word_like_any_other() -> None:
    upper = next(one for one in all_perturbations() if one.key == "case:upper")
    assert (
        perturbed(upper, "I want a refund for the other parcel.", 1, ["refund", "other"])
        == "I WANT A REFUND FOR THE OTHER PARCEL."
    )


@pytest.mark.parametrize("text", ["เช่าบ้าน", "我想取消", "हिन्दी"])
def test_capitals_do_not_apply_where_there_are_none(text: str) -> None:
    assert all(perturbed(one, text, 1) is None for one in case.PERTURBATIONS)


def test_only_the_last_user_message_changes() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Rent?"},
    ]
    assert last_user_text(messages) == "Rent?"
    assert with_last_user_text(messages, "RENT?") == [*messages[:3], {"role": "user", "content": "RENT?"}]
    assert messages[3]["content"] == "Rent?"


def test_a_message_of_pictures_is_left_alone() -> None:
    assert last_user_text([{"role": "user", "content": [{"type": "image_url"}]}]) is None


def test_misspelt_words_keep_their_capitals_and_are_no_words_of_the_list() -> None:
    assert misspellings.misspell("RECEIVED. Definitely!", random.Random(1)) in (
        "RECIEVED. Definately!",
        "RECIEVED. Definitly!",
    )
    wrong = {form for forms in misspellings.MISSPELLINGS.values() for form in forms}
    assert not wrong & set(misspellings.MISSPELLINGS)


def test_title_case_knows_apostrophes() -> None:
    assert case.title("don't shout, o'neill") == "Don't Shout, O'neill"


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (space.doubled, "a b\nc d", "a  b\nc  d"),
        (space.missing, "one two", "onetwo"),
        (space.trailing, "a", "  a   "),
        (space.non_breaking, "a b", "a\u00a0b"),
        (punctuation.removed, "Well, 3.5 is; don't (ever)!", "Well 3.5 is don't ever"),
        (punctuation.removed, "您好，谢谢。", "您好谢谢"),
        (punctuation.doubled, "Really? Yes, 3.5.", "Really?? Yes,, 3.5.."),
        (contraction.expand, "Don't, I'm sure it's been paid; it's late.", "Do not, I am sure it has been paid; it is late."),
        (contraction.expand, "WE CAN’T", "WE CANNOT"),
        (contraction.contract, "Do not say I am late. Yes, it is.", "Don't say I'm late. Yes, it is."),
        (formats.bullets, "One. Two!\nThree", "- One.\n- Two!\n- Three"),
        (formats.bullets, "- One\n- Two", "- One\n- Two"),
        (formats.quotes, "Hello", "“Hello”"),
        (formats.numbers, "3 rooms, twelve chairs, 1,200 or 45000 dollars", "three rooms, 12 chairs, 1200 or 45,000 dollars"),
        (formats.numbers, "In 2024, 5 % of 3.5 at 10:30, unit 4b", "In 2024, 5 % of 3.5 at 10:30, unit 4b"),
        (formats.dates, "From 2024-03-05 to March 9, 2024.", "From 5 March 2024 to 2024-03-09."),
        (formats.dates, "On 5th april 2023, not 03/05/2024 or 2024-02-31", "On 2023-04-05, not 03/05/2024 or 2024-02-31"),
    ],
)  # fmt: skip
def test_each_form_by_example(change, before: str, after: str) -> None:
    assert change(before, random.Random(1)) == after


def test_the_mild_mix_keeps_the_words_but_for_misspellings() -> None:
    mixed = mild_mix.mild_mix("Do not BELIEVE that the tenant is gone.", random.Random(2))
    assert mixed == mixed.lower()
    assert set(mixed.split()) <= {"don't", "believe", "beleive", "that", "the", "tenant", "is", "gone."}
    assert any("  " in mild_mix.mild_mix("a b c d", random.Random(seed)) for seed in range(3))


@pytest.mark.parametrize(
    "text",
    [
        "ıt's sıx Aprıl 5, 2024, wıth a busıness.",
        "It's been fıve on 5 aprİl 2024, ıt ıs not busİness here",
        "ſince Friday, miſſing",
    ],
)
def test_letters_that_only_a_pattern_takes_for_others_break_nothing(text: str) -> None:
    for perturbation in all_perturbations():
        assert perturbed(perturbation, text, 1) != ""
