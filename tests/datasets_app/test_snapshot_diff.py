"""What differs between two snapshots: counted, shown side by side, and the same through the API."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.urls import reverse

from datasets_app import operations
from datasets_app.models import Example
from datasets_app.queries import diff as diff_queries
from datasets_app.queries.diff import snapshot_diff
from finetune_engine.errors import UserError


@pytest.fixture(autouse=True)
def nothing_is_known_yet(settings, tmp_path):
    settings.CACHE_DIR = tmp_path / "cache"


@pytest.fixture
def changed(actor, clauses, freeze):
    """Two snapshots: in the second, row 2 is gone, row 3 has another label, row 5 other words, row 62 is new."""
    first = freeze(clauses)

    def row(number):
        return Example.objects.get(dataset=clauses, row=number)

    operations.decide_example(actor=actor, dataset=clauses, example=row(2), action="reject")
    operations.edit_example(actor=actor, dataset=clauses, example=row(3), answer="Payment")
    words = "Clause 4: the party of the 4th part shall within SEVEN days of notice 28 do thing 4."
    operations.edit_example(actor=actor, dataset=clauses, example=row(5), prompt=words)
    operations.edit_example(actor=actor, dataset=clauses, example=row(62), answer="Payment")
    return first, freeze(clauses)


def test_each_kind_of_change_is_counted(changed):
    counts = snapshot_diff(*changed).counts
    assert (counts["added"], counts["removed"], counts["changed"], counts["relabelled"]) == (1, 1, 1, 1)
    assert counts["unchanged"] + counts["moved"] >= 57


def test_a_changed_row_shows_which_words_are_gone_and_which_are_new(changed):
    example = snapshot_diff(*changed).examples["changed"][0]
    assert example.row == 5
    assert "7" in [piece.text for piece in example.old_pieces if piece.kind == "del"]
    assert "SEVEN" in [piece.text for piece in example.new_pieces if piece.kind == "ins"]


def test_a_new_label_is_told_with_the_old_one(changed):
    example = snapshot_diff(*changed).examples["relabelled"][0]
    assert (example.row, example.old_label, example.new_label) == (3, "Confidentiality", "Payment")


def test_the_same_rows_in_other_splits_are_moved_and_nothing_else(clauses, freeze):
    first, second = freeze(clauses), freeze(clauses, seed=9)
    counts = snapshot_diff(first, second).counts
    assert counts["moved"] > 0
    assert not any(counts[kind] for kind in ("added", "removed", "changed", "relabelled"))


def parquet(path, rows):
    names = ("row", "split", "messages", "prompt", "answer", "label", "metadata", "content_hash")
    columns = {name: [row.get(name) for row in rows] for name in names}
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def frozen_row(number, prompt, answer="Yes."):
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"row": number, "split": "train", "messages": json.dumps(messages), "prompt": prompt, "answer": answer}


def test_the_same_rows_in_the_same_splits_differ_in_nothing(tmp_path):
    old = parquet(tmp_path / "old.parquet", [frozen_row(n, f"Question {n}") for n in range(9)])
    counts = diff_queries._compare(old, old)["counts"]
    assert counts.pop("unchanged") == 9
    assert not any(counts.values())


def test_a_row_whose_number_moved_is_still_the_same_row(tmp_path):
    texts = [f"Question {n} about matter {n * 7}" for n in range(9)]
    old = parquet(tmp_path / "old.parquet", [frozen_row(n + 1, text) for n, text in enumerate(texts)])
    new = parquet(tmp_path / "new.parquet", [frozen_row(n + 1, text) for n, text in enumerate(texts[4:])])
    counts = diff_queries._compare(old, new)["counts"]
    assert counts == {"added": 0, "removed": 4, "changed": 0, "relabelled": 0, "moved": 0, "unchanged": 5}


def test_another_row_under_the_same_number_is_not_taken_for_a_change(tmp_path):
    old = parquet(tmp_path / "old.parquet", [frozen_row(1, "May the tenant keep a cat in the flat?", "Ask first.")])
    new = parquet(tmp_path / "new.parquet", [frozen_row(1, "When is the insurance premium due?", "In May.")])
    counts = diff_queries._compare(old, new)["counts"]
    assert (counts["added"], counts["removed"], counts["changed"]) == (1, 1, 0)


def test_the_counts_are_kept_so_that_the_files_are_read_once(changed, monkeypatch):
    first = snapshot_diff(*changed)
    monkeypatch.setattr(diff_queries, "_compare", lambda *_: pytest.fail("compared again"))
    assert snapshot_diff(*changed) == first


def test_a_snapshot_cannot_be_compared_with_itself(clauses, freeze):
    snapshot = freeze(clauses)
    with pytest.raises(UserError, match="two different"):
        snapshot_diff(snapshot, snapshot)


def test_the_page_shows_both_sides_and_never_markup(client_for, project, viewer, actor, dataset_from, freeze):
    rows = [
        {"text": f"<script>alert({i})</script> number {i} of the deed {i * 7}", "label": "AB"[i % 2]} for i in range(30)
    ]
    dataset = dataset_from("evil.jsonl", rows)
    freeze(dataset)
    example = Example.objects.get(dataset=dataset, row=4)
    operations.edit_example(
        actor=actor, dataset=dataset, example=example, prompt="<script>alert(3)</script> number 3 of the deed TWENTY"
    )
    freeze(dataset)
    page = client_for(viewer).get(reverse("datasets:snapshot_diff", args=[project.slug, dataset.pk, 2]))
    text = page.content.decode()
    assert "<ins>TWENTY</ins>" in text
    assert "<del>21</del>" in text
    assert "<script>alert" not in text


def test_the_first_snapshot_has_nothing_to_be_compared_with(client_for, project, viewer, clauses, freeze):
    freeze(clauses)
    page = client_for(viewer).get(reverse("datasets:snapshot_diff", args=[project.slug, clauses.pk, 1]))
    assert page.status_code == 404
    assert "no earlier snapshot" in page.content.decode()


def test_two_large_snapshots_are_compared_by_a_second_request(client_for, project, viewer, changed, monkeypatch):
    monkeypatch.setattr(diff_queries, "MOST_AT_ONCE", 10)
    client = client_for(viewer)
    address = reverse("datasets:snapshot_diff", args=[project.slug, changed[0].dataset_id, 2])
    first = client.get(address)
    assert "Comparing them takes some seconds" in first.content.decode()
    assert "1 removed" in client.get(address, {"from": 1, "now": 1}).content.decode()
    assert "1 removed" in client.get(address).content.decode(), "the second time it is known"


def test_the_api_gives_counts_and_examples(client, api_key, changed):
    address = f"/api/v1/datasets/{changed[0].dataset_id}/snapshots/2/diff?from=1"
    answer = client.get(address, headers={"Authorization": f"Bearer {api_key('read')}"}).json()
    assert (answer["from_number"], answer["to_number"]) == (1, 2)
    assert answer["counts"]["removed"] == 1
    assert answer["examples"]["removed"][0]["row"] == 2
    assert answer["examples"]["removed"][0]["after"] is None


@pytest.mark.parametrize(("number", "status"), [("x", 422), ("²", 422), ("-1", 422), ("99", 404), ("2", 422)])
def test_a_number_that_makes_no_sense_is_told(client, api_key, changed, number, status):
    address = f"/api/v1/datasets/{changed[0].dataset_id}/snapshots/2/diff?from={number}"
    assert client.get(address, headers={"Authorization": f"Bearer {api_key('read')}"}).status_code == status
