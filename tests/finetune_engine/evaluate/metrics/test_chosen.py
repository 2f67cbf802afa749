import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.metrics.chosen import METRICS, headline_of, headlines_for, metrics_for
from finetune_engine.evaluate.metrics.metric import Material

LABELLED = Material(
    ["a", "b", "?"], ["a", "a", "b"], ["a", "a", "b"], ["a", "b"], ["a", "b", "b"], [1.0, 2.0, 3.0], [1, 2, 3]
)
TEXTS = Material(["the rent", "no"], ["the rent is due", "no"], nll=[1.0, 2.0], tokens=[3, 1])


def names(task_type, material, wanted=None):
    return [metric.name for metric in metrics_for(task_type, material, wanted)]


def test_labels_are_judged_as_labels():
    found = names("classification", LABELLED)
    assert {"accuracy", "accuracy_loglik", "macro_f1", "mcc", "exact_match", "perplexity"} <= set(found)
    assert not {"bleu", "rouge1", "f1", "json_valid"} & set(found)


def test_texts_are_judged_by_overlap_and_json_only_where_there_is_json():
    found = names("completion", TEXTS)
    assert {"f1", "bleu", "chrf", "ter", "rouge1", "rougeLsum", "perplexity", "bits_per_byte"} <= set(found)
    assert not {"accuracy", "mcc", "json_valid", "field_f1"} & set(found)
    assert "field_f1" in names("completion", Material(["{}"], ['{"a": 1}']))


def test_a_model_without_likelihoods_is_judged_without_them():
    found = names("chat", Material(["x"], ["y"]))
    assert not {"perplexity", "bits_per_byte"} & set(found)


def test_named_metrics_are_those_and_no_others():
    assert names("classification", LABELLED, ["bleu", "accuracy"]) == ["accuracy", "bleu"]


def test_a_metric_nobody_knows_is_a_mistake_with_the_list():
    with pytest.raises(UserError) as caught:
        names("chat", TEXTS, ["bluee"])
    assert caught.value.field == "metrics"
    assert "chrf" in caught.value.place.expected


def test_the_headline_is_named_in_advance_and_can_be_chosen():
    assert headline_of("classification") == "accuracy"
    assert headline_of("chat") == "f1"
    assert headline_of("chat", "chrf") == "chrf"


@pytest.mark.parametrize("metric", ["perplexity", "macro_f1", "nonsense"])
def test_a_metric_without_a_value_for_one_answer_is_no_headline(metric):
    with pytest.raises(UserError) as caught:
        headline_of("classification", metric)
    assert caught.value.field == "headline"


@pytest.mark.parametrize("task_type", ["classification", "completion", "chat", "preference"])
def test_every_possible_headline_gives_each_case_a_value(task_type):
    material = LABELLED if task_type == "classification" else TEXTS
    for name in headlines_for(task_type):
        if not METRICS[name].suits(material):
            continue
        values = METRICS[name].measure(material).values
        assert values is not None
        assert len(values) == len(material.answers)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_keeps_the_contract(name):
    metric = METRICS[name]
    material = Material(
        ["a", '{"a": 1}', ""], ['{"a": 1}', '{"a": 1}', '{"b": 2}'], ["a", "b", "a"], ["a", "b"], ["a", "b", "b"],
        [1.0, 2.0, 3.0], [1, 2, 3],
    )  # fmt: skip
    found = metric.measure(material)
    assert found.rows.shape[0] == 3
    assert found.of_sums(found.rows).shape == (3,)
    assert isinstance(found.value, float)
    assert found.signature
    if metric.is_proportion:
        assert set(found.values.tolist()) <= {0.0, 1.0}
    assert metric.unit in ("share", "hundred", "number")
