import json
from pathlib import Path

import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.spec import PromptVariant, read_spec, spec_of

BASE = {"key": "tiny", "path": "/models/tiny"}
REMOTE = {"base_url": "https://models.example/v1/", "model": "big", "key_variable": "KEY", "allowed_hosts": ["a:1"]}


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "snapshot.parquet").write_bytes(b"")
    (tmp_path / "adapter").mkdir()
    return {
        "base_model": BASE,
        "models": [
            {"key": "base"},
            {"key": "tuned", "name": "Tuned", "adapter": str(tmp_path / "adapter")},
            {"key": "asked", "prompt": {"system": "Be brief.", "shots": 3}},
            {"key": "remote", "endpoint": REMOTE},
        ],
        "snapshot": {"path": str(tmp_path / "snapshot.parquet")},
    }


def test_every_kind_of_model_is_told_apart(raw):
    spec = spec_of(raw)
    assert [model.kind for model in spec.models] == ["base", "trained", "prompted", "endpoint"]
    assert spec.model("asked").prompt == PromptVariant("Be brief.", 3)
    assert spec.model("remote").endpoint.base_url == "https://models.example/v1"
    assert spec.model("remote").base is None
    assert spec.model("base").name == "base"


def test_the_subject_is_the_trained_model_and_stands_against_the_bare_base(raw):
    spec = spec_of(raw)
    assert (spec.subject, spec.against) == ("tuned", "base")
    assert (spec.tuned.key, spec.base.key) == ("tuned", "base")


def test_both_can_be_named(raw):
    spec = spec_of(raw | {"subject": "remote", "against": "tuned"})
    assert (spec.subject, spec.against) == ("remote", "tuned")


def test_a_base_alone_is_its_own_subject_and_no_tuned_model(raw):
    spec = spec_of(raw | {"models": raw["models"][:1]})
    assert (spec.subject, spec.against, spec.tuned) == ("base", None, None)


def test_all_parts_are_read(raw):
    price = {
        "input_per_million": 1,
        "output_per_million": 2.5,
        "currency": "EUR",
        "source": "https://x",
        "at": "2026-01-01",
    }
    spec = spec_of(
        raw
        | {
            "task_type": "classification",
            "suites": ["fairness", "quality"],
            "headline": "accuracy",
            "metrics": ["mcc"],
            "weights": {"quality": 1, "cost": 0},
            "rules": [{"id": "1", "name": "Short", "kind": "length", "demand": {"most": 5}}],
            "regressions": [{"id": 4, "messages": [{"role": "user", "content": "?"}], "expected": "!"}],
            "slices": {"columns": ["office", "office"]},
            "fairness": {"columns": ["gender"], "lists": {"names": [["Ann"], ["Bob", "Rob"]]}},
            "cost": {
                "prices": {"remote": price},
                "device_hour": {"amount": 2, "currency": "EUR"},
                "watts": 300,
                "training": {"seconds": 60, "device": "cpu"},
                "alternatives": [price | {"name": "Other"}],
            },
            "judge": REMOTE | {"rubric": "Kind?", "sample": 9},
            "answer_store": "/somewhere/answers.sqlite",
            "discordance": 0.4,
        }
    )
    assert spec.suites == ("quality", "fairness")
    assert (spec.headline, spec.metrics, spec.weights) == ("accuracy", ("mcc",), {"quality": 1.0, "cost": 0.0})
    assert spec.rules[0].name == "Short"
    assert (spec.regressions[0].id, spec.regressions[0].expected) == ("4", "!")
    assert spec.slices.columns == ("office",)
    assert spec.fairness.lists == {"names": (("Ann",), ("Bob", "Rob"))}
    assert (spec.cost.prices["remote"].output_per_million, spec.cost.device_hour.amount) == (2.5, 2.0)
    assert (spec.cost.watts, spec.cost.training.device, spec.cost.training.amount) == (300.0, "cpu", None)
    assert (spec.cost.alternatives[0].name, spec.cost.alternatives[0].price.currency) == ("Other", "EUR")
    assert (spec.judge.endpoint.model, spec.judge.rubric, spec.judge.sample) == ("big", "Kind?", 9)
    assert (spec.answer_store, spec.discordance) == (Path("/somewhere/answers.sqlite"), 0.4)


