import json

import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.json_shape import MOST_STEPS, check_shape, read_json, shape_of

INVOICE = {
    "type": "object",
    "required": ["amount", "party"],
    "properties": {"amount": {"type": "number", "minimum": 0}, "party": {"type": "string", "pattern": "^[A-Z]"}},
    "additionalProperties": False,
}


def test_an_answer_of_the_shape_passes_alone_and_in_a_code_fence():
    assert check_shape(INVOICE, '{"amount": 3, "party": "Acme"}') is None
    assert check_shape(INVOICE, '```json\n{"amount": 3, "party": "Acme"}\n```') is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"amount": 3}', "'party' is a required property"),
        ('{"amount": -1, "party": "Acme"}', "at amount"),
        ('{"amount": 1, "party": "acme"}', "does not match"),
        ('{"amount": 1, "party": "Acme", "x": 1}', "'x' is not among the properties allowed"),
        ('Sure! {"amount": 1, "party": "Acme"}', "is not JSON"),
        ('{"amount": NaN, "party": "Acme"}', "NaN is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (" " * 10 + "1" * 5_000, "is not JSON"),
    ],
)
def test_why_an_answer_is_not_of_the_shape_is_said(answer, said):
    assert said in check_shape(INVOICE, answer)


def test_a_schema_may_be_given_as_text():
    assert shape_of('{"type": "array"}') == {"type": "array"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        "{",
        "[]",
        {"type": "objekt"},
        {"minimum": "three"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"properties": {"a": {"$id": "https://example.com/", "$ref": "#"}}},
        {"$dynamicRef": "#x"},
        {"unevaluatedProperties": False},
        {"pattern": "(?=a)b"},
        {"patternProperties": {r"(a)\1": {}}},
        {"enum": ["x" * 60_000]},
        {"const": float("nan")},
        {"const": object()},
    ],
)
def test_a_schema_that_cannot_be_used_is_a_clear_mistake(schema):
    with pytest.raises(UserError) as caught:
        shape_of(schema)
    assert caught.value.field == "schema"


def test_a_schema_deeper_than_any_answer_is_refused():
    schema = {}
    for _ in range(50):
        schema = {"items": schema}
    with pytest.raises(UserError):
        shape_of(schema)


def test_a_property_may_be_called_as_a_keyword_is():
    assert shape_of({"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}})


def test_a_tree_may_refer_to_itself():
    tree = shape_of({"type": "object", "properties": {"next": {"$ref": "#"}, "value": {"type": "integer"}}})
    assert check_shape(tree, '{"next": {"next": {"value": 1}}}') is None
    assert "at next/next/value" in check_shape(tree, '{"next": {"next": {"value": "1"}}}')


def test_a_schema_that_doubles_its_work_at_every_step_is_given_up_rather_than_hanging():
    # 2^30 evaluations if it were followed to the end.
    parts = {f"p{step}": {"allOf": [{"$ref": f"#/$defs/p{step + 1}"}] * 2} for step in range(30)}
    schema = shape_of({"$defs": parts | {"p30": {}}, "$ref": "#/$defs/p0"})
    assert "takes too long" in check_shape(schema, "{}")


def test_a_schema_that_is_only_itself_is_given_up():
    assert "takes too long" in check_shape(shape_of({"$ref": "#"}), "{}")


def test_a_pattern_that_hangs_other_engines_does_not_hang_here():
    schema = shape_of({"patternProperties": {"(x+x+)+y": False}, "additionalProperties": {"pattern": "(x+x+)+y"}})
    assert check_shape(schema, '{"' + "x" * 5_000 + '": "' + "x" * 5_000 + '"}') is not None


def test_more_items_than_can_be_checked_are_given_up():
    assert "takes too long" in check_shape({"items": {"type": "integer"}}, str([1] * (MOST_STEPS + 1)))


def test_alike_items_are_found_whatever_their_kind():
    unique = shape_of({"uniqueItems": True})
    assert check_shape(unique, '[1, true, "1", [1], {"a": 1}]') is None
    assert "the same" in check_shape(unique, '[{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]')


def test_names_covered_by_a_pattern_are_not_additional():
    schema = shape_of({"patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False})
    assert check_shape(schema, '{"x_a": 1}') is None
    assert check_shape(schema, '{"y": 1}') is not None
    assert "at x_a" in check_shape(schema, '{"x_a": "1"}')


def test_a_fence_in_the_middle_is_not_an_answer_in_json():
    with pytest.raises(ValueError):
        read_json("Here: ```json\n{}\n```")


MANY = {f"a{number}b": {} for number in range(2_000)}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"patternProperties": MANY}, MANY),
        ({"patternProperties": MANY, "additionalProperties": False}, MANY),
        ({"items": {"enum": list(range(3_000))}}, [2_999] * 5_000),
        ({"items": {"anyOf": [{"required": [f"n{number}" for number in range(3_000)]}, True]}}, [{}] * 5_000),
        ({"allOf": [{"pattern": f"b|a{number}"} for number in range(1_000)]}, "b" * 150_000),
    ],
)
def test_a_long_list_in_the_schema_that_meets_a_long_answer_is_given_up_rather_than_hanging(schema, answer):
    # Each would be ten million comparisons and more.
    assert "takes too long" in check_shape(shape_of(schema), json.dumps(answer))


def test_a_list_of_a_hundred_records_is_checked_against_two_hundred_values():
    schema = shape_of({"items": {"properties": {"country": {"enum": [f"c{number}" for number in range(200)]}}}})
    assert check_shape(schema, json.dumps([{"country": "c199"}] * 100)) is None


def test_half_a_character_in_an_answer_is_no_crash():
    schema = shape_of({"properties": {"a": {"pattern": "^x"}}})
    assert "does not match" in check_shape(schema, '{"a": "\\ud800"}')


def test_a_number_beyond_all_floats_is_no_crash():
    assert "too large" in check_shape(shape_of({"multipleOf": 0.5}), "1" * 400)
