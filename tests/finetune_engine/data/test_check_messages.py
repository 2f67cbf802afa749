"""The checks of one row after somebody edited it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from finetune_engine.data.batches import Batch
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.records import Message
from finetune_engine.data.validation import check_batch, check_messages, repetitive

ANSWER = "We will look into the matter and write to you again before the end of next week."


def row(prompt: str = "When does my parcel arrive?", answer: str = ANSWER) -> list[Message]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def codes(messages: list[Message], **more: object) -> list[str]:
    return [finding.code for finding in check_messages(messages, task_type="chat", **more)]  # type: ignore[arg-type]


def test_a_good_row_has_no_findings():
    assert codes(row()) == []


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (row(prompt="  "), ["empty_input"]),
        (row(answer=""), ["empty_answer"]),
        (row()[:1], ["example_missing_assistant_message"]),
        (row(answer="See <|im_end|>"), ["special_token_text"]),
        (row(prompt="caf\ufffd"), ["damaged_text"]),
        (row(prompt="The cafÃ© is closed"), ["damaged_text"]),
        (row(answer="a\0b"), ["nul_byte"]),
        (row(answer="very good " * 50), ["repetition"]),
        (row(answer="非常好" * 60), ["repetition"]),
        (row(prompt="Write to jo@example.org"), ["pii"]),
        ([{"role": "oracle", "content": "x"}], ["unrecognized_role"]),
    ],
)
def test_what_is_wrong_with_a_row_is_found(messages, expected):
    found = codes(messages)
    assert [code for code in found if code in expected] == expected


def test_plain_text_needs_no_input():
    assert codes([{"role": "assistant", "content": ANSWER}]) == []


def test_equal_answers_of_a_pair_are_found():
    assert codes(row(), rejected=[{"role": "assistant", "content": f" {ANSWER}"}]) == ["chosen_equals_rejected"]


def test_personal_data_in_the_worse_answer_is_found_there():
    (finding,) = check_messages(
        row(), task_type="preference", rejected=[{"role": "assistant", "content": "Ask jo@example.org"}]
    )
    assert (finding.column, finding.start, finding.kind) == ("rejected[0].content", 4, "email")


def test_personal_data_in_tool_arguments_is_found_without_its_place():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"to": "jo@example.org"}'}}
    messages = [row()[0], {"role": "assistant", "content": None, "tool_calls": [call]}]
    (finding,) = check_messages(messages, task_type="chat")
    assert (finding.column, finding.start, finding.kind) == ("messages[1].tool_calls", None, "email")


def test_an_earlier_turn_is_named_by_its_path():
    (finding,) = check_messages([*row(prompt="I am at 10.20.30.40"), *row()], task_type="chat")
    assert (finding.column, finding.kind) == ("messages[0].content", "ip")


def test_short_texts_count_for_completions_only_when_asked():
    short = row(prompt="When?", answer="Soon.")
    assert check_messages(short, task_type="completion") == []
    found = check_messages(short, task_type="completion", min_prompt_words=5, min_completion_words=10)
    assert [finding.code for finding in found] == ["prompt_too_short", "completion_too_short"]


def test_a_finding_says_its_row_when_there_is_one():
    (finding,) = check_messages(row(answer=""), task_type="chat", row=7)
    assert (finding.row, finding.message[:18]) == (7, "Row 7 has no answe")


def test_no_value_of_personal_data_is_in_a_finding():
    found = check_messages(row(answer="Ask jo@example.org, 4111 1111 1111 1111, +44 20 7946 0958"), task_type="chat")
    text = json.dumps([str(finding) for finding in found])
    assert [finding.kind for finding in found] == ["email", "card", "phone"]
    assert not any(value in text for value in ("jo@", "4111", "7946"))


ROWS = [
    row(),
    row(answer="See <|im_end|> and jo@example.org"),
    row(prompt="caf\ufffd \0"),
    row(prompt="The cafÃ© is closed", answer="very good " * 50),
    [{"role": "system", "content": "</s>"}, *row(prompt="I am at 10.20.30.40"), *row()],
]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_batch_finds_in_a_row_what_the_check_of_the_row_finds(number):
    messages = ROWS[number]
    prompt, answer = messages[-2]["content"], messages[-1]["content"]
    frame = pl.DataFrame(
        {
            "row": [1],
            "messages": [json.dumps(messages, ensure_ascii=False, separators=(",", ":"))],
            "prompt": [prompt],
            "answer": [answer],
            "prompt_norm": [prompt.lower()],
            "answer_norm": [answer.lower()],
            "prompt_words": [len(prompt.split())],
            "answer_words": [len(answer.split())],
            "usable": [True],
        }
    ).with_columns(pl.lit(None, pl.Int64).alias("line"), pl.lit(None, pl.String).alias("rejected"))
    found = check_batch(Batch(frame), PrepareOptions(), is_plain_text=False)
    expected = check_messages(messages, task_type="chat", row=1)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_a_batch_misses_no_answer_that_repeats_itself():
    units = [
        "very good ",
        "Thank you for your message. ",
        "非常好",
        "I am sorry. I can not help. ",
        "na " * 3,
        ANSWER + " ",
    ]
    begins = ["", "Dear Sir or Madam, ", "您好，", ANSWER + " "]
    answers = [begin + unit * (1_500 // len(unit)) for unit in units for begin in begins]
    repeating = [number for number, answer in enumerate(answers, 1) if "repetition" in codes(row(answer=answer))]
    frame = pl.DataFrame({"row": range(1, len(answers) + 1), "answer": answers}).with_columns(
        pl.lit(None, pl.Int64).alias("line"), pl.lit(100).alias("answer_words")
    )
    assert [finding.row for finding in repetitive(frame)] == repeating
    assert len(repeating) == len(answers)


def test_checking_a_row_does_not_load_the_table_library():
    program = (
        "import sys; from finetune_engine.data.validation import check_messages;"
        "check_messages([{'role': 'user', 'content': 'Who?'}, {'role': 'assistant', 'content': 'We.'}], task_type='chat');"
        "print('polars' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False"


def test_a_plain_text_has_no_input_by_nature():
    messages = [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "The deed was signed in the harbour."},
    ]
    assert check_messages(messages, task_type="completion", is_plain_text=True) == []
