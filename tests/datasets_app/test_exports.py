"""Downloads in every format: what is frozen comes out, imports again as the same rows, and is safe to open."""

from __future__ import annotations

import csv
import io
import json
import random

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from accounts_app.models import AuditEntry
from datasets_app.exports import export_file, exports_of
from datasets_app.exports.cells import guarded
from datasets_app.exports.rows import ExportRow
from datasets_app.exports.shapes import kto, preference, preference_openai
from datasets_app.models import Example
from finetune_engine.errors import UserError

WORDS = [
    "deed", "notice", "tenant", "landlord", "repair", "window", "roof", "damp", "deposit", "interest",
    "garden", "fence", "neighbour", "noise", "sublet", "pet", "key", "meter", "heating", "lease", "renewal",
    "breach", "damage", "insurance", "lift", "stair", "cellar", "parking", "bicycle", "tree", "winter",
    "summer", "guest",
]  # fmt: skip


def sentence(seed, length=12):
    """Words by chance, so that no two rows are nearly the same."""
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(length))


CHATS = [
    {
        "messages": [
            {"role": "system", "content": "You answer tenants."},
            {"role": "user", "content": f"May I keep {i} cats in the flat on floor {i * 3}?"},
            {
                "role": "assistant",
                "content": f"Up to {i + 1} small animals are allowed without asking, more need a letter.",
            },
        ]
    }
    for i in range(30)
]
QUESTIONS = [
    {
        "question": f"What does clause {i} of deed {i * 7} oblige the tenant to do within {i + 2} days?",
        "answer": f"The tenant has to tell the landlord in writing within {i + 2} days that thing {i} is broken.",
    }
    for i in range(30)
]


def body_of(snapshot, format, split=""):
    return b"".join(export_file(snapshot, format, split).parts)


@pytest.fixture
def questions(dataset_from, freeze):
    return freeze(dataset_from("questions.jsonl", QUESTIONS))


@pytest.fixture
def chats(dataset_from, freeze):
    return freeze(dataset_from("chats.jsonl", CHATS))


def hashes(dataset):
    return sorted(Example.objects.filter(dataset=dataset).values_list("content_hash", flat=True))


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("jsonl", "again.jsonl"),
        ("openai", "again.jsonl"),
        ("prompt_completion", "again.jsonl"),
        ("alpaca", "again.json"),
        ("sharegpt", "again.json"),
        ("csv", "again.csv"),
        ("xlsx", "again.xlsx"),
    ],
)
@pytest.mark.parametrize("kind", ["questions", "chats"])
def test_an_exported_file_imports_again_as_the_same_rows(request, dataset_from, kind, format, name):
    snapshot = request.getfixturevalue(kind)
    again = dataset_from(name, body_of(snapshot, format))
    assert again.state == "ready", again.error
    assert hashes(again) == hashes(snapshot.dataset)


@pytest.fixture
def texts(dataset_from, freeze):
    return freeze(dataset_from("texts.jsonl", [{"text": f"{sentence(i, 20)}."} for i in range(30)]))


def test_texts_import_again_as_the_same_texts(texts, dataset_from):
    again = dataset_from("again.jsonl", body_of(texts, "text"))
    assert hashes(again) == hashes(texts.dataset)


def test_texts_have_no_format_of_inputs_and_answers(texts):
    assert {one.name for one in exports_of(texts)} == {"jsonl", "openai", "text", "parquet"}


def test_an_imported_export_keeps_its_splits(questions, dataset_from, freeze):
    again = freeze(dataset_from("again.csv", body_of(questions, "csv")))
    assert again.counts == questions.counts


def test_one_split_holds_just_its_rows(questions):
    lines = body_of(questions, "prompt_completion", "test").splitlines()
    assert len(lines) == questions.counts["test"]
    assert "split" not in json.loads(lines[0])


