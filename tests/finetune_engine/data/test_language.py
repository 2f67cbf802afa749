"""Rows in another language than the rest."""

from __future__ import annotations

import polars as pl
import pytest

from finetune_engine.data.language import identify, main_language, mismatches, scripts_of

ENGLISH = [
    "The tenant shall pay the rent on the first day of every month without delay.",
    "Please tell us when the parcel was sent and who signed for it at the door.",
    "We are sorry to hear that the garden chair arrived with a broken leg.",
    "Either party may end this agreement by giving ninety days of written notice.",
]
GERMAN = "Der Mieter zahlt die Miete am ersten Tag eines jeden Monats ohne Verzögerung."
FRENCH = "Le locataire doit payer le loyer le premier jour de chaque mois sans retard."
RUSSIAN = "Арендатор обязан платить арендную плату в первый день каждого месяца."
CHINESE = "承租人应在每月第一天支付租金，不得延误。"


def found(
    texts: list[str], *, by_words: bool = True, prompts: list[str] | None = None
) -> list[tuple[int, str, str, str]]:
    frame = pl.DataFrame({"row": range(1, len(texts) + 1), "answer": texts}).with_columns(
        pl.lit(None, pl.Int64).alias("line"), pl.Series("prompt", prompts or texts)
    )
    columns = ["prompt", "answer"] if prompts else ["answer"]
    main = {column: main_language(frame[column].to_list()) for column in columns}
    return [(f.row, str(f.column), str(f.found), str(f.expected)) for f in mismatches(frame, main, by_words=by_words)]


@pytest.mark.parametrize(
    ("text", "code"), [(ENGLISH[0], "en"), (GERMAN, "de"), (FRENCH, "fr"), (RUSSIAN, "ru"), (CHINESE, "zh")]
)
def test_a_sentence_tells_its_language(text, code):
    assert identify(text) == code


@pytest.mark.parametrize("text", ["Yes", "return x + 1", "ACME-42", "", "9 9 9 9 9 9 9 9 9 9"])
def test_too_little_text_tells_nothing(text):
    assert identify(text) is None


def test_most_texts_make_the_main_language():
    main = main_language([*ENGLISH * 10, GERMAN])
    assert (main.language, main.script) == ("en", "Latin")


def test_a_set_of_two_languages_has_no_main_one():
    assert main_language([*ENGLISH, GERMAN, FRENCH, GERMAN, FRENCH]).language is None


def test_a_row_in_another_language_is_found():
    assert found([*ENGLISH * 10, GERMAN]) == [(41, "answer", "German", "English")]


def test_a_row_in_another_script_is_found_without_reading_its_words():
    assert found([*ENGLISH * 10, RUSSIAN, CHINESE, GERMAN], by_words=False) == [
        (41, "answer", "the Cyrillic script", "the Latin script"),
        (42, "answer", "the Chinese or Japanese script", "the Latin script"),
    ]


def test_a_language_that_is_common_in_the_set_is_meant():
    assert found([*ENGLISH * 9, *[GERMAN] * 4]) == []


def test_translations_are_no_mistakes():
    assert found([GERMAN] * 20, prompts=ENGLISH * 5) == []


def test_a_foreign_name_in_a_text_changes_nothing():
    assert found([*ENGLISH * 10, "The letter was signed by Владимир and by 王小明 on the first of the month."]) == []


def test_languages_that_are_easily_confused_are_no_finding():
    norwegian = "Leietakeren skal betale husleien den første dagen i hver måned uten forsinkelse."
    danish = "Lejeren skal betale huslejen den første dag i hver måned uden forsinkelse."
    assert found([*[norwegian] * 30, danish]) == []


def test_labels_in_latin_letters_have_the_latin_script():
    assert scripts_of(pl.Series(["yes", "café", None])).to_list() == ["Latin", "Latin", None]


@pytest.mark.parametrize(("text", "code"), [(ENGLISH[0], "en"), (GERMAN, "de"), (FRENCH, "fr"), (RUSSIAN, "ru")])
def test_the_texts_of_a_sample_are_counted_by_language(text, code):
    assert main_language([text] * 50).counts == {code: 50}


def test_most_texts_are_told_by_their_small_words_alone(monkeypatch):
    monkeypatch.setattr("finetune_engine.data.language.identify", lambda text: pytest.fail(text))
    assert found(ENGLISH * 20) == []


def test_an_empty_set_has_no_language():
    assert main_language([]).language is None
