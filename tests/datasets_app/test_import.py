"""From an upload to a checked dataset, through the real worker."""

from __future__ import annotations

import pytest

from datasets_app import operations, queries
from datasets_app.models import Dataset, Example, Finding
from finetune_engine.errors import UserError


def test_a_good_file_becomes_a_ready_dataset_whose_counts_add_up(clauses):
    assert clauses.state == "ready", clauses.error
    assert clauses.counts["total"] == 62
    assert sum(n for name, n in clauses.counts.items() if name != "total") == 62
    assert clauses.format == "text_label"
    assert clauses.task_type == "classification"
    assert clauses.codes["duplicate_exact"] == 1
    assert clauses.codes["empty_answer"] == 1
    assert clauses.labels == {"Termination": 20, "Payment": 20, "Confidentiality": 20}


def test_every_row_is_in_the_table_with_its_status_and_its_findings(clauses):
    rows = Example.objects.filter(dataset=clauses).order_by("row")
    assert [e.row for e in rows] == list(range(1, 63))
    assert rows[60].status == "rejected"
    assert rows[60].codes == ["duplicate_exact"]
    assert rows[0].prompt_head.startswith("Clause 0: the party")
    assert rows[0].answer_head == "Termination"
    found = Finding.objects.get(dataset=clauses, code="duplicate_exact")
    assert (found.row, found.related_row) == (61, 5)


def test_the_text_of_a_row_comes_back_from_the_chunks_as_it_was(clauses):
    page = queries.example_rows(clauses, cursor=60)
    from datasets_app.queries.rows import full_rows

    row = full_rows(clauses, page.items)[1]
    assert row.text.original == '{"text": "A clause that nobody has labelled yet.", "label": ""}'
    assert [f.code for f in row.findings] == ["empty_answer"]


def test_rows_of_an_unfinished_attempt_are_seen_by_nobody_and_swept_by_the_next(actor, upload_of, run_jobs):
    upload = operations.store_upload(
        actor=actor, file=upload_of("a.jsonl", [{"text": "one two three four five", "label": "x"}]), name="a.jsonl"
    )
    dataset = operations.create_dataset(actor=actor, upload=upload)
    Example.objects.create(
        dataset=dataset, import_attempt=7, row=1, status="accepted", checked_status="accepted", chunk=0, offset=0
    )
    run_jobs()
    dataset.refresh_from_db()
    assert dataset.import_attempt == 1
    assert list(Example.objects.filter(dataset=dataset).values_list("import_attempt", "row")) == [(1, 1)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("header.csv", b"text,label\n", "no_rows"),
        ("bom.csv", b"\xef\xbb\xbf", None),
        ("noise.jsonl", b"\x00\x01\x02\x03" * 50, None),
        ("columns.csv", b"colour,size\nred,1\nblue,2\n", "wrong_columns"),
        ("broken.jsonl", b'{"text": "a", \n{"nope\n', None),
        ("deep.jsonl", b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n", None),
    ],
)
def test_a_file_that_cannot_be_used_fails_with_a_sentence_and_keeps_the_upload(dataset_from, name, content, code):
    dataset = dataset_from(name, content)
    assert dataset.state == "failed"
    assert len(dataset.error["message"]) > 20
    assert "Traceback" not in dataset.error["message"]
    assert dataset.upload.deleted_at is None
    if code:
        assert dataset.error["code"] in {code, "no_examples", "header_only", "empty_file"}


def test_one_broken_row_in_a_good_file_is_a_finding_not_a_failure(dataset_from):
    lines = [f'{{"text": "Clause number {i} about rent {i * 3}", "label": "{"ab"[i % 2]}"}}' for i in range(12)]
    lines[6] = '{"text": "Clause number 6", "label": }'
    dataset = dataset_from("seventh.jsonl", "\n".join(lines).encode())
    assert dataset.state == "ready", dataset.error
    assert dataset.rejected == 1
    finding = Finding.objects.get(dataset=dataset, code="invalid_json")
    assert finding.row == 7


def test_latin_1_is_read_and_named(dataset_from):
    text = "text,label\n" + "".join(
        f"Müller schuldet {i} Euro für Kürzungen Nummer {i},{'ab'[i % 2]}\n" for i in range(20)
    )
    dataset = dataset_from("umlaute.csv", text.encode("latin-1"))
    assert dataset.state == "ready", dataset.error
    assert Example.objects.filter(dataset=dataset).order_by("row").first().prompt_head.startswith("Müller")
    assert dataset.encoding.lower() not in {"utf-8", "utf8"}


def test_the_same_idempotency_key_makes_one_dataset(actor, upload_of):
    upload = operations.store_upload(
        actor=actor, file=upload_of("a.jsonl", [{"text": "x", "label": "y"}]), name="a.jsonl"
    )
    first = operations.create_dataset(actor=actor, upload=upload, idempotency_key="twice")
    second = operations.create_dataset(actor=actor, upload=upload, idempotency_key="twice")
    assert first.pk == second.pk
    assert Dataset.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"format": "yaml"}, "format"),
        ({"task_type": "poetry"}, "task_type"),
        ({"mapping": {"prompt": "a"}}, "mapping"),
        ({"mapping": {"prompt": "a", "completion": {"x": 1}}}, "mapping"),
        ({"mapping": {"prompt": "a", "completion": "b", "colour": "c"}}, "mapping"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(actor, upload_of, options, field):
    upload = operations.store_upload(
        actor=actor, file=upload_of("a.jsonl", [{"text": "x", "label": "y"}]), name="a.jsonl"
    )
    with pytest.raises(UserError) as caught:
        operations.create_dataset(actor=actor, upload=upload, **options)
    assert caught.value.field == field
    assert Dataset.objects.count() == 0


def test_the_sample_becomes_a_dataset_with_things_to_decide(actor, run_jobs):
    dataset = operations.create_sample_dataset(actor=actor)
    run_jobs()
    dataset.refresh_from_db()
    assert dataset.state == "ready", dataset.error
    assert dataset.total > 1000
    assert dataset.usable > 1000
    assert dataset.codes
