import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from finetune_engine.evaluate.metrics.quality import (
    UNPARSABLE,
    Classified,
    LabelReader,
    exact_match,
    macro_f1_of,
    mcc_of,
    quasi_exact_match,
    token_f1,
)


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


def test_an_answer_is_a_label_when_it_is_the_same_but_for_form():
    reader = LabelReader(["Audit Rights", "Anti-Assignment", "NDA", "nda"])
    assert reader.read("Audit Rights") == "Audit Rights"
    assert reader.read("  audit rights.") == "Audit Rights"
    assert reader.read("anti assignment") == "Anti-Assignment"
    assert reader.read("nda") == "nda"
    assert reader.read("Nda") == UNPARSABLE  # two labels look like this
    assert reader.read("I think it is Audit Rights") == UNPARSABLE
    assert reader.read("") == UNPARSABLE


REFERENCES = ["a", "a", "a", "b", "b", "c"]
PREDICTIONS = ["a", "a", "b", "b", UNPARSABLE, "a"]


def test_unparsable_answers_are_a_class_of_their_own():
    confusion = Classified.of(REFERENCES, PREDICTIONS).confusion()
    assert confusion.labels == ["a", "b", "c", UNPARSABLE]
    assert confusion.matrix == [[2, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_per_class_scores_match_hand_counts():
    by_label = {score.label: score for score in Classified.of(REFERENCES, PREDICTIONS).per_class()}
    assert set(by_label) == {"a", "b", "c"}
    assert by_label["a"].precision == pytest.approx(2 / 3)
    assert by_label["a"].recall == pytest.approx(2 / 3)
    assert by_label["b"].f1 == pytest.approx(0.5)
    assert (by_label["c"].f1, by_label["c"].support) == (0.0, 1)


def test_macro_f1_and_mcc_are_those_of_scikit_learn_on_the_texts():
    classified = Classified.of(REFERENCES, PREDICTIONS)
    expected = f1_score(REFERENCES, PREDICTIONS, average="macro", zero_division=0)
    assert classified.macro_f1() == pytest.approx(expected)
    assert macro_f1_of(classified.matrix()) == pytest.approx(expected)
    assert classified.mcc() == pytest.approx(matthews_corrcoef(REFERENCES, PREDICTIONS))
    assert mcc_of(classified.matrix()) == pytest.approx(matthews_corrcoef(REFERENCES, PREDICTIONS))


def test_one_class_only_gives_a_coefficient_of_zero():
    assert mcc_of(Classified.of(["a", "a"], ["a", "a"]).matrix()) == 0.0
