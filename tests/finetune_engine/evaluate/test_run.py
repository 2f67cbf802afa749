import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.cases import read_cases
from finetune_engine.evaluate.run import evaluate
from finetune_engine.evaluate.spec import spec_of
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped

TEXTS = {"rent": "The tenant pays the rent number {}.", "law": "Governed by the law of state {}."}


def snapshot_of(path, rows):
    table = [
        {
            "row": number,
            "split": split,
            "messages": json.dumps([{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]),
            "prompt": prompt,
            "answer": answer,
            "label": label,
            "metadata": json.dumps({"contract": number // 4}),
            "content_hash": str(number),
        }
        for number, (split, prompt, answer, label) in enumerate(rows, 1)
    ]
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


@pytest.fixture
def labelled(tmp_path):
    rows = []
    for number in range(48):
        label = ("rent", "law", "rent")[number % 3]
        rows.append(("test" if number < 24 else "train", TEXTS[label].format(number), label, label))
    return snapshot_of(tmp_path / "snapshot.parquet", rows)


@pytest.fixture
def raw_spec(labelled, tiny_model, tiny_adapter):
    return {
        "base_model": {"key": "tiny", "path": str(tiny_model)},
        "models": [
            {"key": "base", "adapter": None, "name": "Tiny"},
            {"key": "tuned", "adapter": str(tiny_adapter), "name": "Tiny, tuned"},
        ],
        "snapshot": {"path": str(labelled), "sha256": "abc"},
        "task_type": "classification",
    }


def run_it(raw, out):
    sink = ListSink()
    evaluate(spec_of(raw), out, Run(sink))
    return json.loads((out / "report.json").read_text()), sink.events


def test_a_classification_gets_every_part_of_the_report(raw_spec, tmp_path):
    report, events = run_it(raw_spec, tmp_path / "out")
    assert (report["n"], report["split"], report["headline"]) == (24, "test", "accuracy")
    names = {"accuracy", "accuracy_loglik", "exact_match", "quasi_exact_match", "macro_f1", "mcc", "perplexity"}
    for model in report["models"]:
        assert {score["metric"] for score in model["scores"]} >= names
        for score in model["scores"]:
            assert score["ci_low"] <= score["value"] + 1e-9
            assert score["value"] <= score["ci_high"] + 1e-9
            assert score["signature"]
        assert sum(map(sum, model["confusion"]["matrix"])) == 24
        assert {row["label"]: row["support"] for row in model["per_class"]} == {"rent": 16, "law": 8}
    assert [baseline["key"] for baseline in report["baselines"]] == ["majority", "tfidf"]
    values = {b["key"]: {s["metric"]: s["value"] for s in b["scores"]} for b in report["baselines"]}
    assert values["majority"]["accuracy"] == pytest.approx(16 / 24)
    assert values["tfidf"]["accuracy"] == 1.0
    assert report["comparison"]["metric"] == "accuracy"
    assert {item["against"] for item in report["comparisons"]} == {"base", "majority", "tfidf"}
    # Random weights answer nothing right, and the report must say so.
    assert report["verdict"]["kind"] == "do_not_ship"
    assert len(report["worst"]) == 3
    assert report["models"][0]["performance"] is None
    for field in ("versions", "template_sha256", "dtype", "device", "batch_size", "seed"):
        assert report["run"][field] is not None
    assert events[-1].kind == "result"


def test_progress_never_runs_backwards_and_ends_at_the_total(raw_spec, tmp_path):
    _, events = run_it(raw_spec, tmp_path / "out")
    told = [event.data for event in events if event.kind == "progress"]
    done = [data["done"] for data in told]
    assert done == sorted(done)
    assert done[-1] == told[-1]["total"] == 24 * 3 * 2


def test_samples_hold_every_answer_and_agree_with_the_report(raw_spec, tmp_path):
    report, _ = run_it(raw_spec, tmp_path / "out")
    samples = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    assert samples["row"] == list(range(1, 25))
    scores = {s["metric"]: s["value"] for s in report["models"][1]["scores"]}
    assert sum(samples["tuned_correct"]) / 24 == scores["accuracy"]
    right = [said == label for said, label in zip(samples["tuned_label_prediction"], samples["label"], strict=True)]
    assert sum(right) / 24 == pytest.approx(scores["accuracy_loglik"])
    assert samples["base_nll"] != samples["tuned_nll"]


def test_samples_say_how_sure_each_model_was_of_its_answer(raw_spec, tmp_path):
    run_it(raw_spec, tmp_path / "out")
    samples = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    assert all(0 < sure <= 1 for key in ("base", "tuned") for sure in samples[f"{key}_confidence"] if sure is not None)
    assert any(sure is not None for sure in samples["tuned_confidence"])
    assert samples["base_confidence"] != samples["tuned_confidence"]


def test_the_same_spec_gives_the_same_report(raw_spec, tmp_path):
    first, _ = run_it(raw_spec, tmp_path / "one")
    second, _ = run_it(raw_spec, tmp_path / "two")
    first["run"].pop("seconds")
    second["run"].pop("seconds")
    assert first == second


def test_free_text_is_judged_by_words_and_has_no_baselines(raw_spec, tmp_path):
    rows = [("test", f"Say {number}", f"the number {number}", None) for number in range(25)]
    snapshot = snapshot_of(tmp_path / "text.parquet", rows)
    report, _ = run_it(raw_spec | {"task_type": "completion", "snapshot": {"path": str(snapshot)}}, tmp_path / "out")
    assert report["headline"] == "f1"
    assert {s["metric"] for s in report["models"][0]["scores"]} >= {
        "exact_match",
        "quasi_exact_match",
        "f1",
        "bleu",
        "rougeL",
        "perplexity",
    }
    assert report["baselines"] == []
    assert report["models"][0]["confusion"] is None


def test_speed_is_measured_when_asked_for(raw_spec, tmp_path):
    report, events = run_it(raw_spec | {"suites": ["quality", "performance"], "limit": 20}, tmp_path / "out")
    speed = report["models"][1]["performance"]
    assert [test["batch_size"] for test in speed["throughput_tests"]] == [1, 10, 50, 100]
    assert 0 < speed["time_to_first_token"] <= speed["avg_latency"]
    assert speed["p50_latency"] <= speed["p95_latency"] <= speed["p99_latency"]
    assert speed["peak_memory_bytes"] > 10_000_000
    assert "measuring speed" in [event.data.get("phase") for event in events]


def test_a_limit_takes_a_repeatable_sample(raw_spec, tmp_path):
    rows = []
    for out in ("one", "two"):
        run_it(raw_spec | {"limit": 20, "seed": 5}, tmp_path / out)
        rows.append(pq.read_table(tmp_path / out / "samples.parquet")["row"].to_pylist())
    assert rows[0] == rows[1] == sorted(rows[0])
    assert len(rows[0]) == 20


def test_a_base_model_alone_is_scored_without_a_comparison(raw_spec, tmp_path):
    report, _ = run_it(raw_spec | {"models": raw_spec["models"][:1]}, tmp_path / "out")
    assert report["comparison"] is None
    assert report["verdict"]["kind"] == "do_not_ship"
    assert report["improved"] == []


def test_groups_of_the_manifest_widen_the_intervals(raw_spec, tmp_path, labelled):
    def width(out):
        report, _ = run_it(raw_spec, out)
        score = next(s for s in report["baselines"][0]["scores"] if s["metric"] == "macro_f1")
        return score["ci_low"], score["ci_high"]

    alone = width(tmp_path / "one")
    (labelled.parent / "manifest.json").write_text(json.dumps({"group_by": "contract"}))
    assert width(tmp_path / "two") != alone


class StopAfter:
    """Says go a few times, then cancel."""

    def __init__(self, times):
        self.times = times

    def action(self):
        self.times -= 1
        return "go" if self.times >= 0 else "cancel"


@pytest.mark.parametrize("times", [0, 3, 30])
def test_a_cancelled_evaluation_stops_and_leaves_no_report(raw_spec, tmp_path, times):
    with pytest.raises(Stopped):
        evaluate(spec_of(raw_spec), tmp_path / "out", Run(ListSink(), stop=StopAfter(times)))
    assert not (tmp_path / "out" / "report.json").exists()


def test_an_empty_split_is_explained(raw_spec, tmp_path):
    with pytest.raises(UserError) as caught:
        run_it(raw_spec | {"split": "validation"}, tmp_path / "out")
    assert caught.value.code == "no_test_cases"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"models": []}, "models"),
        ({"models": [{"key": "a b"}]}, "models"),
        ({"models": [{"key": "a"}, {"key": "a"}]}, "models"),
        ({"models": [{"key": "a", "adapter": "/nowhere"}]}, "models"),
        ({"snapshot": {"path": "/nowhere.parquet"}}, "snapshot"),
        ({"split": "tset"}, "split"),
        ({"suites": ["speed"]}, "suites"),
        ({"limit": 0}, "limit"),
        ({"task_type": "poetry"}, "task_type"),
    ],
)
def test_a_wrong_spec_names_its_field(raw_spec, change, field):
    with pytest.raises(UserError) as caught:
        spec_of(raw_spec | change)
    assert caught.value.field == field
    assert caught.value.reason == "bad_config"


