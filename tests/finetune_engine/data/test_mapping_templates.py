"""Columns that a person chose: several in one text, a group, a split, and what becomes of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finetune_engine.data.detection import Detected, detect_format
from finetune_engine.data.options import read_options
from finetune_engine.data.readers import open_records, sniff
from finetune_engine.data.records import Draft, Mapping, RawRecord
from finetune_engine.errors import UserError

ROW = {"title": "Foxes", "body": "They sleep.", "reply": "Thanks.", "team": "north", "note": "seen", "part": "val"}


def drafted(mapping: Mapping, row: dict[str, Any] | None = None) -> Draft:
    record = RawRecord(1, 1, ROW if row is None else row, "")
    detected = detect_format([record], name="a.csv", mapping=mapping)
    assert detected is not None
    return detected.convert(record.value or {})


def test_a_template_puts_columns_into_one_text():
    mapping = Mapping(("title", "body"), "reply", prompt_template="Title: {title}\n\n{body}")
    assert drafted(mapping).messages[0]["content"] == "Title: Foxes\n\nThey sleep."


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{body} ({title}, {body})", "They sleep. (Foxes, They sleep.)"),
        ("{{title}} is {title}", "{title} is Foxes"),
        ("{title}", "Foxes"),
    ],
)
def test_a_template_may_repeat_columns_and_show_braces(template, text):
    assert drafted(Mapping(("title", "body"), "reply", prompt_template=template)).messages[0]["content"] == text


def test_a_blank_column_leaves_no_gap_at_the_ends():
    mapping = Mapping(("title", "body"), "reply", prompt_template="{title}\n\n{body}")
    assert drafted(mapping, ROW | {"body": ""}).messages[0]["content"] == "Foxes"


def test_text_from_a_column_is_never_read_as_a_template():
    mapping = Mapping(("title", "body"), "reply", prompt_template="{title} {body}")
    assert (
        drafted(mapping, ROW | {"title": "{body}{0}{team.x}"}).messages[0]["content"] == "{body}{0}{team.x} They sleep."
    )


def test_columns_without_a_template_are_joined_by_an_empty_line():
    assert drafted(Mapping(("title", "body"), "reply")).messages[0]["content"] == "Foxes\n\nThey sleep."


def test_a_template_is_read_from_the_options():
    options = read_options({"mapping": {"prompt_template": "{title}: {body}", "completion": "reply"}})
    assert options.mapping == Mapping(("title", "body"), "reply", prompt_template="{title}: {body}")
    assert options.mapping.as_dict() == {
        "prompt": ["title", "body"],
        "completion": "reply",
        "prompt_template": "{title}: {body}",
    }


@pytest.mark.parametrize("template", ["{title!r}", "{title:>10}", "{title", "{}", "no column"])
def test_a_template_with_more_than_columns_is_refused(template):
    with pytest.raises(UserError) as refused:
        read_options({"mapping": {"prompt_template": template, "completion": "reply"}})
    assert (refused.value.code, refused.value.field) == ("bad_mapping", "mapping")


def test_a_template_with_a_column_that_is_not_there_names_the_columns():
    with pytest.raises(UserError, match="has no column “subject”"):
        drafted(Mapping(("subject", "body"), "reply", prompt_template="{subject} {body}"))


def test_every_column_without_a_part_is_kept_as_metadata():
    draft = drafted(Mapping(("title", "body"), "reply", group="team", split="part"))
    assert draft.metadata == {"team": "north", "note": "seen"}
    assert (draft.group, draft.split) == ("north", "validation")


def test_a_group_that_is_a_number_is_its_digits():
    assert drafted(Mapping(("title",), "reply", group="team"), ROW | {"team": 7}).group == "7"


def test_a_row_without_its_group_has_none():
    assert drafted(Mapping(("title",), "reply", group="team"), ROW | {"team": ""}).group is None


def test_a_split_nobody_knows_is_kept_as_metadata():
    draft = drafted(Mapping(("title",), "reply", split="part", metadata=()), ROW | {"part": "holdout"})
    assert (draft.split, draft.metadata) == (None, {"part": "holdout"})


def test_instructions_and_label_come_from_their_columns():
    draft = drafted(Mapping(("body",), "reply", system="title", label="team"))
    assert draft.messages[0] == {"role": "system", "content": "Foxes"}
    assert draft.label == "north"


LISTS = {
    "train": [["where is my card", "card"], ["book a flight", "travel"]],
    "val": [["freeze my card", "card"]],
    "odd": [["what is love", "oos"]],
}


@pytest.fixture
def lists(tmp_path):
    path = tmp_path / "intents.json"
    path.write_text(json.dumps(LISTS))
    return path


def converted(path, mapping: Mapping) -> list[Draft]:
    source = open_records(path, lists=mapping.lists)
    records = list(source.records())
    detected = detect_format(records, name=source.name, mapping=mapping)
    assert isinstance(detected, Detected)
    return [detected.convert(r.value or {}) for r in records]


def test_an_object_of_lists_asks_which_column_is_which(lists):
    preview = sniff(lists)
    assert (preview.problem_code, preview.lists) == ("wrong_columns", ["train", "val", "odd"])
    assert preview.columns == ["column 1", "column 2", "list", "split"]
    assert preview.problem == (
        "intents.json is one object whose values are lists of rows. Choose which column is the input and which the "
        "answer: its columns are column 1 (“where is my card”), column 2 (“card”) and the name of the list (“train”)."
    )


def test_the_chosen_columns_of_an_object_of_lists_are_read(lists):
    drafts = converted(lists, Mapping(("column 1",), "column 2", label="column 2"))
    assert [(d.messages[0]["content"], d.label, d.split, d.metadata) for d in drafts] == [
        ("where is my card", "card", "train", {"list": "train"}),
        ("book a flight", "travel", "train", {"list": "train"}),
        ("freeze my card", "card", "validation", {"list": "val"}),
        ("what is love", "oos", None, {"list": "odd"}),
    ]


def test_only_the_chosen_lists_are_read(lists):
    drafts = converted(lists, Mapping(("column 1",), "column 2", lists=("val", "odd")))
    assert [d.messages[0]["content"] for d in drafts] == ["freeze my card", "what is love"]


def test_a_list_that_is_not_there_names_the_lists(lists):
    with pytest.raises(UserError) as refused:
        open_records(lists, lists=["dev"])
    assert refused.value.sentence == "intents.json has no list “dev”. Its lists are train, val, odd."


def test_the_chosen_lists_show_in_the_preview(lists):
    mapping = {"prompt": "column 1", "completion": "column 2", "lists": ["val"]}
    preview = sniff(lists, None, {"mapping": mapping})
    assert [row.messages[0]["content"] for row in preview.rows] == ["freeze my card"]


def test_lists_of_single_texts_have_the_name_of_the_list_as_their_answer(tmp_path):
    path = tmp_path / "domains.json"
    path.write_text(json.dumps({"bank": ["freeze", "routing"], "kitchen": ["recipe"]}))
    drafts = converted(path, Mapping(("column 1",), "list", label="list"))
    assert [(d.messages[0]["content"], d.label) for d in drafts] == [
        ("freeze", "bank"),
        ("routing", "bank"),
        ("recipe", "kitchen"),
    ]


def test_lists_of_objects_are_read_by_the_names_of_their_columns(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": [{"text": "a b", "label": "x"}] * 3, "test": [{"text": "c d", "label": "y"}]}))
    source = open_records(path)
    records = list(source.records())
    detected = detect_format(records, name="a.json")
    assert detected is not None
    assert detected.format.name == "text_label"
    assert [detected.convert(r.value or {}).split for r in records] == ["train", "train", "train", "test"]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"tags": ["a", "b"], "prompt": "x", "completion": "y"},
        {"tools": [{"type": "function"}], "prompt": "x", "completion": "y"},
    ],
)
def test_one_example_is_not_taken_for_an_object_of_lists(tmp_path, row):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(row, indent=1))
    assert [r.value for r in open_records(path).records()] == [row]


def test_a_large_object_of_lists_is_recognised_by_its_beginning(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": [[f"text {i} " + "x" * 200, "a"] for i in range(8000)], "test": [["t", "b"]]}))
    source = open_records(path)
    assert source.lists() == ("train", "test")
    assert sum(1 for _ in source.records()) == 8001


def test_a_broken_row_in_a_list_is_named_and_the_others_stay(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"train": [["a", "b"], ["c" "d"], ["e", "f"]], "test": [["g", "h"]]}')
    records = list(open_records(path).records())
    assert [(r.row, r.value is None) for r in records] == [(1, False), (2, True), (3, False), (4, False)]
    assert records[1].findings[0].placed(2).message == (
        'Row 2 is not valid JSON: found “"” at line 1, column 29 where a comma or a closing bracket was expected. '
        "Mend the line or remove it."
    )


def test_a_chosen_label_list_is_prepared_with_its_splits(prepare_file, tmp_path):
    path = tmp_path / "a.json"
    rows = [[f"where is card number {i} of mine", "card" if i % 2 else "travel"] for i in range(20)]
    path.write_text(json.dumps({"train": rows[:12], "test": rows[12:16], "odd": rows[16:]}))
    done = prepare_file(path, mapping={"prompt": "column 1", "completion": "column 2", "lists": ["train", "test"]})
    assert done.counts["total"] == 16
    assert done.examples["split"].to_list() == ["train"] * 12 + ["test"] * 4


@pytest.mark.parametrize("part", [{"prompt": 5}, {"metadata": "text"}, {"lists": "train"}])
def test_a_mapping_of_the_wrong_kind_is_refused(part):
    with pytest.raises(UserError) as error:
        read_options({"mapping": {"prompt": ["a"], "completion": "b"} | part})
    assert (error.value.code, error.value.field) == ("bad_mapping", "mapping")


def test_the_name_of_a_file_must_be_a_text():
    with pytest.raises(UserError, match="must be a text"):
        read_options({"name": 5})
