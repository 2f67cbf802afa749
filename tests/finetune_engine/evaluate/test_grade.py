from types import SimpleNamespace

import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.grade import grader


def cases_of(*references):
    return Cases([TestCase(row, [], "q", said, None, None) for row, said in enumerate(references)], [])


def spec_of(headline):
    return SimpleNamespace(task_type="chat", headline=headline)


@pytest.mark.parametrize("headline", ["field_f1", "json_valid"])
def test_a_headline_with_nothing_to_measure_is_refused_before_anything_is_asked(headline):
    with pytest.raises(UserError) as caught:
        grader(spec_of(headline), cases_of("Net 30", '{"a": 1}'))
    assert caught.value.field == "headline"


def test_a_headline_that_fits_the_cases_grades_them():
    headline, graded = grader(spec_of("field_f1"), cases_of('{"a": 1}'))
    assert headline == "field_f1"
    assert graded(['{"a": 1.0}'], cases_of('{"a": 1}').test).tolist() == [1.0]
