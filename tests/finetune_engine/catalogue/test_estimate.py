"""What a training will take."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from finetune_engine.catalogue.catalogue import load_catalogue
from finetune_engine.catalogue.cost import MachineRate
from finetune_engine.catalogue.estimate import DataFacts, MachineFacts, Measurement, ModelFacts, estimate, fit_of
from finetune_engine.catalogue.ranges import Range
from finetune_engine.errors import UserError
from finetune_engine.train.spec import TrainingSpec

ENTRY = load_catalogue()["qwen2.5-0.5b"]
MODEL = ModelFacts(ENTRY.key, ENTRY.name, parameters=ENTRY.parameters, shape=ENTRY.shape, context_length=32768)
DATA = DataFacts(rows=1000, validation_rows=100, mean=100, longest=300, unit="tokens", counted_by=ENTRY.key)
LAPTOP = MachineFacts("laptop", memory_bytes=16_000_000_000, free_bytes=12_000_000_000, cores=8)
SPEC = TrainingSpec(early_stopping_patience=0)


def test_steps_follow_from_rows_and_passes() -> None:
    told = estimate(MODEL, DATA, SPEC, LAPTOP)
    assert told.steps == Range(189, 189, 189)  # 63 steps of 16 examples, three times


def test_words_give_a_wider_range_of_tokens_than_a_count() -> None:
    counted = estimate(MODEL, DATA, SPEC, LAPTOP).tokens
    words = estimate(MODEL, replace(DATA, unit="words", mean=74), SPEC, LAPTOP).tokens
    assert words.high / words.low > counted.high / counted.low


def test_early_stopping_lowers_only_the_least() -> None:
    told = estimate(MODEL, DATA, TrainingSpec(), LAPTOP)
    plain = estimate(MODEL, DATA, SPEC, LAPTOP)
    assert told.steps.low < told.steps.high == plain.steps.high


def test_a_measured_speed_narrows_the_time_and_says_so() -> None:
    guessed = estimate(MODEL, DATA, SPEC, LAPTOP)
    measured = estimate(MODEL, DATA, SPEC, LAPTOP, measured=Measurement("probe", 900.0, 6.0, 2_000_000_000))
    assert guessed.seconds is not None
    assert measured.seconds is not None
    assert measured.seconds.high / measured.seconds.low < guessed.seconds.high / guessed.seconds.low / 3
    assert any("short test run" in sentence for sentence in measured.assumptions)
    assert measured.memory_bytes is not None
    assert measured.memory_bytes.expected == 2_000_000_000


def test_a_slow_machine_takes_longer_by_as_much() -> None:
    fast, slow = (estimate(MODEL, DATA, SPEC, LAPTOP, measured=Measurement("run", speed)) for speed in (1000.0, 100.0))
    assert fast.seconds is not None
    assert slow.seconds is not None
    assert 5 < slow.seconds.expected / fast.seconds.expected <= 10


def test_a_model_of_unknown_size_has_unknown_time_and_memory() -> None:
    told = estimate(ModelFacts("x", "X"), DATA, SPEC, LAPTOP)
    assert (told.seconds, told.memory, told.fit) == (None, None, "unknown")


def test_a_provider_is_estimated_in_money_and_not_in_time() -> None:
    paid = load_catalogue()["gpt-4o-mini"]
    told = estimate(ModelFacts(paid.key, paid.name, is_remote=True, priced=paid), DATA, SPEC, LAPTOP)
    assert told.seconds is None
    assert told.money is not None
    assert told.money.expected == Decimal(told.tokens.expected) * 3 * 3 / 1_000_000


def test_the_own_machine_is_priced_by_the_operators_rate() -> None:
    rate = MachineRate("EUR", Decimal(1))
    told = estimate(MODEL, DATA, SPEC, LAPTOP, measured=Measurement("run", 500.0), rate=rate)
    assert told.seconds is not None
    assert told.money is not None
    assert abs(float(told.money.expected) - told.seconds.expected / 3600) < 1e-5


def test_full_training_needs_more_memory_than_an_adapter_and_four_bits_less() -> None:
    need = {
        kind: estimate(MODEL, DATA, TrainingSpec(peft=kind), LAPTOP).memory_bytes for kind in ("qlora", "lora", "full")
    }
    sizes = [need[kind].expected for kind in ("qlora", "lora", "full") if need[kind] is not None]  # type: ignore[union-attr]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(("memory", "word"), [((1, 2, 3), "fits"), ((9, 11, 14), "tight"), ((17, 20, 30), "too_large")])
def test_whether_it_fits_is_told_in_a_word(memory: tuple[int, int, int], word: str) -> None:
    billions = Range(*(value * 1_000_000_000 for value in memory))
    assert fit_of(billions, LAPTOP) == word


def test_every_figure_can_be_sent_as_json() -> None:
    import json

    assert json.loads(json.dumps(estimate(MODEL, DATA, SPEC, LAPTOP).as_dict()))["steps"]["expected"] == 189


def test_data_without_rows_is_refused() -> None:
    with pytest.raises(UserError, match="no example"):
        estimate(MODEL, replace(DATA, rows=0), SPEC, LAPTOP)


def test_pairs_are_read_as_two_texts_in_time_and_memory() -> None:
    speed = Measurement("run", 1000.0, 0.001)
    one, two = (
        estimate(MODEL, DATA, replace(SPEC, method=method, gradient_checkpointing=False), LAPTOP, measured=speed)
        for method in ("sft", "dpo")
    )
    assert one.seconds is not None
    assert two.seconds is not None
    assert two.trained_tokens.expected == 2 * one.trained_tokens.expected
    assert two.seconds.expected == pytest.approx(2 * one.seconds.expected, rel=0.01)
    assert one.memory is not None
    assert two.memory is not None
    assert two.memory.activations.high == pytest.approx(2 * one.memory.activations.high, rel=0.01)