def test_parquet_of_one_split_is_a_parquet_file_of_its_rows(questions):
    table = pq.read_table(pa.BufferReader(body_of(questions, "parquet", "validation")))
    assert set(table["split"].to_pylist()) == {"validation"}
    assert table.num_rows == questions.counts["validation"]


def test_the_whole_parquet_is_the_stored_file(questions):
    assert pq.read_table(pa.BufferReader(body_of(questions, "parquet"))).num_rows == questions.total


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n@x", "\u00a0=cmd()"])
def test_a_cell_that_looks_like_a_formula_gets_an_apostrophe(text):
    assert guarded(text).startswith("'")


@pytest.mark.parametrize("text", ["plain", "a = b", "1-2", "x@y.example", ""])
def test_other_cells_stay_as_they_are(text):
    assert guarded(text) == text


@pytest.fixture
def formulas(dataset_from, freeze):
    rows = [{"input": f"=HYPERLINK({i}) {sentence(i)}", "output": f"-{i} {sentence(i + 1000)}"} for i in range(20)]
    return freeze(dataset_from("formulas.jsonl", rows))


def test_no_cell_of_the_csv_begins_like_a_formula(formulas):
    table = list(csv.reader(io.StringIO(body_of(formulas, "csv").decode("utf-8-sig"))))
    assert len(table) == formulas.total + 1
    assert all(cell[:1] not in {"=", "+", "-", "@"} for row in table for cell in row)


def test_no_cell_of_the_workbook_is_a_formula(formulas):
    sheet = openpyxl.load_workbook(io.BytesIO(body_of(formulas, "xlsx"))).active
    cells = [cell for row in sheet.iter_rows() for cell in row if cell.value]
    assert cells
    assert all(cell.data_type == "s" and not str(cell.value).startswith(("=", "+", "-", "@")) for cell in cells)


def test_json_lines_stay_byte_for_byte_what_was_frozen(formulas):
    said = json.loads(body_of(formulas, "jsonl").splitlines()[0])["messages"][0]["content"]
    assert said.startswith("=HYPERLINK(")


@pytest.fixture
def dialogues(dataset_from, freeze):
    turns = [
        {
            "messages": [
                {"role": "user", "content": f"Is this void: {sentence(i)}?"},
                {"role": "assistant", "content": f"Which country do you ask about, for {sentence(i, 3)}?"},
                {"role": "user", "content": f"In this one: {sentence(i + 500)}."},
                {"role": "assistant", "content": f"Then it is void, because of {sentence(i + 900)}."},
            ]
        }
        for i in range(20)
    ]
    return freeze(dataset_from("dialogues.jsonl", turns))


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_a_table_refuses_conversations_instead_of_cutting_them(dialogues, format):
    with pytest.raises(UserError, match="several turns") as caught:
        export_file(dialogues, format)
    assert caught.value.field == "format"


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "prompt_completion"])
def test_conversations_import_again_as_the_same_rows(dialogues, dataset_from, format):
    again = dataset_from("again.json" if format != "prompt_completion" else "again.jsonl", body_of(dialogues, format))
    assert hashes(again) == hashes(dialogues.dataset)


def test_an_unknown_format_or_split_is_refused_with_the_names(questions):
    with pytest.raises(UserError, match="prompt_completion"):
        export_file(questions, "word")
    with pytest.raises(UserError, match="train"):
        export_file(questions, "csv", "learn")


def pair(**changes):
    values = {
        "row": 1,
        "split": "train",
        "messages": [{"role": "user", "content": "May I?"}, {"role": "assistant", "content": "Yes, gladly."}],
        "label": None,
        "metadata": {},
        "rejected": [{"role": "assistant", "content": "No."}],
        "desirable": None,
    }
    return ExportRow(**(values | changes))


def test_a_pair_in_trls_words_is_three_texts():
    assert preference(pair()) == {"prompt": "May I?", "chosen": "Yes, gladly.", "rejected": "No."}


