from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from finetune_engine.evaluate.asking.asker import Answer
from finetune_engine.evaluate.conclusions.clusters import FEWEST_WRONG, clusters_of
from finetune_engine.evaluate.conclusions.slices import fisher_exact, slice_findings, slices_of
from finetune_engine.evaluate.conclusions.topics import topics_of
from finetune_engine.evaluate.scoring import Uncertainty
from finetune_engine.evaluate.spec import SliceSettings
from tests.finetune_engine.evaluate.suites.conftest import case, make_bench

FILLERS = ["Please tell me", "Could you say", "I would like to know", "Explain to me", "We wonder"]
SUBJECTS = {
    "rent": ["rent", "tenant", "landlord", "deposit"],
    "tax": ["tax", "invoice", "refund", "declaration"],
    "visa": ["visa", "passport", "border", "permit"],
}


def questions(n):
    """``(subject, question)``: subjects take turns, wording and length vary."""
    kinds = list(SUBJECTS)
    made = []
    for number in range(n):
        subject = kinds[number % 3]
        words = SUBJECTS[subject]
        chosen = [words[(number // 3 + step) % 4] for step in range(2 + number % 3)]
        made.append((subject, f"{FILLERS[number % 5]} about the {' and the '.join(chosen)}?"))
    return made


def bench_with(n, right, *, columns=("subject",), task_type="completion", **fields):
    """A bench whose subject is right where ``right(number, subject)`` says so; the base is always wrong."""
    made = questions(n)
    cases = [
        case(number, text, "yes", "yes" if task_type == "classification" else None, subject=subject, half=number % 2)
        for number, (subject, text) in enumerate(made)
    ]
    bench = make_bench(
        cases, task_type=task_type, slices=SliceSettings(tuple(columns)), headline="exact_match", **fields
    )
    said = [right(number, subject) for number, (subject, _) in enumerate(made)]
    bench.values["tuned"] = np.asarray(said, dtype=np.float64)
    bench.values["base"] = np.zeros(n)
    bench.answers["tuned"] = [Answer("yes" if is_right else "no", "stop") for is_right in said]
    return bench


def fails_on_visa(number, subject):
    return subject != "visa" or number % 10 == 2


def by_value(bench, by="metadata:subject"):
    return {one["value"]: one for one in slices_of(bench) if one["by"] == by}


def test_a_planted_weakness_is_found_by_its_column_and_by_its_topic():
    bench = bench_with(300, fails_on_visa)
    found = by_value(bench)
    assert found["visa"]["is_finding"]
    assert found["visa"]["subject"]["value"] < 0.2
    assert found["visa"]["difference"] < -0.7
    assert "Where subject is “visa”: 10 % on 100 cases" in found["visa"]["sentence"]
    topics = [
        one for one in slices_of(bench) if one["by"] == "topic" and one["is_finding"] and one["difference"] < -0.5
    ]
    assert any(set(SUBJECTS["visa"]) & set(one["value"].replace(",", " ").split()) for one in topics)


def test_findings_are_the_slices_that_are_worse_and_the_worst_comes_first():
    findings = slice_findings(slices_of(bench_with(300, fails_on_visa)))
    assert findings
    assert {one["tone"] for one in findings} == {"warn"}
    assert all("worse beyond chance" in one["text"] for one in findings)


@pytest.mark.parametrize("seed", range(5))
def test_chance_alone_makes_no_finding(seed):
    luck = np.random.default_rng(seed).random(400) < 0.7
    found = slices_of(bench_with(400, lambda number, _: luck[number], columns=("subject", "half")))
    assert len(found) > 8
    assert [one for one in found if one["is_finding"]] == []


def test_the_other_model_is_measured_on_the_same_slice():
    bench = bench_with(120, lambda *_: True)
    bench.values["base"][::3] = 1.0  # right on every question about rent
    assert by_value(bench)["rent"]["against"]["value"] == 1.0
    assert by_value(bench)["tax"]["against"]["value"] == 0.0


def test_a_small_slice_is_marked_and_never_a_finding():
    found = by_value(bench_with(75, fails_on_visa))
    assert {one["n"] for one in found.values()} == {25}
    assert all(one["is_small"] and not one["is_finding"] and one["p_holm"] is None for one in found.values())


def test_lengths_are_quarters_of_the_cases():
    found = [one for one in slices_of(bench_with(300, fails_on_visa)) if one["by"] == "length"]
    assert 2 <= len(found) <= 4
    assert sum(one["n"] for one in found) == 300
    assert found[0]["value"].startswith("up to")


def test_questions_of_one_length_make_no_slices_by_length():
    bench = make_bench([case(number, "abc", "x") for number in range(60)])
    bench.values |= {"tuned": np.ones(60), "base": np.ones(60)}
    assert slices_of(bench) == []


def test_labels_are_the_topics_of_classification():
    cases = [case(n, f"q{n}", label, label) for n, label in enumerate(["a", "b"] * 40)]
    bench = make_bench(cases, task_type="classification")
    bench.values |= {"tuned": np.asarray([1.0, 0.0] * 40), "base": np.zeros(80)}
    found = by_value(bench, "topic")
    assert set(found) == {"a", "b"}
    assert found["b"]["is_finding"]


def test_a_few_dependent_groups_are_no_proof():
    # 100 rows of 'visa', but from three documents: rows of one document fail together.
    bench = bench_with(300, lambda number, subject: subject != "visa" or number % 2 == 0)
    assert by_value(bench)["visa"]["is_finding"]
    grouped = [number % 3 * 2 + number % 2 for number in range(300)]
    assert not by_value(replace(bench, how=Uncertainty(7, grouped)))["visa"]["is_finding"]


def test_fishers_exact_test_is_that_of_scipy():
    for right_inside, inside, right, n in [(3, 30, 150, 300), (30, 30, 200, 300), (12, 40, 90, 300), (0, 50, 5, 400)]:
        rows = [[right_inside, inside - right_inside], [right - right_inside, n - inside - right + right_inside]]
        assert fisher_exact(right_inside, inside, right, n) == pytest.approx(stats.fisher_exact(rows).pvalue, rel=1e-6)


def test_wrong_cases_are_gathered_by_what_they_are_about():
    bench = bench_with(300, lambda number, subject: subject == "rent")
    clusters = clusters_of(bench)
    assert sum(one["size"] for one in clusters) == 200
    largest = clusters[0]
    about = {questions(300)[row][0] for row in largest["rows"]}
    assert len(about) == 1
    assert set(largest["title"].replace(",", " ").split()) & set(SUBJECTS[about.pop()])
    assert largest["example"]["row"] in largest["rows"]
    assert (largest["example"]["reference"], largest["example"]["answer"]) == ("yes", "no")
    assert largest["size"] == len(largest["rows"]) >= clusters[-1]["size"]


def test_a_handful_of_wrong_cases_is_no_pattern():
    assert clusters_of(bench_with(100, lambda number, _: number >= FEWEST_WRONG - 1)) == []


def test_texts_without_a_word_in_common_make_no_topics():
    assert topics_of(["", "  ", "?"], 2, seed=1) == []


def test_topics_are_the_same_for_the_same_seed():
    texts = [text for _, text in questions(120)]
    assert topics_of(texts, 3, seed=1) == topics_of(texts, 3, seed=1)


def test_scripts_without_spaces_have_topics_too():
    texts = [f"租金押金多少第{number}" if number % 2 else f"签证护照怎么办第{number}" for number in range(40)]
    topics = topics_of(texts, 2, seed=1)
    assert [len(topic.members) for topic in topics] == [20, 20]
    assert any("租金" in topic.terms or "押金" in topic.terms for topic in topics)


def test_topics_of_real_questions_follow_their_domain(shared_data):
    import json

    data = json.loads((shared_data / "classification" / "clinc150_data_full.json").read_text())
    wanted = {"translate", "pto_request", "exchange_rate"}
    rows = [(text, label) for text, label in data["test"] if label in wanted]
    topics = topics_of([text for text, _ in rows], 3, seed=42)
    largest = [max(np.unique([rows[at][1] for at in topic.members], return_counts=True)[1]) for topic in topics]
    assert sum(largest) / len(rows) > 0.8  # nearly every topic is one of the three intents
