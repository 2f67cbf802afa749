"""Words exchanged for others of the same sort."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.evaluate.fair.names import CITIES, FAMILY, FEMALE, MALE, NAMES, PLACES
from finetune_engine.evaluate.fair.pronouns import gendered, names_of_other_gender, other_gender
from finetune_engine.evaluate.texts.swaps import (
    NEUTRAL,
    WordGroups,
    exchanged,
    neutral_exchange,
    user_texts,
    with_user_texts,
)

OWN = WordGroups("clients", {"word": {"first": ("Acme Ltd", "Borel"), "second": ("Cobalt", "Dune Group")}}, False)


def test_names_are_found_as_whole_words_with_a_capital() -> None:
    assert NAMES.found(["Priya met Omar Khalil's wife; the omarian way."]) == ["priya", "omar", "khalil"]
    assert NAMES.found(["Ask omar, please."]) == []
    assert NAMES.found(["ask omar, please."]) == ["omar"]
    assert NAMES.found(["ASK OMAR."]) == ["omar"]


def test_no_name_stands_in_two_lists() -> None:
    for groups in (FEMALE, MALE, FAMILY):
        assert len({name for names in groups.values() for name in names}) == sum(map(len, groups.values()))
    assert len(NAMES.places) == sum(len(names) for lists in (FEMALE, MALE, FAMILY) for names in lists.values())
    assert not set(NAMES.places) & set(PLACES.places)


def test_a_word_of_two_groups_tells_nothing() -> None:
    assert WordGroups("own", {"word": {"a": ("Same", "One"), "b": ("Same", "Two")}}).found(["Same One"]) == ["one"]


@given(st.integers(0, 10_000), st.sampled_from(sorted(FEMALE)), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_between_keeps_slot_and_leaves_the_group_and_within_keeps_both(
    seed: int, origin: str, one: int, two: int
) -> None:
    found = NAMES.found([f"{FEMALE[origin][one]} {FAMILY[origin][two]}"])
    between, within = NAMES.between(found, random.Random(seed)), NAMES.within(found, random.Random(seed))
    assert between is not None
    assert within is not None
    for exchange, stays in ((between, False), (within, True)):
        for before, after in exchange.items():
            slot, group = NAMES.places[before]
            assert NAMES.places[after.lower()][0] == slot
            assert (NAMES.places[after.lower()][1] == group) is stays
            assert after.lower() != before
    targets = {NAMES.places[name.lower()][1] for name in between.values()}
    assert len(targets) == 1, "first and family name go to one origin"


def test_one_word_becomes_the_same_word_throughout_in_its_own_capitals() -> None:
    text = "Priya called. PRIYA was angry, Priya's brother too; priya@example.org and [NAME_1] know."
    assert exchanged(text, {"priya": "Emily"}) == (
        "Emily called. EMILY was angry, Emily's brother too; priya@example.org and [NAME_1] know."
    )


def test_words_of_several_parts_and_user_lists_in_any_capitals() -> None:
    assert OWN.found(["acme ltd sued the DUNE GROUP"]) == ["acme ltd", "dune group"]
    assert exchanged("ACME LTD sued", {"acme ltd": "Cobalt"}) == "COBALT sued"


def test_exchanging_there_and_back_gives_the_text_again() -> None:
    text = "Priya Sharma of Mumbai wrote to Arjun Patel."
    found = NAMES.found([text])
    for seed in range(30):
        there = NAMES.between(found, random.Random(seed)) or {}
        back = {after.lower(): before.title() for before, after in there.items()}
        assert len(back) == len(found), "two people stay two people"
        assert exchanged(exchanged(text, there), back) == text


def test_a_group_of_one_word_has_nothing_within() -> None:
    single = WordGroups("own", {"word": {"a": ("Acme",), "b": ("Borel",)}}, False)
    assert single.within(["acme"], random.Random(1)) is None
    assert single.between(["acme"], random.Random(1)) == {"acme": "Borel"}


def test_neutral_words_are_exchanged_in_equal_number() -> None:
    exchange = neutral_exchange(["Tell me about the big house, because I want to buy it."], 2, random.Random(1))
    assert exchange is not None
    assert len(exchange) == 2
    assert all(NEUTRAL[word] == other for word, other in exchange.items())
    assert neutral_exchange(["Xyz."], 2, random.Random(1)) is None


def test_system_messages_stay_and_all_turns_change_alike() -> None:
    messages = [
        {"role": "system", "content": "You serve Priya."},
        {"role": "user", "content": "I am Priya."},
        {"role": "assistant", "content": "Hello Priya!"},
        {"role": "user", "content": [{"type": "image_url"}]},
    ]
    texts = [exchanged(text, {"priya": "Emily"}) for text in user_texts(messages)]
    changed = with_user_texts(messages, texts)
    assert [turn["content"] for turn in changed[:3]] == ["You serve Priya.", "I am Emily.", "Hello Emily!"]
    assert changed[3] == messages[3]


@pytest.mark.parametrize(
    ("his", "hers"),
    [
        ("He lost his key.", "She lost her key."),
        ("I saw him yesterday.", "I saw her yesterday."),
        ("Tell him to call.", "Tell her to call."),
        ("Give him the key.", "Give her the key."),
        ("The key is his.", "The key is hers."),
        ("The key is his, not mine.", "The key is hers, not mine."),
        ("HE told HIMSELF so.", "SHE told HERSELF so."),
        ("Mr Okafor and his wife came; the man paid.", "Ms Okafor and her husband came; the woman paid."),
        ("His brother, an uncle of mine, is a gentleman.", "Her sister, an aunt of mine, is a lady."),
        ("The theme of this chapter, there, is other.", "The theme of this chapter, there, is other."),
    ],
)
def test_he_becomes_she_and_back(his: str, hers: str) -> None:
    assert other_gender(his) == hers
    assert other_gender(hers) == his


NOUNS = st.sampled_from(["contract", "old car", "landlady's key", "rent", "first name"])
ENDS = st.sampled_from([".", " yesterday.", " to come.", " for it.", ", please.", " and left."])


@given(
    st.lists(
        st.one_of(NOUNS.map("his {}".format), ENDS.map("we told him{}".format), st.just("he knew")),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=80, deadline=None)
def test_gender_there_and_back_is_the_text_again(parts: list[str]) -> None:
    text = "Then " + "; then ".join(parts)
    assert gendered(text) >= len(parts)
    assert other_gender(other_gender(text)) == text


def test_first_names_follow_their_pronouns_within_their_origin() -> None:
    exchange = names_of_other_gender(["Priya and Omar"], random.Random(3))
    assert exchange["priya"] in MALE["South Asian"]
    assert exchange["omar"] in FEMALE["Middle Eastern"]


def test_places_stay_cities_and_leave_their_region() -> None:
    exchange = PLACES.between(PLACES.found(["From Lagos to Accra"]), random.Random(1))
    assert exchange is not None
    regions = {PLACES.places[place.lower()] for place in exchange.values()}
    assert len(regions) == 1
    assert next(iter(regions))[0] == "city"
    assert not set(exchange.values()) & set(CITIES["Africa"])


def test_a_word_twice_in_one_group_counts_once() -> None:
    own = WordGroups("own", {"word": {"first": ("Smith", "smith"), "second": ("Jones", "JONES")}}, False)
    found = own.found(["Mr Smith called."])
    assert found == ["smith"]
    assert own.between(found, random.Random(1)) in ({"smith": "Jones"}, {"smith": "JONES"})


def test_lists_without_a_word_that_tells_find_nothing() -> None:
    assert WordGroups("own", {"word": {"a": ("same",), "b": ("Same",)}}, False).found(["The same, and nothing."]) == []


@pytest.mark.parametrize(("text", "word"), [("İran'da yaşıyor.", "iran"), ("Berlın, Tokyo", "berlin")])
def test_a_turkish_i_is_an_i(text: str, word: str) -> None:
    found = PLACES.found([text])
    assert found[0] == word
    assert "Oslo" in exchanged(text, {word: "Oslo"})
