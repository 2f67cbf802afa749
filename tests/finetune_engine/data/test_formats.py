"""Every format is recognised by its content and read into messages."""

from __future__ import annotations

import json

import pytest

from finetune_engine.data.formats import all_formats
from finetune_engine.errors import UserError
from tests.finetune_engine.data.made_files import draft_of

TURNS = [{"role": "user", "content": "Where do foxes sleep at night"}, {"role": "assistant", "content": "In a den."}]


def chat(*turns: object) -> str:
    """A broken conversation among ten good ones, as row 1."""
    good = [
        {
            "messages": [
                {"role": "user", "content": f"Question number {i}"},
                {"role": "assistant", "content": f"Reply {i}"},
            ]
        }
        for i in range(10)
    ]
    return "\n".join(json.dumps(row) for row in [{"messages": list(turns)}, *good])


@pytest.mark.parametrize(
    ("row", "name", "messages"),
    [
        ({"messages": TURNS}, "messages", TURNS),
        ({"prompt": "Where do foxes sleep at night", "completion": "In a den."}, "prompt_completion", TURNS),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt_completion", TURNS),
        ({"input": "Where do foxes sleep at night", "output": "In a den."}, "input_output", TURNS),
        ({"Question": "Where do foxes sleep at night", "Answer": "In a den."}, "input_output", TURNS),
        ({"instruction": "Where do foxes sleep at night", "input": "", "output": "In a den."}, "alpaca", TURNS),
        ({"text": "Where do foxes sleep at night", "label": "In a den."}, "text_label", TURNS),
        (
            {"conversations": [{"from": "human", "value": TURNS[0]["content"]}, {"from": "gpt", "value": "In a den."}]},
            "sharegpt",
            TURNS,
        ),
        (
            {"instruction": "Answer.", "input": "Why?", "output": "So.", "system": "Be kind.", "history": [["a", "b"]]},
            "alpaca",
            [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "Answer.\n\nWhy?"},
                {"role": "assistant", "content": "So."},
            ],
        ),
        (
            {"text": "Only text."},
            "text",
            [{"role": "user", "content": ""}, {"role": "assistant", "content": "Only text."}],
        ),
        (
            {"messages": [TURNS[0], {"role": "assistant", "content": [{"type": "text", "text": "In a den."}]}]},
            "messages",
            TURNS,
        ),
    ],
)
def test_a_format_is_recognised_and_read(prepare_text, row, name, messages):
    done = prepare_text("a.jsonl", json.dumps(row))
    assert done.report["format"] == name
    assert json.loads(done.examples["messages"][0]) == messages


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        ([], "missing_messages_list"),
        ([{"role": "user"}], "message_missing_key"),
        (["hello"], "data_type"),
        ([{"role": "human", "content": "a"}, TURNS[1]], "unrecognized_role"),
        ([{"role": ["user"], "content": "a"}, TURNS[1]], "unrecognized_role"),
        ([{"role": "user", "content": None}, TURNS[1]], "missing_content"),
        ([TURNS[0]], "example_missing_assistant_message"),
        ([*TURNS, TURNS[0]], "last_not_assistant"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, TURNS[1]], "data_type"),
        (
            [
                TURNS[0],
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            ],
            "tool_arguments_invalid",
        ),
        ([{"role": "system", "content": "x"}, TURNS[1]], "empty_input"),
    ],
)
def test_a_broken_conversation_is_rejected_with_its_code(prepare_text, turns, code):
    done = prepare_text("a.jsonl", chat(*turns))
    assert code in done.examples["codes"][0].to_list()
    assert done.status(1) == "rejected"
    assert done.counts["rejected"] == 1


def test_a_conversation_that_answers_with_a_tool_call_is_kept(prepare_text):
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    done = prepare_text("a.jsonl", chat(TURNS[0], call))
    assert done.status(1) == "accepted"
    assert '"name":"f"' in done.examples["answer"][0]


