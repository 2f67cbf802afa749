"""What is noticed in the text of one row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ANSWER = "We will look into the matter and write to you again before the end of next week."


def one(**row: str) -> str:
    return json.dumps({"prompt": "Could you please tell me when my parcel arrives", "completion": ANSWER} | row)


def test_personal_data_is_flagged_with_its_span_and_never_its_value(prepare_text):
    prompt = "Please write to jo@example.org about my parcel today"
    done = prepare_text("a.jsonl", one(prompt=prompt))
    (finding,) = done.of("pii")
    assert prompt[finding["start"] : finding["end"]] == "jo@example.org"
    assert (finding["column"], finding["kind"], done.status(1)) == ("prompt", "email", "flagged")
    assert "jo@example.org" not in json.dumps(done.findings.to_dicts())


@pytest.mark.parametrize(
    ("row", "code", "status"),
    [
        ({"completion": "Soon."}, "completion_too_short", "flagged"),
        ({"prompt": "When?"}, "prompt_too_short", "flagged"),
        ({"completion": ANSWER + " <|im_end|>"}, "special_token_text", "flagged"),
        ({"completion": ANSWER + " caf\ufffd"}, "damaged_text", "flagged"),
        ({"completion": "very good " * 50}, "repetition", "needs_review"),
        ({"completion": " ".join(f"word{i}" for i in range(5000))}, "too_long", "flagged"),
    ],
)
def test_a_text_with_something_odd_gets_its_code_and_status(prepare_text, row, code, status):
    done = prepare_text(
        "a.jsonl",
        "\n".join(
            [
                one(**row),
                *(one(prompt=f"Could you tell me about parcel {i} now", completion=f"{ANSWER} {i}") for i in range(6)),
            ]
        ),
    )
    assert code in done.examples["codes"][0].to_list()
    assert done.status(1) == status


def test_a_long_input_is_cut_and_its_original_kept(prepare_text):
    prompt = " ".join(f"word{i}" for i in range(1500))
    done = prepare_text("a.jsonl", one(prompt=prompt))
    row = done.examples.row(0, named=True)
    assert row["prompt"].split() == prompt.split()[:1000]
    assert json.loads(row["messages"])[0]["content"] == row["prompt"]
    assert prompt in row["original"]
    assert row["codes"][0] == "prompt_truncated"


def test_short_answers_are_no_fault_where_answers_are_labels(prepare_text, good_lines):
    done = prepare_text("a.jsonl", "\n".join(good_lines))
    assert (done.report["task_type"], done.counts["accepted"]) == ("classification", 30)


def test_prompts_with_few_distinct_short_answers_are_a_classification(prepare_text, good_rows):
    rows = [{"prompt": r["text"], "completion": r["label"]} for r in good_rows]
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert done.report["task_type"] == "classification"
    assert done.examples["label"].null_count() == 0
    assert done.report["labels"] == {"complaint": 15, "question": 15}


def test_characters_of_scripts_without_blanks_count_as_words(prepare_text):
    done = prepare_text("a.jsonl", one(prompt="请告诉我包裹什么时候到", completion="我们会在下周末之前再次写信给您。"))
    assert done.examples["prompt_words"][0] == 11
    assert done.counts["accepted"] == 1


def many(count: int = 60) -> list[str]:
    """Rows that nothing is wrong with."""
    return [one(prompt=f"Could you tell me about parcel {i} now", completion=f"{ANSWER} {i}") for i in range(count)]


def test_an_answer_in_another_language_is_flagged(prepare_text):
    german = "Wir werden der Sache nachgehen und Ihnen vor dem Ende der nächsten Woche wieder schreiben."
    done = prepare_text("a.jsonl", "\n".join([one(completion=german), *many()]))
    (finding,) = done.of("language_mismatch")
    assert (finding["row"], finding["column"], finding["found"], done.status(1)) == (1, "answer", "German", "flagged")


def test_an_answer_of_another_form_is_flagged(prepare_text):
    answer = '{"answer": "We will look into the matter and write to you again before next week."}'
    done = prepare_text("a.jsonl", "\n".join([one(completion=answer), *many()]))
    (finding,) = done.of("inconsistent_format")
    assert (finding["row"], finding["found"], finding["expected"], done.status(1)) == (
        1,
        "JSON",
        "running text",
        "flagged",
    )


def test_a_pair_of_equal_answers_is_rejected(prepare_text):
    pairs = [{"prompt": f"What about parcel {i}?", "chosen": f"{ANSWER} {i}", "rejected": "No idea."} for i in range(5)]
    pairs[2]["rejected"] = pairs[2]["chosen"] + " "
    done = prepare_text("a.jsonl", "\n".join(map(json.dumps, pairs)), task_type="preference")
    assert [finding["row"] for finding in done.of("chosen_equals_rejected")] == [3]
    assert done.status(3) == "rejected"


def test_personal_data_in_an_earlier_turn_is_named_by_its_path(prepare_text):
    turns = [("user", "I am jo@example.org"), ("assistant", "Hello"), ("user", "When?"), ("assistant", ANSWER)]
    messages = [{"role": role, "content": content} for role, content in turns]
    (finding,) = prepare_text("a.jsonl", json.dumps({"messages": messages})).of("pii")
    assert (finding["column"], finding["start"], finding["end"]) == ("messages[0].content", 5, 19)


def test_letters_read_in_the_wrong_encoding_are_mended(prepare_text):
    done = prepare_text("a.jsonl", one(prompt="The cafÃ© was closed when I came by today"))
    assert done.examples["prompt"].item() == "The café was closed when I came by today"
    assert done.of("damaged_text") == []


def test_with_cleaning_switched_off_they_are_flagged(prepare_text):
    done = prepare_text("a.jsonl", one(prompt="The cafÃ© was closed when I came by today"), cleaning=[])
    assert [finding["column"] for finding in done.of("damaged_text")] == ["prompt"]


def test_a_row_longer_than_the_model_reads_is_counted_by_its_tokenizer(prepare_text):
    folder = Path(__file__).parents[3] / "finetune_engine" / "catalogue" / "demo_base" / "model"
    done = prepare_text("a.jsonl", one(), tokenizer=str(folder), context_tokens=20)
    (finding,) = done.of("too_long")
    assert finding["found"] == f"{done.examples['tokens'].item()} tokens"