def test_a_pair_in_openais_words_keeps_the_messages():
    line = preference_openai(pair())
    assert line["input"] == {"messages": [{"role": "user", "content": "May I?"}]}
    assert line["preferred_output"][0]["content"] == "Yes, gladly."
    assert line["non_preferred_output"][0]["content"] == "No."


def test_an_answer_with_a_verdict_keeps_it():
    assert kto(pair(rejected=[], desirable=False)) == {"prompt": "May I?", "completion": "Yes, gladly.", "label": False}


PAIRS = [
    {
        "prompt": f"May the tenant do this: {sentence(i)}?",
        "chosen": f"Yes, after a letter to the landlord about {sentence(i + 100)}.",
        "rejected": f"No, never, because of {sentence(i + 200)}.",
    }
    for i in range(30)
]


@pytest.mark.parametrize("format", ["preference", "preference_openai"])
def test_pairs_import_again_as_the_same_pairs(dataset_from, freeze, format):
    first = freeze(dataset_from("pairs.jsonl", PAIRS))
    assert first.task_type == "preference", first.error
    again = freeze(dataset_from("again.jsonl", body_of(first, format)))
    assert sorted(body_of(again, "preference").splitlines()) == sorted(body_of(first, "preference").splitlines())


def test_answers_with_a_verdict_import_again_with_it(dataset_from, freeze):
    rows = [{"prompt": p["prompt"], "completion": p["chosen"], "label": i % 3 > 0} for i, p in enumerate(PAIRS)]
    first = freeze(dataset_from("verdicts.jsonl", rows))
    again = freeze(dataset_from("again.jsonl", body_of(first, "kto")))
    assert sorted(body_of(again, "kto").splitlines()) == sorted(body_of(first, "kto").splitlines())


def test_preference_data_have_no_format_that_would_lose_the_worse_answers(questions):
    questions.task_type = "preference"
    assert {one.name for one in exports_of(questions)} == {"preference", "preference_openai", "kto", "parquet"}
    with pytest.raises(UserError, match="worse answers would be lost"):
        export_file(questions, "openai")


def test_a_download_is_an_attachment_with_a_name_and_an_audit_entry(client_for, project, viewer, questions):
    address = f"/p/{project.slug}/data/{questions.dataset_id}/snapshots/1/download"
    answer = client_for(viewer).get(address, {"format": "xlsx", "split": "train"})
    assert answer["Content-Disposition"] == 'attachment; filename="questions-jsonl-v1-train.xlsx"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert b"".join(answer.streaming_content)[:2] == b"PK"
    entry = AuditEntry.objects.filter(act="snapshot.download").get()
    assert (entry.data["split"], entry.data["format"]) == ("train", "xlsx")


def test_a_refused_download_is_a_page_with_the_way_out_and_no_audit_entry(client_for, project, viewer, dialogues):
    address = f"/p/{project.slug}/data/{dialogues.dataset_id}/snapshots/1/download"
    answer = client_for(viewer).get(address, {"format": "csv"})
    assert answer.status_code == 422
    assert "Chat messages with everything" in answer.content.decode()
    assert not AuditEntry.objects.filter(act="snapshot.download").exists()


def test_the_api_downloads_by_format(client, api_key, questions):
    address = f"/api/v1/datasets/{questions.dataset_id}/snapshots/1/download?format=prompt-completion"
    answer = client.get(address, headers={"Authorization": f"Bearer {api_key('read')}"})
    lines = b"".join(answer.streaming_content).splitlines()
    assert len(lines) == questions.total
    assert set(json.loads(lines[0])) == {"prompt", "completion", "split"}


def test_a_download_is_audited_within_a_transaction_so_that_the_chain_cannot_fork(actor, monkeypatch):
    from django.db import connection

    from datasets_app.operations import downloads

    blocks = []
    monkeypatch.setattr(downloads, "record", lambda **entry: blocks.append(len(connection.savepoint_ids)))
    before = len(connection.savepoint_ids)
    downloads.record_download(actor=actor, act="snapshot.download", subject="snapshot x")
    assert blocks == [before + 1]