def test_a_row_in_another_format_is_read_and_flagged(prepare_text):
    done = prepare_text("a.jsonl", chat(*TURNS) + '\n{"prompt": "How old do foxes get", "completion": "Four years."}')
    (finding,) = done.of("mixed_formats")
    assert (finding["row"], done.status(12)) == (12, "flagged")


def test_other_columns_are_kept_as_metadata(prepare_text):
    done = prepare_text("a.jsonl", json.dumps({"text": "a b", "label": "x", "contract": "K-1", "page": 3}))
    assert json.loads(done.examples["metadata"][0]) == {"contract": "K-1", "page": 3}


def test_a_label_keeps_its_spelling_and_a_number_becomes_its_digits(prepare_text):
    rows = [{"text": f"letter {i} about something", "label": i % 2} for i in range(12)]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert done.report["labels"] == {"0": 6, "1": 6}


def test_every_format_has_its_own_name_and_shape():
    names = [f.name for f in all_formats()]
    assert len(names) == len(set(names)) >= 7
    assert all(f.shape.startswith("{") for f in all_formats())


def test_tools_of_a_conversation_are_kept():
    tools = [{"type": "function", "function": {"name": "f"}}]
    _, draft = draft_of({"messages": TURNS, "tools": tools, "parallel_tool_calls": False})
    assert draft.metadata == {"tools": tools, "parallel_tool_calls": False}


def test_calls_and_their_results_in_a_sharegpt_conversation_become_turns():
    turns = [
        ("human", "Weather?"),
        ("function_call", '{"name": "w", "arguments": {}}'),
        ("observation", "sun"),
        ("gpt", "Sunny."),
    ]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": "[]", "system": "Be kind."}
    name, draft = draft_of(row)
    assert (name, draft.findings, draft.metadata) == ("sharegpt", [], {"tools": "[]"})
    assert [m["role"] for m in draft.messages] == ["system", "user", "assistant", "tool", "assistant"]


def test_a_second_system_text_beside_a_conversation_is_not_lost():
    turns = [{"from": "system", "value": "One."}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    _, draft = draft_of({"conversations": turns, "system": "Two."})
    assert (draft.messages[0]["content"], draft.metadata) == ("One.", {"system": "Two."})


def test_the_weight_of_an_answer_is_kept():
    _, draft = draft_of({"messages": [TURNS[0], TURNS[1] | {"weight": 0}]})
    assert (draft.messages[1]["weight"], draft.findings) == (0, [])


def test_typed_parts_under_either_name_are_joined_and_placeholders_stay():
    parts = [{"type": "text", "text": "I am {{name}}, "}, {"type": "text", "value": "made by {{author}}."}]
    _, draft = draft_of({"messages": [TURNS[0], {"role": "assistant", "content": parts, "loss_weight": 1.0}]})
    assert draft.messages[1] == {
        "role": "assistant",
        "content": "I am {{name}}, made by {{author}}.",
        "loss_weight": 1.0,
    }


def test_questions_without_answers_are_refused_with_a_way_out():
    with pytest.raises(UserError) as refused:
        draft_of({"prompt_id": 7, "prompt": "Write a letter."})
    assert (refused.value.code, refused.value.sentence) == (
        "unsupported_format",
        "a.jsonl holds questions without answers. Add a column with the answer to each question, for example completion.",
    )


@pytest.mark.parametrize("value", [["Ann Smith"], {"name": "Ann Smith"}, 5])
def test_a_finding_names_the_kind_of_a_value_and_never_the_value(value):
    _, draft = draft_of({"messages": [{"role": "user", "content": value}, TURNS[1]]})
    text = json.dumps([f.message + str(f.found) for f in draft.findings])
    assert "Ann" not in text


def test_a_mistake_in_a_list_of_answers_is_placed_in_its_own_column():
    asked, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": 5}
    _, draft = draft_of({"prompt": [asked], "completion": [said]})
    assert [f.column for f in draft.findings] == ["completion[0].content"]
