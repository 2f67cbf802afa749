"""Bad files through the whole house, by the API as a program sends them: a sentence each, no crash, nothing lost."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from django.test import Client

from datasets_app.models import Dataset, Upload

GOOD = [
    json.dumps({"text": f"Clause {n} speaks of matter {n * 7} at some length", "label": "AB"[n % 2]}) for n in range(30)
]
LATIN_1 = "text,label\n" + "".join(f"Die Prämie für das Gebäude Nummer {n} ist fällig,Zahlung\n" for n in range(30))


def lines(rows: list[str]) -> bytes:
    return ("\n".join(rows) + "\n").encode()


FILES = {
    "empty": ("empty.jsonl", b""),
    "only a byte order mark": ("bom.csv", b"\xef\xbb\xbf"),
    "header only": ("header.csv", b"text,label\n"),
    "broken JSON at row 7": ("broken.jsonl", lines([*GOOD[:6], '{"text": "no end', *GOOD[6:]])),
    "wrong columns": ("columns.csv", b"colour,weight\n" + b"red,3\n" * 20),
    "latin-1": ("latin.csv", LATIN_1.encode("latin-1")),
    "a line of 50 MB": (
        "giant.jsonl",
        lines([*GOOD[:9], '{"text": "' + "x" * 50_000_000 + '", "label": "A"}', *GOOD[9:]]),
    ),
    "not a table at all": ("scan.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 20),
}


@pytest.fixture
def send(api_key, run_jobs):
    """``send(name, content)``: the answer once the file was looked at: (status code, body)."""
    client = Client(HTTP_AUTHORIZATION=f"Bearer {api_key('read', 'train')}")

    def post(name: str, content: bytes) -> tuple[int, dict]:
        file = BytesIO(content)
        file.name = name
        made = client.post("/api/v1/datasets", {"file": file, "name": name})
        if made.status_code != 202:
            return made.status_code, made.json()
        run_jobs()
        return 200, client.get(f"/api/v1/datasets/{made.json()['id']}").json()

    return post


@pytest.mark.parametrize("kind", FILES)
def test_each_gets_an_answer_that_says_what_to_do(kind, send) -> None:
    status, body = send(*FILES[kind])
    assert status < 500
    error = body.get("error")
    if error is None:
        counts = body["counts"]
        assert body["status"] == "ready"
        assert counts["total"] == sum(counts[key] for key in ("accepted", "flagged", "needs_review", "rejected"))
    else:
        assert len(error["message"]) > 20
        assert "Traceback" not in error["message"]
        assert "codec" not in error["message"]


def test_the_broken_row_is_named_and_the_others_are_used(send) -> None:
    _, body = send(*FILES["broken JSON at row 7"])
    assert body["counts"]["total"] == 31
    assert body["counts"]["rejected"] == 1
    assert body["codes"]["invalid_json"] == 1


def test_the_giant_line_is_named_and_the_others_are_used(send) -> None:
    _, body = send(*FILES["a line of 50 MB"])
    assert body["counts"] == {"total": 31, "accepted": 30, "flagged": 0, "needs_review": 0, "rejected": 1}


def test_another_encoding_is_read_and_named(send) -> None:
    _, body = send(*FILES["latin-1"])
    assert body["encoding"].lower().replace("_", "-") in {"cp1252", "windows-1252", "latin-1", "iso-8859-1", "cp1250"}
    example = Dataset.objects.get(pk=body["id"]).examples.first()
    assert "Prämie" in example.prompt_head


def test_a_file_that_cannot_be_used_is_kept(send) -> None:
    send(*FILES["wrong columns"])
    assert Upload.objects.filter(name="columns.csv").exists()


def test_a_training_on_a_dataset_without_usable_rows_is_refused_in_a_sentence(send, api_key, project) -> None:
    rows = [json.dumps({"text": "", "label": ""})] * 3
    status, _ = send("hollow.jsonl", lines(rows))
    dataset = Dataset.objects.get(project=project)
    client = Client(HTTP_AUTHORIZATION=f"Bearer {api_key('read', 'train')}")
    wanted = {"base_model": "demo-base", "dataset": dataset.pk}
    refused = client.post("/api/v1/jobs", json.dumps(wanted), content_type="application/json")
    assert status == 200
    assert refused.status_code in {409, 422}, refused.content
    assert len(refused.json()["error"]["message"]) > 20