def test_what_is_left_out_has_its_usual_value(raw):
    spec = spec_of(raw)
    assert (spec.rules, spec.regressions, spec.judge, spec.answer_store) == ((), (), None, None)
    assert (spec.metrics, spec.headline, dict(spec.weights), spec.discordance) == (None, None, {}, 0.2)
    assert (spec.cost.prices, spec.cost.training, spec.fairness.columns) == ({}, None, ())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": "nobody"}, "subject"),
        ({"against": "nobody"}, "against"),
        ({"subject": "base", "against": "base"}, "against"),
        ({"models": [{"key": "a", "prompt": {"shots": -1}}]}, "models.prompt.shots"),
        ({"models": [{"key": "a", "prompt": {"shots": 1000}}]}, "models.prompt.shots"),
        ({"models": [{"key": "a", "prompt": {"system": 5}}]}, "models.prompt.system"),
        ({"models": [{"key": "a", "prompt": "be good"}]}, "models.prompt"),
        ({"models": [{"key": "a", "endpoint": {"model": "m"}}]}, "models.endpoint.base_url"),
        ({"models": [{"key": "a", "endpoint": REMOTE | {"base_url": "ftp://x"}}]}, "models.endpoint.base_url"),
        ({"models": [{"key": "a", "endpoint": REMOTE | {"base_url": "http://u:p@x/"}}]}, "models.endpoint.base_url"),
        ({"models": [{"key": "a", "endpoint": REMOTE | {"base_url": "http://[::1"}}]}, "models.endpoint.base_url"),
        ({"models": [{"key": "a", "endpoint": REMOTE | {"model": ""}}]}, "models.endpoint.model"),
        ({"models": [{"key": "a", "endpoint": REMOTE | {"allowed_hosts": "x"}}]}, "models.endpoint.allowed_hosts"),
        ({"models": [{"key": "a", "endpoint": REMOTE, "adapter": "/x"}]}, "models.endpoint"),
        ({"weights": {"speed": 1}}, "weights"),
        ({"weights": {"quality": -1}}, "weights.quality"),
        ({"weights": {"quality": 0}}, "weights"),
        ({"rules": {"kind": "length"}}, "rules"),
        ({"rules": [{"name": "x", "kind": "magic", "demand": {}}]}, "kind"),
        ({"regressions": [{"expected": "x", "messages": []}]}, "regressions.messages"),
        ({"regressions": [{"messages": [{"role": "user"}]}]}, "regressions.expected"),
        ({"slices": {"columns": "office"}}, "slices.columns"),
        ({"fairness": {"lists": {"names": [["Ann"]]}}}, "fairness.lists"),
        ({"fairness": {"lists": {"names": [["Ann"], [""]]}}}, "fairness.lists"),
        ({"cost": {"prices": {"a": {"input_per_million": 1}}}}, "cost.prices.a"),
        ({"cost": {"watts": "many"}}, "cost.watts"),
        ({"cost": {"alternatives": [{"input_per_million": 1, "output_per_million": 1}]}}, "cost.alternatives.name"),
        ({"cost": {"training": {"amount": -1}}}, "cost.training.amount"),
        ({"judge": {"model": "m"}}, "judge.base_url"),
        ({"judge": REMOTE | {"sample": 0}}, "judge.sample"),
        ({"metrics": "bleu"}, "metrics"),
        ({"headline": 3}, "headline"),
        ({"discordance": 0}, "discordance"),
        ({"discordance": 1.5}, "discordance"),
        ({"answer_store": 5}, "answer_store"),
        ({"limit": True}, "limit"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_mistake_names_its_field(raw, change, field):
    with pytest.raises(UserError) as caught:
        spec_of(raw | change)
    assert caught.value.field == field
    assert caught.value.sentence.endswith((".", "]"))


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "spec.json").write_text("{half")
    with pytest.raises(UserError, match=r"spec\.json"):
        read_spec(tmp_path / "spec.json")
    (tmp_path / "spec.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="JSON object"):
        read_spec(tmp_path / "spec.json")
