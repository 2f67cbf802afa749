"""Preference pairs and judged answers, in each of the ways they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finetune_engine.data.detection import AnswerTally, detect_format, task_type_of
from finetune_engine.data.readers import open_records
from finetune_engine.data.records import RawRecord
from tests.finetune_engine.data.made_files import draft_of

ASKED = {"role": "user", "content": "Where do foxes sleep?"}
GOOD = {"role": "assistant", "content": "In a den."}
BAD = {"role": "assistant", "content": "In trees."}
SYSTEM = {"role": "system", "content": "Be brief."}
HUMAN = {"from": "human", "value": ASKED["content"]}
GPT_GOOD = {"from": "gpt", "value": GOOD["content"]}
GPT_BAD = {"from": "gpt", "value": BAD["content"]}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": ASKED["content"], "chosen": "In a den.", "rejected": "In trees."}, "preference"),
        ({"question": ASKED["content"], "chosen": "In a den.", "rejected": "In trees."}, "preference"),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, "preference"),
        ({"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, "preference"),
        ({"conversations": [HUMAN], "chosen": GPT_GOOD, "rejected": GPT_BAD}, "preference"),
        ({"messages": [ASKED], "chosen": GOOD, "rejected": BAD}, "preference"),
        (
            {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            "openai_preference",
        ),
        (
            {"input": {"messages": [ASKED]}, "preferred_completion": [GOOD], "non_preferred_completion": [BAD]},
            "openai_preference",
        ),
        (
            {"input": {"messages": [ASKED]}, "preferred_completion": [GOOD], "non_preferred_output": [BAD]},
            "openai_preference",
        ),
        ({"input": ASKED["content"], "preferred_output": "In a den.", "non_preferred_output": "In trees."},
         "openai_preference"),
    ],
)  # fmt: skip
def test_a_pair_is_a_conversation_with_the_better_answer_and_the_worse_one_beside_it(row, name):
    found, draft = draft_of(row)
    assert found == name
    assert (draft.messages, draft.rejected, draft.findings) == ([ASKED, GOOD], [BAD], [])


@pytest.mark.parametrize("label", [True, False])
def test_a_judged_answer_says_whether_it_is_wanted(label):
    found, draft = draft_of({"prompt": ASKED["content"], "completion": "In a den.", "label": label, "by": "Ann"})
    assert found == "kto"
    assert (draft.messages, draft.desirable, draft.label) == ([ASKED, GOOD], label, None)
    assert draft.metadata == {"by": "Ann"}


def test_a_judged_answer_may_be_a_list_of_messages():
    _, draft = draft_of({"prompt": [SYSTEM, ASKED], "completion": [GOOD], "label": True})
    assert (draft.messages, draft.desirable) == ([SYSTEM, ASKED, GOOD], True)


def test_truth_written_as_text_in_a_table_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,label\nWhere?,Here.,TRUE\nWho?,Me.,False\n")
    opened = open_records(path)
    sample = opened.sample(10)
    detected = detect_format(sample, name="a.csv")
    assert detected is not None
    assert [detected.convert(r.value).desirable for r in sample] == [True, False]


def test_labels_of_one_and_zero_are_classes_and_no_judgement():
    found, draft = draft_of({"prompt": "a letter", "completion": "its summary", "label": 1})
    assert (found, draft.desirable) == ("prompt_completion", None)


def test_a_judged_answer_without_its_judgement_is_rejected():
    rows = [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "c", "completion": "d", "label": "perhaps"}]
    records = [RawRecord(i, i, row, "") for i, row in enumerate(rows, 1)]
    detected = detect_format(records, name="a.jsonl")
    assert detected is not None
    (finding,) = detected.convert(rows[1]).findings
    assert (finding.code, finding.placed(2).message) == (
        "data_type",
        "Row 2 does not say whether its answer is wanted. Write true for a good answer and false for a bad one.",
    )


def test_system_text_and_other_columns_of_a_pair_are_kept():
    _, draft = draft_of({"system": "Be brief.", "prompt": ASKED["content"], "chosen": "In a den.", "rejected": "In trees.",
                         "score": 0.7, "split": "test"})  # fmt: skip
    assert draft.messages == [SYSTEM, ASKED, GOOD]
    assert (draft.rejected, draft.metadata, draft.split) == ([BAD], {"score": 0.7, "split": "test"}, "test")


def test_tools_of_an_openai_pair_are_kept():
    row = {"input": {"messages": [ASKED], "tools": [{"type": "function"}]}, "preferred_output": [GOOD],
           "non_preferred_output": [BAD]}  # fmt: skip
    assert draft_of(row)[1].metadata == {"tools": [{"type": "function"}]}


def test_answers_of_several_turns_are_kept_whole():
    more = [BAD, {"role": "user", "content": "Really?"}, {"role": "assistant", "content": "No."}]
    _, draft = draft_of({"prompt": [ASKED], "chosen": [GOOD], "rejected": more})
    assert (draft.messages, draft.rejected) == ([ASKED, GOOD], more)


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": None}, "message_missing_key", "rejected"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "message_missing_key", "chosen"),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [{"role": "human", "content": "x"}]}, "unrecognized_role",
         "rejected[0]"),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD, ASKED]}, "last_not_assistant", "rejected[1].role"),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [ASKED]}, "example_missing_assistant_message",
         "rejected"),
        ({"prompt": 5, "chosen": "b", "rejected": "c"}, "data_type", "prompt[0].content"),
        ({"prompt": "a", "chosen": {"x": 1}, "rejected": "c"}, "message_missing_key", "chosen[0]"),
        ({"input": {"messages": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
         "missing_messages_list", "input.messages"),
    ],
)  # fmt: skip
def test_a_broken_pair_says_where(row, code, column):
    _, draft = draft_of(row)
    assert (draft.findings[0].code, draft.findings[0].column) == (code, column)


def test_a_mistake_in_the_shared_part_is_said_once():
    _, draft = draft_of({"prompt": [{"role": "human", "content": "x"}], "chosen": [GOOD], "rejected": [BAD]})
    assert [f.code for f in draft.findings] == ["unrecognized_role"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"prompt": "a", "completion": "b", "label": True},
    ],
)
def test_the_task_is_called_preference(row):
    detected = detect_format([RawRecord(1, 1, row, "")], name="a.jsonl")
    assert detected is not None
    assert task_type_of(detected, AnswerTally()) == "preference"


def test_a_row_of_another_kind_among_pairs_is_marked():
    detected = detect_format([RawRecord(1, 1, {"prompt": "a", "chosen": "b", "rejected": "c"}, "")], name="a.jsonl")
    assert detected is not None
    draft = detected.convert({"prompt": "a", "completion": "b"})
    assert [f.code for f in draft.findings] == ["mixed_formats"]
    assert draft.rejected == []


def test_pairs_become_rows_with_their_worse_answer(prepare_text):
    rows = [{"prompt": f"Question {i} about foxes", "chosen": f"Good {i}", "rejected": f"Bad {i}"} for i in range(8)]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert (done.report["task_type"], done.report["format"], done.counts["accepted"]) == ("preference", "preference", 8)
    assert json.loads(done.examples["rejected"][0]) == [{"role": "assistant", "content": "Bad 0"}]


def test_a_pair_of_equal_answers_is_rejected(prepare_text):
    rows = [{"prompt": f"Question {i} about foxes", "chosen": f"Good {i}", "rejected": f"Bad {i}"} for i in range(8)]
    rows[3]["rejected"] = "Good  3"
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [f["row"] for f in done.of("chosen_equals_rejected")] == [4]
    assert done.status(4) == "rejected"


def test_pairs_with_answers_of_one_word_are_no_classes(prepare_text):
    rows = [
        {"prompt": f"Is the clause number {i} about foxes valid", "chosen": "yes", "rejected": "no"} for i in range(12)
    ]
    assert prepare_text("a.jsonl", "\n".join(map(json.dumps, rows))).report["task_type"] == "preference"


def judged(prompt: str, answer: str, wanted: bool) -> dict[str, Any]:
    return {"prompt": prompt, "completion": answer, "label": wanted}


def test_a_wanted_and_an_unwanted_answer_to_one_question_do_not_contradict(prepare_text):
    rows = [
        judged(f"What do foxes do in month {i}", text, wanted)
        for i in range(8)
        for text, wanted in (("They sleep in a den under the hill.", True), ("Nobody knows, and nobody cares.", False))
    ]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert (done.of("contradiction"), done.counts["accepted"]) == ([], 16)


def test_the_same_answer_wanted_and_unwanted_is_a_contradiction_and_no_duplicate(prepare_text):
    rows = [judged(f"What do foxes do in month {i}", f"They sleep {i}.", True) for i in range(8)]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, [*rows, {**rows[2], "label": False}, rows[3]])))
    assert [(f["row"], f["related_row"]) for f in done.of("contradiction")] == [(3, 9), (9, 3)]
    assert [f["row"] for f in done.of("duplicate_exact")] == [10]


def test_one_better_answer_with_two_worse_ones_makes_two_pairs(prepare_text):
    rows = [
        {"prompt": f"What do foxes do in month {i}", "chosen": f"Sleep {i}.", "rejected": worse}
        for i in range(8)
        for worse in ("Nothing.", "Who cares.")
    ]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, [*rows, rows[1]])))
    assert (done.counts["accepted"], [f["row"] for f in done.of("duplicate_exact")]) == (16, [17])


def test_a_judgement_nobody_understands_is_not_repeated():
    rows = [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "c", "completion": "d", "label": "jo@x.org"}]
    detected = detect_format([RawRecord(i, i, row, "") for i, row in enumerate(rows, 1)], name="a.jsonl")
    assert detected is not None
    assert detected.convert(rows[1]).findings[0].found == "a text"
