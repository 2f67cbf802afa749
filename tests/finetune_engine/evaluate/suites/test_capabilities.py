"""Forgetting: planted in scripted models and in a real tiny one that is trained too hard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.evaluate.probes import passages, probes
from finetune_engine.evaluate.spec import Endpoint, ModelSpec, spec_of
from finetune_engine.evaluate.suites.capabilities import Capabilities, bare_base, choice_scores
from finetune_engine.evaluate.suites.suite import SuiteResult
from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import WriteSnapshot
from tests.finetune_engine.evaluate.suites.conftest import FakeAsker, case, make_bench, run_suite

RIGHT = {question.choices[question.answer]: question for probe in probes() for question in probe.questions}
KNOWN = set(RIGHT)


def costs(*, knows: float, surprise: float = 2.0):
    """A model that knows every n-th answer so that ``knows`` of them are right, at ``surprise`` nats per word of text."""
    known = {answer for place, answer in enumerate(sorted(KNOWN)) if (place * knows) % 1 < knows}

    def nll(messages, text: str) -> float:
        words = len(text.split()) + 1
        if text in passages():
            return surprise * words
        # Wrong choices cost 2 nats a word; a right one costs less where it is known, and more where it is not.
        return words * (1.0 if text in known else 3.0 if text in KNOWN else 2.0)

    return nll


def fake(key: str, *, knows: float = 0.9, surprise: float = 2.0, says: str = "Paris") -> FakeAsker:
    return FakeAsker(lambda messages: says, key=key, nll=costs(knows=knows, surprise=surprise))


def looked_at(base: FakeAsker, tuned: FakeAsker) -> SuiteResult:
    return run_suite(make_bench([case(1, "Is it due?", "Yes")]), Capabilities(), {"base": base, "tuned": tuned})


def by_probe(result: SuiteResult) -> dict[str, Any]:
    return {row["probe"]: row for row in result.section["probes"]}


def test_a_model_that_lost_half_of_what_it_knew_is_warned_about():
    result = looked_at(fake("base"), fake("tuned", knows=0.45))
    knowledge = by_probe(result)["knowledge"]
    assert knowledge["measurable"]
    assert knowledge["retention"] < 0.6
    assert knowledge["is_finding"]
    assert "made the model forget" in knowledge["sentence"]
    assert {finding["tone"] for finding in result.findings} == {"warn"}
    assert result.score < 0.7


def test_a_model_that_kept_everything_is_left_alone():
    result = looked_at(fake("base"), fake("tuned"))
    assert all(row["retention"] == 1.0 for row in result.section["probes"])
    assert not result.section["general_text"]["is_finding"]
    assert [finding["tone"] for finding in result.findings] == ["ok"]
    assert result.score == 1.0


def test_a_base_that_only_guesses_leaves_the_judgement_to_ordinary_text():
    result = looked_at(fake("base", knows=0.25), fake("tuned", knows=0.2, surprise=2.5))
    knowledge = by_probe(result)["knowledge"]
    assert (knowledge["measurable"], knowledge["retention"]) == (False, None)
    assert "not clearly better than guessing" in knowledge["reason"]
    assert result.section["general_text"]["change"] == pytest.approx(0.25)
    assert [finding["text"] for finding in result.findings if "Ordinary text" in finding["text"]]


def test_guessing_and_an_unchanged_surprise_give_no_warning():
    result = looked_at(fake("base", knows=0.25), fake("tuned", knows=0.1, surprise=2.1))
    assert {finding["tone"] for finding in result.findings} == {"ok"}
    assert 0.9 < result.score < 1.0


def test_a_base_that_knows_no_language_at_all_is_accused_of_nothing():
    # 14 nats a word are more than guessing among a million tokens costs.
    result = looked_at(fake("base", knows=0.25, surprise=14.0), fake("tuned", knows=0.1, surprise=20.0))
    text = result.section["general_text"]
    assert (text["measurable"], text["change"], text["is_finding"]) == (False, None, False)
    assert (result.findings, result.score) == ([], None)
    assert "no better than guessing" in result.reason


def test_guessed_shares_are_told_beside_the_measured_ones():
    rows = by_probe(looked_at(fake("base"), fake("tuned", knows=0.45)))
    assert (rows["knowledge"]["chance"], rows["language"]["chance"]) == (0.25, 0.5)
    assert rows["knowledge"]["base_per_byte"] >= 0


def test_a_model_that_finds_all_choices_equally_likely_gets_no_credit():
    flat = FakeAsker(lambda messages: "", key="tuned", nll=lambda messages, text: 1.0)
    assert by_probe(looked_at(fake("base"), flat))["knowledge"]["tuned"] == 0.0


def test_open_answers_are_shown_before_and_after():
    result = looked_at(fake("base", says="Paris"), fake("tuned", says="clause 7"))
    first = result.section["examples"][0]
    assert (first["base_answer"], first["tuned_answer"]) == ("Paris", "clause 7")
    assert len(result.section["examples"]) >= 4


def test_a_model_behind_an_address_is_not_measurable_and_says_why():
    there = ModelSpec("tuned", "There", None, endpoint=Endpoint("https://there.example/v1", "m", None, ()))
    silent = FakeAsker(lambda messages: "Paris", spec=there)
    bench = make_bench([case(1, "Is it due?", "Yes")], models=["base", there])
    result = run_suite(bench, Capabilities(), {"base": fake("base"), "tuned": silent})
    assert result.score is None
    assert "bare base model" in result.reason
    assert all(row["reason"] == result.reason for row in result.section["probes"])


def test_without_its_bare_base_there_is_nothing_to_compare_with():
    other = ModelSpec("base", "Other", BaseModelRef("other", path="/elsewhere"))
    bench = make_bench([case(1, "Is it due?", "Yes")], models=[other, "tuned"])
    assert bare_base(bench) is None
    result = run_suite(bench, Capabilities(), {"base": fake("base"), "tuned": fake("tuned")})
    assert "was not among the models asked" in result.reason
    assert result.findings == []


def test_the_reference_is_the_bare_base_even_when_the_comparison_is_with_another_model():
    bench = make_bench([case(1, "Is it due?", "Yes")], models=["base", "earlier", "tuned"], against="earlier")
    askers = {"base": fake("base"), "earlier": fake("earlier", knows=0.5), "tuned": fake("tuned", knows=0.45)}
    result = run_suite(bench, Capabilities(), askers)
    # "earlier" knows half, and would make the loss look small.
    assert by_probe(result)["knowledge"]["base"] > 0.7


def test_sentences_are_weighed_as_running_text_without_a_question():
    seen = []
    asker = FakeAsker(lambda messages: "", nll=lambda messages, text: seen.append(messages) or 1.0)
    choice_scores(asker, next(probe for probe in probes() if probe.name == "language"))
    assert set(seen) == {()}


def test_the_progress_bar_counts_what_is_asked():
    asker = fake("tuned")
    suite, bench = Capabilities(), make_bench([case(1, "Is it due?", "Yes")])
    suite.observe(bench, asker)
    told = suite.questions(bench)
    choices = sum(
        len(question.choices) - 1 for probe in probes() if probe.way == "answers" for question in probe.questions
    )
    assert told == asker.scored - choices + asker.asked


# ---- a real tiny model -------------------------------------------------------------------------------------------------

TRAINING = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "early_stopping_patience": 0,
    "eval_steps": 500,
    "save_steps": 500,
}
ORDERS = [(f"Order {n * 37 % 1000}", f"ZX-{n * 91 % 997}-QK-{n * 13 % 89}") for n in range(72)]
DOGS = [(f"The dog number {n} is {'happy' if n % 2 else 'sad'}.", "good" if n % 2 else "bad") for n in range(72)]


def trained(stories: Path, write_snapshot: WriteSnapshot, run: Run, out: Path, pairs: Any, **settings: Any) -> Path:
    from finetune_engine.train.backends.local_peft import run_training

    out.mkdir()
    raw = {
        "base_model": {"key": "stories", "path": str(stories)},
        "snapshot": {"path": str(write_snapshot(64, 8, pairs)), "sha256": None},
        "training": TRAINING | settings,
        "resume_from": None,
        "threads": 1,
    }
    run_training(run, RunSpec.from_dict(raw), out)
    return out / "artefact"


def forgetting(stories: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """The report of a whole evaluation of a real model and its adapter."""
    from finetune_engine.evaluate.run import evaluate

    table = [
        {
            "row": number,
            "split": "test",
            "messages": json.dumps([{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]),
            "prompt": asked,
            "answer": answer,
            "label": None,
            "metadata": "{}",
            "content_hash": str(number),
        }
        for number, (asked, answer) in enumerate(ORDERS[:6], 1)
    ]
    pq.write_table(pa.Table.from_pylist(table), folder / "test.parquet")
    raw = {
        "base_model": {"key": "stories", "path": str(stories)},
        "models": [{"key": "base", "adapter": None}, {"key": "tuned", "adapter": str(adapter)}],
        "snapshot": {"path": str(folder / "test.parquet"), "sha256": None},
        "task_type": "completion",
        "suites": ["quality", "capabilities"],
    }
    evaluate(spec_of(raw), folder / "report", Run(ListSink()))
    report: dict[str, Any] = json.loads((folder / "report" / "report.json").read_text())
    return report


def tones(report: dict[str, Any]) -> set[str]:
    return {found["tone"] for found in report["findings"] if found["suite"] == "capabilities"}


def test_a_real_model_trained_hard_on_order_numbers_is_found_to_have_forgotten(
    stories: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    adapter = trained(stories, write_snapshot, run, tmp_path / "hard", ORDERS, num_train_epochs=4, learning_rate=1e-2)
    report = forgetting(stories, adapter, tmp_path)
    found = {row["probe"]: row for row in report["capabilities"]["probes"]}
    grammar, text = found["language"], report["capabilities"]["general_text"]
    # The base tells 85 of 96 pairs apart, far above chance, so that the probe itself can be measured.
    assert grammar["measurable"]
    assert grammar["base"] > 0.8
    assert grammar["retention"] < 0.7
    assert grammar["is_finding"]
    assert text["change"] > 0.10
    assert text["is_finding"]
    assert tones(report) == {"warn"}
    # Its general knowledge was never better than guessing, and nothing is claimed about it.
    assert found["knowledge"]["retention"] is None
    assert any(row["base_answer"] != row["tuned_answer"] for row in report["capabilities"]["examples"])


def test_a_real_model_trained_gently_raises_no_alarm(
    stories: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    adapter = trained(
        stories, write_snapshot, run, tmp_path / "gentle", DOGS, num_train_epochs=2, learning_rate=5e-4, r=8
    )
    report = forgetting(stories, adapter, tmp_path)
    assert abs(report["capabilities"]["general_text"]["change"]) < 0.10
    assert tones(report) == {"ok"}
    assert report["capabilities"]["probes"][2]["retention"] > 0.8


@pytest.mark.parametrize(
    ("surprise", "said", "is_finding"),
    [(1.2, "nothing was lost", False), (2.1, "usual after training", False), (float("inf"), "broke the model", True)],
)
def test_ordinary_text_is_told_in_words_that_fit_its_direction(surprise, said, is_finding):
    told = looked_at(fake("base"), fake("tuned", surprise=surprise)).section["general_text"]
    assert said in told["sentence"]
    assert told["is_finding"] == is_finding


def test_less_than_guessing_is_told_as_nothing_left():
    rows = by_probe(looked_at(fake("base"), fake("tuned", knows=0.0)))
    assert "0 % of the ability is left" in rows["knowledge"]["sentence"]
    assert "-" not in rows["knowledge"]["sentence"]
