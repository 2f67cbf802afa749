"""What is noticed in the text of one row."""

from __future__ import annotations

import json

import pytest

from finetune_engine.data.pii import MAY_HOLD_PII, find_pii

ANSWER = "We will look into the matter and write to you again before the end of next week."


def one(**row: str) -> str:
    return json.dumps({"prompt": "Could you please tell me when my parcel arrives", "completion": ANSWER} | row)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to jo.doe+x@mail.example.org today", "email", "jo.doe+x@mail.example.org"),
        ("call (555) 123-4567 now", "phone", "(555) 123-4567"),
        ("reach us on +44 20 7946 0958.", "phone", "+44 20 7946 0958"),
        ("my card is 4111 1111 1111 1111 ok", "card", "4111 1111 1111 1111"),
        ("pay to DE89 3704 0044 0532 0130 00 please", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432.", "iban", "GB82WEST12345698765432"),
        ("SSN 078-05-1120 given", "us_ssn", "078-05-1120"),
        ("from 192.168.10.24 at noon", "ip", "192.168.10.24"),
        ("host 2001:db8:85a3:0:0:8a2e:370:7334 up", "ip", "2001:db8:85a3:0:0:8a2e:370:7334"),
        ("see https://bob:hunter2@example.com/x for it", "url_credentials", "https://bob:hunter2@example.com/x"),
        ("key AKIAIOSFODNN7EXAMPLE here", "secret", "AKIAIOSFODNN7EXAMPLE"),
        ("password: Tr0ub4dor&3x", "secret", "Tr0ub4dor&3x"),
    ],
)
def test_personal_data_is_found_where_it_is(text, kind, value):
    import polars as pl

    (span,) = find_pii(text)
    assert (span.kind, text[span.start : span.end]) == (kind, value)
    assert pl.Series([text]).str.contains(MAY_HOLD_PII).item()


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112 is not one",
        "DE89 3704 0044 0532 0130 01 is not one",
        "as set out in Section 3.4.2.1 above",
        "on 2012-10-01 at 00:15 and 11/01/2015",
        "between 1000-450-300 and 5001 - 7500",
        "the total is 1,234,567.89 dollars",
        "order 000-12-3456 and 900-12-3456",
    ],
)
def test_what_only_looks_like_personal_data_is_left_alone(text):
    assert find_pii(text) == []


def test_personal_data_is_flagged_with_its_span_and_never_its_value(prepare_text):
    prompt = "Please write to jo@example.org about my parcel today"
    done = prepare_text("a.jsonl", one(prompt=prompt))
    (finding,) = done.of("pii")
    assert prompt[finding["start"] : finding["end"]] == "jo@example.org"
    assert (finding["column"], finding["found"], done.status(1)) == ("prompt", "email", "flagged")
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
