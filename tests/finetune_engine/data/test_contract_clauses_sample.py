"""The contract-clause sample is reproducible, honest to split, and flawed exactly where it says."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from finetune_engine.data.samples import SAMPLES
from finetune_engine.data.samples.contract_clauses import (
    CLEAN_ROWS,
    FLAWS,
    Row,
    SeenText,
    jsonl,
    overlap,
    read_grammar,
    sample_rows,
    shingles,
)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return sample_rows()


def clean(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.flaw is None]


def flawed(rows: list[Row], flaw: str) -> list[dict[str, str]]:
    return [row.fields for row in rows if row.flaw == flaw]


def highest_overlap_with_clean(rows: list[Row], text: str) -> float:
    mine = shingles(text)
    return max(overlap(mine, shingles(row.fields["text"])) for row in clean(rows))


def test_the_shipped_file_is_what_the_generator_writes(rows: list[Row]) -> None:
    assert SAMPLES["contract_clauses"].path.read_bytes() == jsonl(rows).encode()


def test_every_line_of_the_shipped_file_is_a_json_object_of_strings() -> None:
    for line in SAMPLES["contract_clauses"].path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert set(fields) <= {"text", "label"}
        assert all(isinstance(value, str) for value in fields.values())


def test_each_type_has_as_many_clean_rows_as_promised(rows: list[Row]) -> None:
    assert Counter(row.fields["label"] for row in clean(rows)) == CLEAN_ROWS


def test_no_two_distinct_clauses_overlap_enough_to_be_duplicates(rows: list[Row]) -> None:
    seen = SeenText()
    copies = ("duplicate_exact", "duplicate_near", "contradiction", "empty_input")
    texts = [row.fields["text"] for row in rows if row.flaw not in copies]
    assert all(seen.add_if_new(text) for text in texts)


def test_the_overlap_rule_finds_a_copy_with_one_word_changed() -> None:
    seen = SeenText()
    words = " ".join(f"word{number}" for number in range(30))
    assert seen.add_if_new(words)
    assert not seen.add_if_new(words.replace("word2 ", "other "))


def test_each_type_has_dozens_of_skeletons() -> None:
    grammar = read_grammar()
    assert all(len(set(grammar[kind]["core"])) >= 24 for kind in CLEAN_ROWS)


def test_clauses_have_different_lengths(rows: list[Row]) -> None:
    lengths = [len(row.fields["text"].split()) for row in clean(rows)]
    assert min(lengths) < 18
    assert max(lengths) > 60


def test_no_clause_shows_a_trace_of_the_grammar(rows: list[Row]) -> None:
    assert not [row for row in rows if re.search(r"[\[\]{}|<>]|\.\.| ,|  \S", row.fields["text"])]


def test_the_flaws_are_as_many_as_promised(rows: list[Row]) -> None:
    assert Counter(row.flaw for row in rows if row.flaw) == FLAWS


def test_exact_duplicates_repeat_a_clean_row(rows: list[Row]) -> None:
    originals = [row.fields for row in clean(rows)]
    assert all(fields in originals for fields in flawed(rows, "duplicate_exact"))


def test_near_duplicates_are_near_and_not_exact(rows: list[Row]) -> None:
    for fields in flawed(rows, "duplicate_near"):
        assert 0.7 <= highest_overlap_with_clean(rows, fields["text"]) < 1


def test_contradictions_give_a_clean_clause_another_label(rows: list[Row]) -> None:
    labels = {row.fields["text"]: row.fields["label"] for row in clean(rows)}
    assert all(labels[fields["text"]] != fields["label"] for fields in flawed(rows, "contradiction"))


def test_empty_rows_lack_their_label_or_their_text(rows: list[Row]) -> None:
    assert not any(fields["label"].strip() for fields in flawed(rows, "empty_answer"))
    assert not any(fields["text"].strip() for fields in flawed(rows, "empty_input"))


def test_label_variants_differ_from_a_type_only_in_case_and_space(rows: list[Row]) -> None:
    plain = {kind.lower() for kind in CLEAN_ROWS}
    for fields in flawed(rows, "label_variants"):
        assert fields["label"] not in CLEAN_ROWS
        assert " ".join(fields["label"].lower().split()) in plain


def test_rows_with_personal_data_carry_an_invented_address_or_number(rows: list[Row]) -> None:
    pattern = r"@example\.(com|org|net)|555-01\d\d|7946 0\d{3}"
    assert all(re.search(pattern, fields["text"]) for fields in flawed(rows, "pii"))
    assert not any(re.search(r"@|\d{3}-\d{4}", row.fields["text"]) for row in clean(rows))


def test_rows_of_the_wrong_shape_lack_the_label_key(rows: list[Row]) -> None:
    assert all(set(fields) == {"text"} for fields in flawed(rows, "message_missing_key"))
