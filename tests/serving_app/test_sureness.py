"""When an answer is put before a person."""

from __future__ import annotations

import pytest

from finetune_engine.serve.calibration import Curve
from serving_app.queries import AnswerSettings, ServedModel
from serving_app.sureness import sureness_of, sureness_words

CURVE = Curve((0.0, 0.5, 1.0), (0.1, 0.2, 0.9))


def model(**settings) -> ServedModel:
    return ServedModel("ft:x", "x", "x", settings=AnswerSettings(**settings))


def test_the_curve_turns_the_models_own_number_into_a_share_of_right_answers():
    assert sureness_of(model(curve=CURVE), 0.75).calibrated == pytest.approx(0.55)


def test_without_a_threshold_nobody_is_asked():
    assert not sureness_of(model(curve=CURVE), 0.01).needs_human
    assert not sureness_of(model(), None).needs_human


@pytest.mark.parametrize(("confidence", "asks"), [(0.74, True), (0.76, False)])
def test_the_calibrated_number_is_compared(confidence, asks):
    assert sureness_of(model(curve=CURVE, ask_human_below=0.55), confidence).needs_human is asks


def test_an_answer_at_the_threshold_needs_nobody():
    assert not sureness_of(model(curve=CURVE, ask_human_below=CURVE.apply(0.75)), 0.75).needs_human


def test_without_a_curve_the_models_own_number_is_compared():
    told = sureness_of(model(ask_human_below=0.8), 0.7)
    assert (told.calibrated, told.needs_human) == (None, True)


def test_a_confidence_that_is_no_number_counts_as_none():
    told = sureness_of(model(curve=CURVE, ask_human_below=0.1), float("nan"))
    assert (told.calibrated, told.needs_human) == (None, True)


def test_an_answer_without_any_confidence_is_put_before_a_person():
    assert sureness_of(model(curve=CURVE, ask_human_below=0.1), None).needs_human


@pytest.mark.parametrize(
    ("calibrated", "confidence", "words"),
    [
        (0.81, 0.99, "About 8 of 10 answers like this are right."),
        (0.97, 0.99, "About 97 of 100 answers like this are right."),
        (None, 0.93, "probability of 93%"),
        (None, None, "did not say how sure"),
    ],
)
def test_sureness_is_told_in_plain_words(calibrated, confidence, words):
    assert words in sureness_words(calibrated, confidence)
