import pytest

from finetune_engine.evaluate.metrics.json_fields import FieldF1, field_f1, json_valid, schema_f1
from finetune_engine.evaluate.metrics.metric import Material

WANTED = '{"party": "Acme Ltd.", "amount": 1000, "terms": [{"days": 30}, {"days": 60}]}'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (WANTED, True),
        ("```json\n{}\n```", True),
        ("[1, 2]", True),
        ("Here it is: {}", False),
        ("{'a': 1}", False),
        ("NaN", False),
        ("", False),
    ],
)
def test_json_is_valid_alone_or_in_a_code_fence(answer, expected):
    assert json_valid(answer) is expected


def test_fields_in_another_order_are_the_same():
    answer = '{"terms": [{"days": 60}, {"days": 30}], "amount": 1000.0, "party": "acme ltd"}'
    assert field_f1(answer, WANTED) == 1.0


def test_one_wrong_value_of_four_costs_a_quarter():
    answer = WANTED.replace("1000", "999")
    assert field_f1(answer, WANTED) == pytest.approx(0.75)
    assert schema_f1(answer, WANTED) == 1.0


def test_a_missing_field_costs_recall_only():
    answer = '{"party": "Acme Ltd.", "terms": [{"days": 30}, {"days": 60}]}'
    assert field_f1(answer, WANTED) == pytest.approx(2 * 3 / (3 + 4))


def test_a_number_written_as_text_has_the_wrong_kind():
    assert schema_f1('{"amount": "1000"}', '{"amount": 1000}') == 0.0


def test_true_is_not_one():
    assert field_f1('{"a": true}', '{"a": 1}') == 0.0


def test_what_is_not_json_scores_nothing():
    assert field_f1("the amount is 1000", WANTED) == 0.0


def test_field_scores_are_taken_only_where_every_reference_is_an_object():
    assert FieldF1().suits(Material(["x", "y"], ['{"a": 1}', '{"b": 2}']))
    assert not FieldF1().suits(Material(["x", "y"], ['{"a": 1}', "[1]"]))
    assert not FieldF1().suits(Material(["x"], ["12"]))


def test_a_number_beyond_all_floats_is_compared_as_it_is():
    huge = '{"a": ' + "1" * 400 + "}"
    assert field_f1(huge, '{"a": 1}') == 0.0
    assert field_f1(huge, huge) == 1.0
