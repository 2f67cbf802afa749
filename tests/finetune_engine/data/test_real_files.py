"""Real data sets: as many rows as the reference readers count, and their known dirt found."""

from __future__ import annotations

import re

import pytest

from finetune_engine.data.readers import open_records
from finetune_engine.errors import UserError

LISTS_AND_LINES = [
    "legal/cuad_clause_type.train.jsonl", "legal/cuad_clause_type.test.jsonl", "legal/cuad_short_answers.alpaca.json",
    "sft/alpaca_en_demo.json", "sft/alpaca_zh_demo.json", "sft/glaive_toolcall_en_demo.json", "sft/gsm8k_test.jsonl",
    "sft/toy_chat_fine_tuning.jsonl", "sft/v1_sft_demo.jsonl", "sft/c4_demo.jsonl", "sft/identity.json",
    "sft/data-juicer_alpaca-cot.jsonl", "sft/dolly_fixture.json", "sft/chat_tiny.json",
    "dirty/data-juicer_dedup.jsonl", "dirty/data-juicer_languages.jsonl",
    "formats/demo-dataset.jsonl", "formats/demo-dataset.csv", "formats/demo-dataset.tsv",
]  # fmt: skip
TABLES = [
    "dirty/messytables/example.tsv", "dirty/messytables/long.csv", "dirty/messytables/simple.csv",
    "dirty/messytables/utf-16le_encoded.csv", "legal/cuad_master_clauses.shared.csv", "pii/fake_names_100_bom.csv",
]  # fmt: skip


def expected_rows(shared_data, name: str) -> int:
    for line in (shared_data / "expected.tsv").read_text().splitlines():
        if line.startswith(name + "\t"):
            if match := re.search(r"records_incl_header=(\d+)", line):
                return int(match.group(1)) - 1
            match = re.search(r"(?:items|ok)=(\d+)", line)
            assert match is not None
            return int(match.group(1))
    raise AssertionError(f"{name} is not in expected.tsv")


@pytest.mark.parametrize("name", LISTS_AND_LINES)
def test_every_row_is_counted_once(shared_data, prepare_file, name):
    done = prepare_file(shared_data / name)
    assert done.counts["total"] == expected_rows(shared_data, name)
    assert done.counts["total"] == sum(done.counts[s] for s in ("accepted", "flagged", "needs_review", "rejected"))
    assert done.examples["row"].to_list() == list(range(1, done.counts["total"] + 1))


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_messy_table_is_read(shared_data, name):
    records = list(open_records(shared_data / name).records())
    assert len(records) == expected_rows(shared_data, name)
    assert not any(record.findings for record in records)


@pytest.mark.parametrize(
    ("name", "code", "count"),
    [
        ("sft/alpaca_en_demo.json", "duplicate_exact", 14),
        ("sft/alpaca_zh_demo.json", "duplicate_exact", 8),
        ("sft/glaive_toolcall_en_demo.json", "duplicate_exact", 35),
        ("sft/data-juicer_alpaca-cot.jsonl", "empty_answer", 1),
        ("formats/demo-dataset.jsonl", "duplicate_exact", 4),
        ("sft/toy_chat_fine_tuning.jsonl", "duplicate_exact", 3),
    ],
)
def test_known_dirt_is_found(shared_data, prepare_file, name, code, count):
    assert prepare_file(shared_data / name).report["codes"][code] == count


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dirty/messytables/simple.xls", "unsupported_file"),
        ("dirty/messytables/utf8bom.csv", "header_only"),
        ("dirty/messytables/weird_head_padding.csv", "wrong_columns"),
        ("classification/clinc150_data_small.json", "wrong_columns"),
        ("sft/dpo_en_demo.json", "unsupported_format"),
        ("sft/wiki_demo.txt", "unsupported_file"),
        ("sft/seed_tasks.jsonl", "wrong_columns"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_a_reason(shared_data, prepare_file, name, code):
    with pytest.raises(UserError) as refused:
        prepare_file(shared_data / name)
    assert refused.value.code == code


def test_personal_data_with_gold_spans_is_mostly_found_and_rarely_invented(shared_data):
    import json

    from finetune_engine.data.pii import find_pii

    kinds = {
        "EMAIL_ADDRESS": "email",
        "IBAN_CODE": "iban",
        "US_SSN": "us_ssn",
        "IP_ADDRESS": "ip",
        "CREDIT_CARD": "card",
        "PHONE_NUMBER": "phone",
    }
    found = dict.fromkeys(kinds.values(), 0)
    there = dict(found)
    invented = 0
    for item in json.loads((shared_data / "pii" / "presidio_synth_dataset_v2.json").read_text()):
        gold = [
            (kinds[s["entity_type"]], s["start_position"], s["end_position"])
            for s in item["spans"]
            if s["entity_type"] in kinds
        ]
        spans = find_pii(item["full_text"])
        for kind, start, end in gold:
            there[kind] += 1
            found[kind] += any(s.kind == kind and s.start < end and start < s.end for s in spans)
        invented += sum(not any(s.start < end and start < s.end for _, start, end in gold) for s in spans)
    recall = {kind: found[kind] / there[kind] for kind in found}
    assert min(recall[kind] for kind in ("email", "iban", "us_ssn", "ip")) == 1.0
    assert recall["card"] > 0.9
    assert recall["phone"] > 0.75
    assert invented <= 3
