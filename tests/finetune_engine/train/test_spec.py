"""The training settings."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune_engine.errors import UserError
from finetune_engine.train.spec import BaseFacts, RunSpec, SpecProblems, TrainingSpec


def test_defaults_are_those_of_the_public_interface() -> None:
    spec = TrainingSpec.from_dict({})
    assert (spec.method, spec.peft, spec.r, spec.lora_alpha, spec.lora_dropout) == ("sft", "lora", 16, 32, 0.1)
    assert (spec.num_train_epochs, spec.per_device_train_batch_size, spec.gradient_accumulation_steps) == (3, 4, 4)
    assert (spec.eval_steps, spec.save_steps, spec.warmup_steps, spec.max_length) == (100, 500, 100, 512)
    assert (spec.early_stopping_patience, spec.metric_for_best_model, spec.seed) == (3, "eval_loss", 42)


def test_every_mistake_is_found_in_one_go() -> None:
    with pytest.raises(SpecProblems) as caught:
        TrainingSpec.from_dict({"r": 0, "learning_rate": "fast", "lora_dropout": 2, "precision": "fp8", "rank": 8})
    assert {problem.field for problem in caught.value.problems} == {
        "r",
        "learning_rate",
        "lora_dropout",
        "precision",
        "rank",
    }


def test_a_misspelt_setting_is_answered_with_the_likely_one() -> None:
    with pytest.raises(SpecProblems, match="learning_rate"):
        TrainingSpec.from_dict({"learning_rat": 0.1})


@pytest.mark.parametrize("value", [True, "4", 4.5, None, float("nan"), [4]])
def test_a_whole_number_must_be_one(value: object) -> None:
    with pytest.raises(SpecProblems, match="whole number"):
        TrainingSpec.from_dict({"r": value})


def test_a_number_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(SpecProblems):
        TrainingSpec.from_dict({"learning_rate": float("nan")})


def test_an_unknown_method_is_refused_by_name_and_not_ignored() -> None:
    with pytest.raises(SpecProblems, match="dpo") as caught:
        TrainingSpec.from_dict({"method": "rlhf"})
    assert (caught.value.reason, caught.value.field) == ("bad_config", "method")


def test_a_contradicting_direction_is_refused() -> None:
    with pytest.raises(SpecProblems, match="greater_is_better"):
        TrainingSpec.from_dict({"metric_for_best_model": "eval_loss", "greater_is_better": True})


def test_a_spec_survives_a_round_trip_through_json() -> None:
    spec = TrainingSpec.from_dict({"target_modules": ["q_proj"], "learning_rate": 1e-4})
    assert TrainingSpec.from_dict(spec.as_dict()) == spec


def test_warmup_takes_at_most_a_tenth_of_the_steps() -> None:
    assert TrainingSpec().effective(1600, BaseFacts()).warmup_steps == 30


def test_a_short_run_is_still_evaluated_and_saved_several_times() -> None:
    settled = TrainingSpec().effective(160, BaseFacts())
    assert settled.total_steps == 30
    assert settled.total_steps // settled.eval_steps >= 7
    assert settled.total_steps // settled.save_steps >= 3


def test_a_long_run_keeps_the_intervals_asked_for() -> None:
    settled = TrainingSpec().effective(1_000_000, BaseFacts())
    assert (settled.eval_steps, settled.save_steps, settled.warmup_steps) == (100, 500, 100)


@pytest.mark.parametrize(
    ("peft", "parameters", "rate"),
    [("lora", 260_000, 5e-3), ("lora", 7_000_000_000, 2e-4), ("full", 7_000_000_000, 2e-5), ("lora", None, 2e-4)],
)
def test_the_learning_rate_follows_the_size_of_the_model(peft: str, parameters: int | None, rate: float) -> None:
    assert TrainingSpec(peft=peft).effective(100, BaseFacts(parameters=parameters)).learning_rate == rate


def test_the_catalogue_and_the_person_overrule_the_size_in_that_order() -> None:
    facts = BaseFacts(parameters=260_000, learning_rate=1e-3)
    assert TrainingSpec().effective(100, facts).learning_rate == 1e-3
    assert TrainingSpec(learning_rate=3e-4).effective(100, facts).learning_rate == 3e-4


def test_the_length_is_capped_by_the_context_and_auto_by_the_data() -> None:
    facts = BaseFacts(context_length=256)
    assert TrainingSpec().effective(10, facts).max_length == 256
    assert TrainingSpec(max_length="auto").effective(10, facts, longest=80).max_length == 80


@pytest.mark.parametrize(
    ("parameters", "modules"),
    [(2_600_000, "all-linear+embeddings"), (500_000_000, "all-linear"), (None, "all-linear")],
)
def test_a_very_small_model_learns_word_vectors_too(parameters: int | None, modules: str) -> None:
    assert TrainingSpec().effective(100, BaseFacts(parameters=parameters)).target_modules == modules


@pytest.mark.parametrize(
    ("device", "bf16", "name"), [("cpu", True, "fp32"), ("cuda", True, "bf16"), ("cuda", False, "fp16")]
)
def test_precision_comes_from_the_device(device: str, bf16: bool, name: str) -> None:
    assert TrainingSpec().effective(10, BaseFacts(), device=device, bf16=bf16).precision == name


def test_nothing_to_train_on_is_the_persons_mistake() -> None:
    with pytest.raises(UserError, match="no example"):
        TrainingSpec().effective(0, BaseFacts())


def test_a_run_spec_names_every_part_that_is_wrong() -> None:
    with pytest.raises(SpecProblems) as caught:
        RunSpec.from_dict({"snapshot": {}, "training": {"r": -1}, "threads": 0, "colour": "red"})
    assert {problem.field for problem in caught.value.problems} == {"base_model", "snapshot", "r", "threads", "colour"}


def test_the_settings_are_readable_without_torch() -> None:
    code = "import sys, finetune_engine.train.spec; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("method", "peft", "rate"), [("dpo", "lora", 5e-6), ("kto", "qlora", 5e-6), ("dpo", "full", 5e-7)]
)
def test_learning_from_preferences_takes_small_steps(method: str, peft: str, rate: float) -> None:
    settled = TrainingSpec(method=method, peft=peft).effective(100, BaseFacts(parameters=7_000_000_000))
    assert settled.learning_rate == pytest.approx(rate)


def test_a_pair_may_take_the_memory_of_two_texts() -> None:
    one, two = (TrainingSpec(method=method).effective(100, BaseFacts()) for method in ("sft", "dpo"))
    assert two.tokens_per_micro_batch == 2 * one.tokens_per_micro_batch


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"method": "dpo", "completion_only_loss": False}, "completion_only_loss"),
        ({"method": "kto", "desirable_weight": 0, "undesirable_weight": 0}, "desirable_weight"),
    ],
)
def test_settings_of_preference_methods_that_contradict_each_other_are_named(settings: dict, field: str) -> None:
    with pytest.raises(SpecProblems) as caught:
        TrainingSpec.from_dict(settings)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_run_spec_carries_validation_parent_processes_and_provider() -> None:
    raw = {
        "base_model": {"path": "x"},
        "snapshot": {"path": "a.parquet"},
        "validation": {"path": "b.parquet", "sha256": "0"},
        "continue_from": "model",
        "processes": 2,
        "provider": {"base_url": "https://example.org", "model": "m"},
    }
    spec = RunSpec.from_dict(raw)
    assert spec.validation is not None
    assert (spec.validation.path, spec.continue_from, spec.processes) == ("b.parquet", "model", 2)
    with pytest.raises(SpecProblems) as caught:
        RunSpec.from_dict(raw | {"processes": 0, "provider": "openai", "validation": {}, "snapshot": {}})
    assert {problem.field for problem in caught.value.problems} >= {"processes", "provider", "snapshot"}