def test_a_file_that_is_no_snapshot_is_the_persons_to_mend(raw_spec, tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(UserError) as caught:
        run_it(raw_spec | {"snapshot": {"path": str(other)}}, tmp_path / "out")
    assert caught.value.code == "bad_snapshot"


def test_a_case_not_to_be_forgotten_has_room_for_a_longer_answer_than_the_data_has(raw_spec, tmp_path):
    question = [{"role": "user", "content": "Who pays?"}]
    long = "The tenant pays the rent and the law of the state governs the rest of it. " * 3
    raw_spec |= {"regressions": [{"id": "r1", "messages": question, "expected": long, "note": ""}]}
    spec = spec_of(raw_spec)
    report = evaluate(spec, tmp_path / "out", Run(ListSink()))
    from finetune_engine.evaluate.asking.store import AnswerStore

    with AnswerStore(tmp_path / "out" / "answers.sqlite") as store:
        kept = [json.loads(value) for (value,) in store._database.execute("SELECT value FROM answers")]
    longest = max(value["tokens"] for value in kept if isinstance(value, dict))
    assert longest > report.run["max_new_tokens"]
    assert report.regressions["asked"] == ["r1"]


def test_an_example_never_shows_the_answer_to_a_question_that_is_asked(raw_spec, tmp_path):
    rows = [("test", f"Question {number}?", "yes", None) for number in range(4)]
    rows += [("train", f"question {number}", "leaked", None) for number in range(4)]
    rows += [("train", "Something else?", "no", None)]
    snapshot = snapshot_of(tmp_path / "twins.parquet", rows)
    raw_spec["models"].append(
        {"key": "shown", "name": "Shown", "adapter": None, "prompt": {"system": None, "shots": 3}}
    )
    raw_spec |= {"task_type": "completion", "snapshot": {"path": str(snapshot), "sha256": "x"}}
    assert [example.prompt for example in read_cases(spec_of(raw_spec)).examples] == ["Something else?"]


def test_too_few_examples_are_told(raw_spec, tmp_path):
    raw_spec["models"].append(
        {"key": "shown", "name": "Shown", "adapter": None, "prompt": {"system": None, "shots": 32}}
    )
    _, events = run_it(raw_spec, tmp_path / "out")
    assert [event.data["code"] for event in events if event.kind == "warn"] == ["few_examples"]


def test_half_a_character_in_the_data_breaks_no_file(raw_spec, tmp_path, labelled):
    table = pq.read_table(labelled).to_pylist()
    for row in table:
        row["metadata"] = json.dumps({"who": "\ud83d"})
    pq.write_table(pa.Table.from_pylist(table), labelled)
    run_it(raw_spec, tmp_path / "out")
    assert json.loads(pq.read_table(tmp_path / "out" / "samples.parquet")["metadata"][0].as_py()) == {"who": "?"}
