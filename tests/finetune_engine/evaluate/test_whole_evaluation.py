"""All suites on four models at once: base, tuned, prompted, and one behind an address; and the JSON that comes of it."""

import json
import math
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from werkzeug import Response

from finetune_engine.errors import UserError
from finetune_engine.evaluate.run import evaluate
from finetune_engine.evaluate.spec import spec_of
from finetune_engine.evaluate.suites.chosen import SUITES
from finetune_engine.evaluate.suites.suite import SuiteResult
from finetune_engine.events import ListSink, parse_line
from finetune_engine.ports import Run

TEXTS = {"rent": "The tenant pays the rent number {}.", "law": "Governed by the law of state {}."}
CASES = 24


@pytest.fixture
def snapshot(tmp_path):
    rows = []
    for number in range(2 * CASES):
        label = ("rent", "law", "rent")[number % 3]
        prompt = TEXTS[label].format(number)
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": label}]
        rows.append(
            {
                "row": number + 1,
                "split": "test" if number < CASES else "train",
                "messages": json.dumps(turns),
                "prompt": prompt,
                "answer": label,
                "label": label,
                "metadata": json.dumps({"office": ("north", "south")[number % 2]}),
                "content_hash": str(number),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "snapshot.parquet")
    return tmp_path / "snapshot.parquet"


@pytest.fixture
def endpoint(httpserver):
    """Knows the right label of every question. ``asked`` counts the requests."""
    asked = []

    def says(request):
        told = json.loads(request.data)
        asked.append(told)
        label = "rent" if "rent" in told["messages"][-1]["content"] else "law"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": label}}
        said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        counts = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        return Response(json.dumps(said | {"usage": counts}), content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(says)
    url = {"base_url": httpserver.url_for("/v1"), "model": "remote-1", "allowed_hosts": ["localhost", "127.0.0.1"]}
    return {"endpoint": url, "asked": asked}


@pytest.fixture
def raw_spec(snapshot, tiny_model, tiny_adapter, endpoint):
    return {
        "base_model": {"key": "tiny", "path": str(tiny_model)},
        "models": [
            {"key": "base", "name": "Tiny"},
            {"key": "remote", "name": "Remote", "endpoint": endpoint["endpoint"]},
            {"key": "tuned", "name": "Tuned", "adapter": str(tiny_adapter)},
            {"key": "asked", "name": "Asked better", "prompt": {"system": "Name the label.", "shots": 2}},
        ],
        "snapshot": {"path": str(snapshot), "sha256": "abc"},
        "task_type": "classification",
        "suites": ["quality"],
        "max_new_tokens": 3,
        "slices": {"columns": ["office"]},
        "rules": [{"id": "7", "name": "A label", "kind": "labels", "demand": {"labels": ["rent", "law"]}}],
        "regressions": [
            {
                "id": "1",
                "messages": [{"role": "user", "content": "Who pays the rent?"}],
                "expected": "Rent.",
                "note": "",
            },
            {"id": "2", "messages": [{"role": "user", "content": "Which law?"}], "expected": "the rent", "note": ""},
        ],
        "discordance": 0.3,
    }


def run_it(raw, out):
    sink = ListSink()
    evaluate(spec_of(raw), out, Run(sink))
    return json.loads((out / "report.json").read_text()), sink.events


def test_every_kind_of_model_answers_every_case(raw_spec, tmp_path):
    report, _ = run_it(raw_spec, tmp_path / "out")
    kinds = {model["key"]: model["kind"] for model in report["models"]}
    assert kinds == {"base": "base", "remote": "endpoint", "tuned": "trained", "asked": "prompted"}
    assert (report["subject"], report["against"]) == ("tuned", "base")
    scores = {model["key"]: {s["metric"]: s["value"] for s in model["scores"]} for model in report["models"]}
    assert scores["remote"]["accuracy"] == 1.0
    assert "perplexity" not in scores["remote"]
    assert "perplexity" in scores["asked"]
    samples = pq.read_table(tmp_path / "out" / "samples.parquet").to_pydict()
    assert samples["remote_answer"] == samples["label"]
    assert samples["remote_nll"] == [None] * CASES
    assert samples["remote_score"] == [1.0] * CASES
    assert json.loads(samples["metadata"][1]) == {"office": "south"}
    assert json.loads(samples["messages"][0]) == [{"role": "user", "content": samples["prompt"][0]}]


def test_rules_and_cases_that_must_not_be_forgotten_are_asked_of_every_model(raw_spec, tmp_path):
    report, _ = run_it(raw_spec | {"subject": "remote", "against": "base"}, tmp_path / "out")
    (rule,) = report["acceptance"]
    assert (rule["id"], rule["n"], rule["passed"], rule["failures"]) == ("7", CASES, CASES, [])
    assert set(rule["by_model"]) == {"base", "remote", "tuned", "asked"}
    assert rule["by_model"]["base"] < 1.0
    kept = report["regressions"]
    assert (kept["n"], kept["passed"]) == (2, 1)
    assert [(case["id"], case["answer"], case["expected"]) for case in kept["failed"]] == [("2", "law", "the rent")]
    # All its answers are right, and still it is not to be used: a case that must not be forgotten went wrong.
    assert report["verdict"]["kind"] == "do_not_ship"
    assert report["comparison"]["difference"] > 0.5


def test_prompting_is_weighed_against_training(raw_spec, tmp_path):
    report, _ = run_it(raw_spec, tmp_path / "out")
    assert report["prompting"]["key"] == "asked"
    assert "Asked better" in report["prompting"]["sentence"]
    assert {"suite": "prompting", "tone": "warn", "text": report["prompting"]["sentence"]} in report["findings"]


def test_the_report_has_the_shape_that_was_promised(raw_spec, tmp_path):
    report, _ = run_it(raw_spec | {"suites": ["quality", "performance", "cost"], "limit": 20}, tmp_path / "out")
    assert report["suites_run"] == ["quality", "performance", "cost"]
    assert report["suites_left_out"] == []
    assert {finding["tone"] for finding in report["findings"]} <= {"ok", "warn", "bad"}
    quality = report["quality"]
    assert quality["automated_metrics"]["exact_match"] is not None
    assert set(quality["sample_for_review"]) <= set(range(1, CASES + 1))
    assert quality["human_eval_needed"] in (True, False)
    assert (quality["calibration"], bool(quality["calibration_reason"])) == (None, True)
    speed = report["performance"]
    assert [test["batch_size"] for test in speed["throughput_tests"]] == [1, 10, 50, 100]
    assert set(speed["throughput_tests"][0]) >= {"batch_size", "throughput", "avg_latency"}
    for name in (
        "avg_latency",
        "p50_latency",
        "p95_latency",
        "p99_latency",
        "time_to_first_token",
        "tokens_per_second",
    ):
        assert speed[name] > 0
    assert speed["by_model"]["tuned"]["avg_latency"] == speed["avg_latency"]
    remote = speed["by_model"]["remote"]
    assert (remote["throughput_tests"], remote["time_to_first_token"]) == ([], None)
    assert remote["avg_latency"] > 0
    assert "endpoint" in remote["reason"]
    for name in ("robustness", "fairness", "capabilities", "judge"):
        assert report[name] is None
    assert set(report["cost"]["by_model"]) == {"base", "remote", "tuned", "asked"}
    overall = report["overall_score"]
    assert math.isclose(sum(part["weight"] for part in overall["parts"]), 1.0)
    assert overall["failed_rules"] == ["A label"]
    assert (report["power"]["n"], report["power"]["discordance"]) == (20, 0.3)
    assert report["slices"][0]["by"] == "metadata:office"
    assert set(report["clusters"][0]) >= {"title", "size", "rows", "terms", "example"}


@pytest.mark.slow
def test_all_suites_in_one_evaluation(raw_spec, tmp_path):
    spec = raw_spec | {"suites": ["quality", *SUITES], "limit": 20, "max_new_tokens": 2}
    spec["models"] = [model for model in raw_spec["models"] if model["key"] in ("base", "tuned")]
    spec["fairness"] = {"columns": ["office"]}
    report, events = run_it(spec, tmp_path / "out")
    assert report["suites_run"] == ["quality", "performance", "robustness", "fairness", "cost", "capabilities"]
    assert {test["test"] for test in report["robustness"]} == {
        "typo_resistance",
        "format_flexibility",
        "edge_case_handling",
        "adversarial_resistance",
    }
    assert {"groups", "counterfactual"} <= set(report["fairness"])
    assert {"probes", "general_text"} <= set(report["capabilities"])
    told = [event.data for event in events if event.kind == "progress"]
    assert [data["done"] for data in told] == sorted(data["done"] for data in told)
    assert told[-1]["done"] == told[-1]["total"]


def test_a_second_evaluation_with_the_same_store_asks_nothing(raw_spec, tmp_path, endpoint):
    raw_spec["answer_store"] = str(tmp_path / "answers.sqlite")
    first, _ = run_it(raw_spec, tmp_path / "one")
    asked = len(endpoint["asked"])
    second, _ = run_it(raw_spec, tmp_path / "two")
    assert len(endpoint["asked"]) == asked == CASES + 2
    assert first["run"]["questions_asked"] > 0
    assert second["run"]["questions_asked"] == 0
    assert second["models"] == first["models"]
    assert second["verdict"] == first["verdict"]


def test_the_base_answers_the_same_when_a_tuned_model_came_before_it(raw_spec, tmp_path):
    first, _ = run_it(raw_spec, tmp_path / "one")
    turned, _ = run_it(raw_spec | {"models": raw_spec["models"][::-1]}, tmp_path / "two")
    by_key = [{model["key"]: model["scores"] for model in report["models"]} for report in (first, turned)]
    assert by_key[0] == by_key[1]
    assert [model["key"] for model in turned["models"]] == ["asked", "tuned", "remote", "base"]


class Refusing:
    """A suite that one model cannot take part in."""

    name = "fairness"

    def questions(self, bench):
        return 5

    def observe(self, bench, asker):
        if asker.spec.kind == "endpoint":
            raise UserError("not_here", "it gives no likelihoods.")
        return 1

    def conclude(self, bench, observed):
        return SuiteResult({"seen": dict(observed)}, 1.0)


def test_a_suite_that_cannot_be_carried_out_is_left_out_with_its_reason(raw_spec, tmp_path, monkeypatch):
    monkeypatch.setitem(SUITES, "fairness", Refusing)
    report, events = run_it(raw_spec | {"suites": ["quality", "fairness"]}, tmp_path / "out")
    assert report["suites_left_out"] == [{"suite": "fairness", "reason": "Remote: it gives no likelihoods."}]
    assert report["fairness"] is None
    assert "suite_left_out" in [event.data.get("code") for event in events]
    assert report["overall_score"]["left_out"] != []


def test_a_mistake_of_ours_in_a_suite_still_fails_the_evaluation(raw_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(Refusing, "observe", lambda *_: 1 / 0)
    monkeypatch.setitem(SUITES, "fairness", Refusing)
    with pytest.raises(ZeroDivisionError):
        run_it(raw_spec | {"suites": ["quality", "fairness"]}, tmp_path / "out")


def test_an_endpoint_that_fails_ends_the_evaluation_and_names_it(raw_spec, tmp_path, httpserver):
    httpserver.clear()
    httpserver.expect_request("/v1/chat/completions").respond_with_data("no", status=401)
    with pytest.raises(UserError, match="remote-1"):
        run_it(raw_spec, tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.slow
def test_the_command_line_evaluates_four_models_without_django(raw_spec, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(raw_spec))
    program = (
        "import sys; sys.modules['django'] = None; import runpy;"
        f"sys.argv = ['finetune_engine', 'evaluate', {str(tmp_path / 'spec.json')!r}, '--out', {str(tmp_path / 'out')!r}];"
        "runpy.run_module('finetune_engine', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events = [parse_line(line) for line in done.stdout.splitlines()]
    assert None not in events
    assert events[-1].kind == "done"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [model["key"] for model in report["models"]] == ["base", "remote", "tuned", "asked"]
