"""Real data sets: as many rows as the reference readers count, and their known dirt found."""

from __future__ import annotations

import json
import re

import pytest

from finetune_engine.data.detection import detect_format
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


SHEETS_AND_COLUMNS = [
    "dirty/messytables/simple.xlsx", "formats/alpaca_en_demo.xlsx", "legal/Label Report - Document Name.xlsx",
    "legal/Label Report - Parties.xlsx", "formats/alltypes_plain.snappy.parquet", "formats/demo-dataset.parquet",
    "formats/glaive_en.nested.parquet", "formats/gsm8k_test.snappy.parquet", "formats/list_columns.parquet",
    "formats/sample.parquet",
]  # fmt: skip
OTHERS = [
    "eval/mt_bench_question.jsonl", "legal/cuad_clause_type.labels.json", "pii/presidio_synth_dataset_v2.json",
    "sft/alpaca_fixture.json", "sft/alpaca_tiny.json", "sft/axolotl_conversation.json",
    "sft/axolotl_conversation.missingturns.json", "sft/data-juicer_chatml.jsonl", "sft/dpo_en_demo.json",
    "sft/seed_tasks.jsonl",
]  # fmt: skip
# One object of lists: the reference counts the lists.
LISTS = ["classification/clinc150_data_full.json", "classification/clinc150_data_small.json",
         "classification/clinc150_domains.json"]  # fmt: skip
# Read in tests of their own: a header only, rows above the header, one object of objects.
APART = ["dirty/messytables/utf8bom.csv", "dirty/messytables/weird_head_padding.csv",
         "sft/LLaMA-Factory.dataset_info.json"]  # fmt: skip


def expected_rows(shared_data, name: str) -> int:
    for line in (shared_data / "expected.tsv").read_text().splitlines():
        if line.startswith(name + "\t"):
            if match := re.search(r"(?:records_incl_header=|nonblank_rows=\[)(\d+)", line):
                return int(match.group(1)) - 1
            match = re.search(r"(?:items|ok|rows)=(\d+)", line)
            assert match is not None
            return int(match.group(1))
    raise AssertionError(f"{name} is not in expected.tsv")


@pytest.mark.parametrize("name", LISTS_AND_LINES)
def test_every_row_is_counted_once(shared_data, prepare_file, name):
    done = prepare_file(shared_data / name)
    assert done.counts["total"] == expected_rows(shared_data, name)
    assert done.counts["total"] == sum(done.counts[s] for s in ("accepted", "flagged", "needs_review", "rejected"))
    assert done.examples["row"].to_list() == list(range(1, done.counts["total"] + 1))


def test_every_file_with_a_reference_is_read_in_some_test(shared_data):
    lines = (shared_data / "expected.tsv").read_text().splitlines()
    known = {line.split("\t")[0] for line in lines if not line.startswith("#")}
    assert known == {*LISTS_AND_LINES, *TABLES, *SHEETS_AND_COLUMNS, *OTHERS, *LISTS, *APART}


@pytest.mark.parametrize("name", [*SHEETS_AND_COLUMNS, *OTHERS])
def test_every_record_is_read(shared_data, name):
    assert sum(1 for _ in open_records(shared_data / name).records()) == expected_rows(shared_data, name)


@pytest.mark.parametrize("name", LISTS)
def test_every_row_of_every_list_is_read(shared_data, name):
    source = open_records(shared_data / name)
    lists = json.loads((shared_data / name).read_text())
    assert source.lists() == tuple(lists)
    assert len(lists) == expected_rows(shared_data, name)
    assert sum(1 for _ in source.records()) == sum(map(len, lists.values()))


def test_intents_in_lists_are_read_once_their_columns_are_chosen(shared_data, prepare_file):
    mapping = {"prompt": "column 1", "completion": "column 2", "lists": ["val", "test"]}
    path = shared_data / "classification" / "clinc150_data_small.json"
    done = prepare_file(path, mapping=mapping, near_duplicates=False, max_rows=4000)
    assert done.counts["total"] == 4000
    assert set(done.examples["split"].to_list()) == {"validation", "test"}


def test_rows_below_a_header_that_stands_far_down_are_read_and_footnotes_are_ragged(shared_data):
    records = list(open_records(shared_data / "dirty/messytables/weird_head_padding.csv").records())
    assert (len(records), records[0].line) == (76, 13)
    assert {f.code for r in records for f in r.findings} == {"ragged_row"}


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("formats/alpaca_en_demo.xlsx", "alpaca"),
        ("formats/glaive_en.nested.parquet", "sharegpt"),
        ("formats/gsm8k_test.snappy.parquet", "input_output"),
        ("sft/dpo_en_demo.json", "preference"),
        ("sft/glaive_toolcall_en_demo.json", "sharegpt"),
        ("sft/v1_sft_demo.jsonl", "messages"),
        ("sft/axolotl_conversation.json", "sharegpt"),
        ("sft/dolly_fixture.json", "alpaca"),
        ("legal/cuad_clause_type.train.jsonl", "text_label"),
    ],
)
def test_the_format_is_recognised_and_every_row_fits_it(shared_data, name, format_name):
    records = list(open_records(shared_data / name).records())
    detected = detect_format(records[:100], name=name)
    assert detected is not None
    assert detected.format.name == format_name
    assert not any(detected.convert(record.value or {}).findings for record in records)


def test_the_same_table_in_three_containers_gives_the_same_texts(shared_data):
    texts = [
        [(record.value or {})["text"] for record in open_records(shared_data / f"formats/demo-dataset.{end}").records()]
        for end in ("csv", "tsv", "parquet")
    ]
    assert all(found == texts[0] for found in texts)


def test_a_workbook_gives_the_rows_of_the_list_it_was_made_from(shared_data):
    rows = json.loads((shared_data / "sft/alpaca_en_demo.json").read_text())
    read = [record.value for record in open_records(shared_data / "formats/alpaca_en_demo.xlsx").records()]
    assert [tuple(map(str, row.values())) for row in read if row] == [
        (row["instruction"], row["input"], row["output"]) for row in rows
    ]


def test_preference_pairs_keep_both_answers(shared_data, prepare_file):
    done = prepare_file(shared_data / "sft" / "dpo_en_demo.json", near_duplicates=False)
    assert (done.report["task_type"], done.counts["total"]) == ("preference", 300)
    assert done.examples["rejected"].null_count() == 0


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
        ("eval/mt_bench_question.jsonl", "unsupported_format"),
        ("sft/LLaMA-Factory.dataset_info.json", "wrong_columns"),
        ("legal/cuad_clause_type.labels.json", "no_usable_rows"),
        ("models/stories260K/model.safetensors", "unsupported_file"),
        ("formats/alltypes_plain.snappy.parquet", "wrong_columns"),
        ("formats/list_columns.parquet", "wrong_columns"),
        ("sft/wiki_demo.txt", "unsupported_file"),
        ("sft/seed_tasks.jsonl", "wrong_columns"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_a_reason(shared_data, prepare_file, name, code):
    with pytest.raises(UserError) as refused:
        prepare_file(shared_data / name)
    assert refused.value.code == code


def test_personal_data_with_gold_spans_is_mostly_found_and_rarely_invented(shared_data):
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
