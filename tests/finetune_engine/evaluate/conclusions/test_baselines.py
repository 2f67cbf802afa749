import json

import pytest

from finetune_engine.evaluate.conclusions.baselines import fit_baselines, majority, tfidf

TRAIN = [("pay the rent", "rent"), ("rent is due", "rent"), ("governed by law", "law"), ("law of a state", "law")]


def test_the_majority_is_the_most_frequent_label_and_ties_are_settled_by_name():
    assert majority(["b", "a", "b"], ["x", "y"]).predictions == ["b", "b"]
    assert majority(["b", "a"], ["x"]).predictions == ["a"]


def test_the_keyword_classifier_learns_the_words():
    found = fit_baselines(TRAIN, ["which law governs", "my rent"])
    assert [baseline.key for baseline in found] == ["majority", "tfidf"]
    assert found[1].predictions == ["law", "rent"]


def test_one_label_or_no_words_leave_only_the_majority():
    assert tfidf(["a b", "c d"], ["x", "x"], ["a b"]) is None
    assert tfidf(["?", "!"], ["x", "y"], ["?"]) is None
    assert [baseline.key for baseline in fit_baselines([("word", "x")], ["word"])] == ["majority"]
    assert fit_baselines([], ["word"]) == []


@pytest.mark.slow
def test_it_is_an_honest_rival_on_real_contract_clauses(shared_data):
    folder = shared_data / "legal"
    train, test = (
        [json.loads(line) for line in (folder / f"cuad_clause_type.{part}.jsonl").read_text().splitlines()]
        for part in ("train", "test")
    )
    found = tfidf([r["text"] for r in train], [r["label"] for r in train], [r["text"] for r in test])
    right = sum(said == row["label"] for said, row in zip(found.predictions, test, strict=True))
    assert right / len(test) > 0.78
