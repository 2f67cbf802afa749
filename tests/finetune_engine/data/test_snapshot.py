"""A snapshot holds what stays in, divided for good, and says what it is by a hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finetune_engine.data.snapshot import make_snapshot, read_spec
from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run

TOPICS = ["invoice", "refund", "delivery", "garden", "engine", "violin", "harbour", "window", "pepper", "mountain"]


def rows(count: int = 100) -> list[dict[str, Any]]:
    return [
        {
            "text": f"The {TOPICS[i % 10]} of {TOPICS[(i // 10) % 10]} came up in letter {i} on {TOPICS[(i * 7) % 10]} {i * 31}",
            "label": "question" if i % 2 else "complaint",
            "author": f"person {i // 5}",
        }
        for i in range(count)
    ]


def jsonl(items: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, items))


@pytest.fixture
def freeze(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], pl.DataFrame]]:
    """``freeze(prepared, **spec)`` gives manifest and rows."""
    number = iter(range(100))

    def run(
        done: Any, overrides: list[dict[str, Any]] | None = None, **spec: Any
    ) -> tuple[dict[str, Any], pl.DataFrame]:
        out = tmp_path / f"snapshot-{next(number)}"
        out.mkdir()
        if overrides is not None:
            (out / "overrides.jsonl").write_text(jsonl(overrides))
            spec["overrides"] = str(out / "overrides.jsonl")
        chunks = [str(done.out / name) for name in done.report["chunks"]]
        manifest = make_snapshot(
            read_spec({"chunks": chunks, "task_type": done.report["task_type"]} | spec), out, Run(ListSink())
        )
        assert json.loads((out / "manifest.json").read_text()) == manifest
        return manifest, pl.read_parquet(out / "snapshot.parquet")

    return run


def test_accepted_and_flagged_rows_are_divided_80_10_10(prepare_text, freeze):
    bad = [
        {"text": "", "label": "question"},
        {"text": "mail me at jo@example.org about the parcel", "label": "question"},
    ]
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl(rows(99) + bad)))
    assert manifest["counts"] == {"train": 80, "validation": 10, "test": 10}
    assert 100 not in frame["row"].to_list()
    assert 101 in frame["row"].to_list()
    assert frame["row"].is_sorted()
    assert manifest["labels"]["test"] == {"complaint": 5, "question": 5}
    assert manifest["leakage"] == {"exact_across_splits": 0, "near_across_splits": 0}
    assert manifest["statistics"]["total_examples"] == 100
    assert (manifest["statistics"]["train_size"], manifest["statistics"]["val_size"]) == (80, 10)


def test_the_same_rows_and_seed_give_the_same_hash_and_another_seed_does_not(prepare_text, freeze):
    done = prepare_text("a.jsonl", jsonl(rows()))
    first, again, other = freeze(done)[0], freeze(done)[0], freeze(done, seed=7)[0]
    assert first["sha256"] == again["sha256"] != other["sha256"]


def test_people_have_the_last_word(prepare_text, freeze):
    extra = [{"text": "", "label": "question"}]
    done = prepare_text("a.jsonl", jsonl(rows(50) + extra))
    edited = [
        {"role": "user", "content": "A question that was mended by hand"},
        {"role": "assistant", "content": "question"},
    ]
    _, frame = freeze(
        done,
        [
            {"row": 1, "status": "rejected"},
            {"row": 2, "label": "complaint"},
            {"row": 51, "status": "accepted", "messages": edited},
        ],
    )
    by_row = {row["row"]: row for row in frame.to_dicts()}
    assert 1 not in by_row
    assert (by_row[2]["label"], by_row[2]["answer"]) == ("complaint", "complaint")
    assert json.loads(by_row[2]["messages"])[-1]["content"] == "complaint"
    assert (by_row[51]["prompt"], by_row[51]["label"]) == ("A question that was mended by hand", "question")


def test_an_accepted_row_without_messages_stays_out(prepare_text, freeze):
    done = prepare_text("a.jsonl", jsonl(rows(50)) + "\n{oops")
    _, frame = freeze(done, [{"row": 51, "status": "accepted"}])
    assert frame.height == 50


def test_rows_of_one_group_share_a_split(prepare_text, freeze):
    done = prepare_text("a.jsonl", jsonl(rows()))
    manifest, frame = freeze(done, group_by="author", stratify_by=None)
    authors = frame.with_columns(pl.col("metadata").str.json_path_match("$.author").alias("author"))
    assert authors.group_by("author").agg(pl.col("split").n_unique())["split"].max() == 1
    assert manifest["counts"]["test"] == 10


def test_near_duplicates_that_people_accepted_share_a_split(prepare_text, freeze):
    base = "The lessee of unit {i} shall keep the whole of the premises in good repair and return them in term {i}{end}"
    twins = [{"text": base.format(i=i, end=end), "label": "question"} for i in range(20) for end in ("", " indeed")]
    done = prepare_text("a.jsonl", jsonl(rows(60) + twins))
    _, frame = freeze(done, [{"row": 61 + i, "status": "accepted"} for i in range(40)])
    split = dict(zip(frame["row"], frame["split"], strict=True))
    assert all(split[61 + 2 * i] == split[62 + 2 * i] for i in range(20))


def test_an_uploaded_split_is_respected(prepare_text, freeze):
    items = [row | {"split": "test" if i < 20 else "train"} for i, row in enumerate(rows())]
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl(items)))
    assert set(frame.filter(pl.col("split") == "test")["row"]) == set(range(1, 21))
    assert manifest["counts"]["test"] == 20


def test_the_test_part_of_an_earlier_snapshot_stays_test(prepare_text, freeze, tmp_path):
    _, before = freeze(prepare_text("a.jsonl", jsonl(rows(60))))
    before.write_parquet(tmp_path / "before.parquet")
    _, after = freeze(
        prepare_text("b.jsonl", jsonl(list(reversed(rows(100))))), frozen_test=str(tmp_path / "before.parquet")
    )
    tested = set(before.filter(pl.col("split") == "test")["content_hash"])
    assert set(after.filter(pl.col("split") == "test")["content_hash"]) == tested


def test_rows_that_a_later_file_holds_out_are_not_learnt_from(prepare_text, freeze, tmp_path):
    _, before = freeze(prepare_text("a.jsonl", jsonl(rows(60))))
    before.write_parquet(tmp_path / "before.parquet")
    later = [row | {"split": "" if i < 60 else "test"} for i, row in enumerate(rows(80))]
    _, after = freeze(prepare_text("b.jsonl", jsonl(later)), frozen_test=str(tmp_path / "before.parquet"))
    assert set(after.filter(pl.col("row") > 60)["split"]) == {"test"}


def test_uploaded_test_rows_stay_held_out_though_no_test_part_is_asked_for(prepare_text, freeze):
    items = [row | {"split": "test" if i < 20 else "train"} for i, row in enumerate(rows())]
    _, frame = freeze(prepare_text("a.jsonl", jsonl(items)), split={"train": 0.9, "validation": 0.1, "test": 0})
    assert set(frame.filter(pl.col("split") == "test")["row"]) == set(range(1, 21))


@pytest.mark.parametrize(
    ("count", "overrides", "code"),
    [(2, None, "too_few_examples"), (5, [{"row": i, "status": "rejected"} for i in range(1, 6)], "no_examples")],
)
def test_too_little_is_said_plainly(prepare_text, freeze, count, overrides, code):
    with pytest.raises(UserError) as refused:
        freeze(prepare_text("a.jsonl", jsonl(rows(count))), overrides)
    assert refused.value.code == code


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_handful_of_rows_fills_every_part(prepare_text, freeze, count):
    manifest, _ = freeze(prepare_text("a.jsonl", jsonl(rows(count))))
    assert min(manifest["counts"].values()) >= 1


@pytest.mark.parametrize(
    "spec",
    [
        {"chunks": "x"},
        {"split": {"train": 0.5, "test": 0.1}},
        {"split": {"train": 0, "test": 1}},
        {"split": {"learn": 1}},
        {"seed": "x"},
        {"stratify_by": "author"},
        {"overrides": "/nowhere"},
        {"surprise": 1},
        {"task_type": "poetry"},
    ],
)
def test_a_spec_that_makes_no_sense_is_named(spec):
    with pytest.raises(UserError) as refused:
        read_spec({"chunks": []} | spec)
    assert (refused.value.code, refused.value.field) == ("bad_spec", next(iter(spec)))


MAIL = {"text": "Please write to Jo.Doe@example.org about it, not to jo.doe@example.org by post", "label": "question"}


def test_personal_data_is_masked_in_the_frozen_rows_and_counted(prepare_text, freeze):
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl([*rows(30), MAIL])))
    row = frame.row(30, named=True)
    assert row["prompt"] == "Please write to [EMAIL_1] about it, not to [EMAIL_1] by post"
    assert json.loads(row["messages"])[0]["content"] == row["prompt"]
    assert manifest["personal"] == {"masked": {"email": 1}, "rejected": {}, "kept": {}, "rows": {"masked": 1}}


def test_a_row_with_personal_data_can_be_left_out(prepare_text, freeze):
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl([*rows(30), MAIL])), pii={"email": "reject"})
    assert 31 not in frame["row"].to_list()
    assert manifest["personal"]["rejected"] == {"email": 1}


def test_personal_data_can_be_kept_on_purpose(prepare_text, freeze):
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl([*rows(30), MAIL])), pii={"email": "keep"})
    assert frame["prompt"][30] == MAIL["text"]
    assert manifest["personal"] == {"masked": {}, "rejected": {}, "kept": {"email": 1}, "rows": {}}


def test_personal_data_that_a_person_wrote_in_an_edit_is_masked_too(prepare_text, freeze):
    edited = [
        {"role": "user", "content": "Call +44 20 7946 0958 at once"},
        {"role": "assistant", "content": "question"},
    ]
    _, frame = freeze(prepare_text("a.jsonl", jsonl(rows(30))), [{"row": 3, "messages": edited}])
    assert frame["prompt"][2] == "Call [PHONE_1] at once"


def test_rows_that_become_the_same_by_masking_share_a_split(prepare_text, freeze):
    mails = [
        {"text": f"Please send the report of today to clerk{i}@example.org", "label": "question"} for i in range(20)
    ]
    done = prepare_text("a.jsonl", jsonl([*rows(60), *mails]), near_duplicates=False)
    manifest, frame = freeze(done, [{"row": 61 + i, "status": "accepted"} for i in range(20)], stratify_by=None)
    assert frame.filter(pl.col("row") > 60)["split"].n_unique() == 1
    assert manifest["leakage"]["exact_across_splits"] == 0


def test_the_test_rows_of_an_earlier_snapshot_are_missed_by_nobody(prepare_text, freeze, tmp_path):
    done = prepare_text("a.jsonl", jsonl(rows(60)))
    _, before = freeze(done)
    before.write_parquet(tmp_path / "before.parquet")
    manifest, after = freeze(done, seed=5, earlier=[str(tmp_path / "before.parquet")])
    was = dict(zip(before["row"], before["split"], strict=True))
    now = dict(zip(after["row"], after["split"], strict=True))
    learnt = sum(was[row] == "test" and now[row] == "train" for row in now)
    assert manifest["leakage"]["earlier_test_in_train"] == learnt > 0
    assert manifest["leakage"]["earlier_train_in_test"] == sum(was[r] == "train" and now[r] == "test" for r in now)


def test_an_earlier_snapshot_that_is_kept_frozen_leaks_nothing(prepare_text, freeze, tmp_path):
    done = prepare_text("a.jsonl", jsonl(rows(60)))
    _, before = freeze(done)
    before.write_parquet(tmp_path / "before.parquet")
    path = str(tmp_path / "before.parquet")
    manifest, _ = freeze(done, seed=5, earlier=[path], frozen_test=path)
    assert manifest["leakage"]["earlier_test_in_train"] == 0


def test_an_uploaded_split_that_leaks_is_counted(prepare_text, freeze):
    parts = ["test"] * 20 + ["dev"] * 10 + ["train"] * 70
    items = [row | {"split": part} for row, part in zip(rows(), parts, strict=True)]
    items[50] = items[3] | {"split": "train", "label": "other"}
    done = prepare_text("a.jsonl", jsonl(items))
    manifest, _ = freeze(done, [{"row": 4, "status": "accepted"}, {"row": 51, "status": "accepted"}])
    assert manifest["leakage"]["exact_across_splits"] == 1


def test_large_sets_rely_on_the_clusters_that_were_found_before(prepare_text, freeze, monkeypatch):
    monkeypatch.setattr("finetune_engine.data.snapshot.COMPARED_ROWS", 10)
    base = "The lessee of unit {i} shall keep the whole of the premises in good repair and return them in term {i}{end}"
    twins = [{"text": base.format(i=i, end=end), "label": "question"} for i in range(20) for end in ("", " indeed")]
    done = prepare_text("a.jsonl", jsonl(rows(60) + twins))
    _, frame = freeze(done, [{"row": 61 + i, "status": "accepted"} for i in range(40)])
    split = dict(zip(frame["row"], frame["split"], strict=True))
    assert all(split[61 + 2 * i] == split[62 + 2 * i] for i in range(20))


def test_the_group_column_of_the_import_keeps_rows_together(prepare_text, freeze):
    mapping = {"prompt": "text", "completion": "label", "label": "label", "group": "author"}
    done = prepare_text("a.jsonl", jsonl(rows()), mapping=mapping)
    _, frame = freeze(done, stratify_by=None)
    authors = frame.with_columns(pl.col("metadata").str.json_path_match("$.author").alias("author"))
    assert authors.group_by("author").agg(pl.col("split").n_unique())["split"].max() == 1


def test_pairs_are_frozen_with_both_answers(prepare_text, freeze):
    pairs = [
        {
            "prompt": f"How late is parcel {i} of {i * 31}",
            "chosen": f"About {i} days, as we wrote to you.",
            "rejected": f"No idea {i}.",
        }
        for i in range(30)
    ]
    _, frame = freeze(prepare_text("a.jsonl", jsonl(pairs)))
    worse = dict(zip(frame["row"], frame["rejected"], strict=True))
    assert json.loads(worse[8])[-1]["content"] == "No idea 7."


def test_lengths_are_told_for_each_split(prepare_text, freeze):
    manifest, _ = freeze(prepare_text("a.jsonl", jsonl(rows(40))))
    told = manifest["statistics"]["splits"]
    counted = {name: sum(bar["count"] for bar in told[name]["prompt_length_histogram"]) for name in told}
    assert counted == manifest["counts"]


def test_a_row_with_two_kinds_of_personal_data_is_counted_once_among_rows(prepare_text, freeze):
    both = {"text": "Write to jo@example.org or call +44 20 7946 0958 before noon please", "label": "question"}
    manifest, _ = freeze(prepare_text("a.jsonl", jsonl([*rows(30), both])))
    assert manifest["personal"]["masked"] == {"email": 1, "phone": 1}
    assert manifest["personal"]["rows"] == {"masked": 1}


def test_personal_data_in_the_columns_that_come_along_is_masked_too(prepare_text, freeze):
    mail = MAIL | {"author": "jo.doe@example.org", "reply": {"to": "jim@example.org"}}
    _, frame = freeze(prepare_text("a.jsonl", jsonl([*rows(30), mail])))
    kept = json.loads(frame["metadata"][30])
    assert (kept["author"], kept["reply"]) == ("[EMAIL_1]", {"to": "[EMAIL_2]"})


def test_personal_data_beside_the_texts_is_masked_where_it_would_be_a_reason_to_leave_the_row_out(prepare_text, freeze):
    items = rows(30)
    items[4]["author"] = "jo@example.org"
    _, frame = freeze(prepare_text("a.jsonl", jsonl(items)), pii={"email": "reject"})
    assert json.loads(frame["metadata"][4])["author"] == "[EMAIL_1]"


def test_rows_are_grouped_by_what_a_column_held_before_it_was_masked(prepare_text, freeze):
    items = [row | {"author": f"person{i // 5}@example.org"} for i, row in enumerate(rows())]
    manifest, frame = freeze(prepare_text("a.jsonl", jsonl(items)), group_by="author", stratify_by=None)
    parts = frame.with_columns(((pl.col("row") - 1) // 5).alias("author")).group_by("author")
    assert parts.agg(pl.col("split").n_unique())["split"].max() == 1
    assert min(manifest["counts"].values()) > 0


def test_a_group_column_that_no_row_has_is_refused(prepare_text, freeze):
    with pytest.raises(UserError) as error:
        freeze(prepare_text("a.jsonl", jsonl(rows(30))), group_by="writer")
    assert (error.value.code, error.value.field) == ("bad_spec", "group_by")


def test_leaks_between_near_duplicates_are_counted_in_large_sets_too(prepare_text, freeze, monkeypatch):
    monkeypatch.setattr("finetune_engine.data.snapshot.COMPARED_ROWS", 10)
    base = "The lessee of this unit shall keep the whole of the premises in good repair and return them in the end"
    twins = [{"text": f"{base} {i}x", "label": "question", "split": "train"} for i in range(20)]
    items = [row | {"split": ("test", "dev", "train")[i % 3]} for i, row in enumerate(rows(60))]
    done = prepare_text("a.jsonl", jsonl([*items, *twins, {"text": f"{base} y", "label": "question", "split": "test"}]))
    manifest, _ = freeze(done, [{"row": 61 + i, "status": "accepted"} for i in range(21)])
    assert manifest["leakage"]["near_across_splits"] == 1
