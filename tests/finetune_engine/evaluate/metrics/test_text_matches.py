import pytest

from finetune_engine.evaluate.metrics.exact_match import exact_match, quasi_exact_match
from finetune_engine.evaluate.metrics.token_f1 import token_f1


def test_strict_and_normalised_matches_differ_only_in_form():
    assert exact_match(" Net 30\n", "Net 30")
    assert not exact_match("net 30", "Net 30")
    assert quasi_exact_match("The  answer: Net-30!", "answer net 30")
    assert not quasi_exact_match("net 31", "Net 30")


def test_punctuation_alone_is_still_compared():
    assert quasi_exact_match("?", " ?")
    assert not quasi_exact_match("?", "!")


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("the cat sat", "cat sat down", 0.8),  # 2 shared of 2 said and 3 wanted
        ("cat cat", "cat", 2 / 3),
        ("", "cat", 0.0),
        ("", "", 1.0),
        ("Straße", "STRASSE", 1.0),
        ("สวัสดี", "สวัสดี", 1.0),
        ("北京市", "北京", 0.8),
    ],
)
def test_word_f1_counts_shared_words_once(answer, reference, expected):
    assert token_f1(answer, reference) == pytest.approx(expected)


@pytest.mark.parametrize("reference", ["A", "the", "...", "?!"])
def test_an_empty_answer_shares_nothing_with_a_reference_that_normalises_to_nothing(reference):
    assert token_f1("", reference) == 0.0
    assert token_f1(reference, reference) == 1.0


def test_the_letter_a_as_an_answer_is_known_by_any_form():
    assert quasi_exact_match("a.", "A")
    assert not quasi_exact_match("", "A")
