"""What is said before a training starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from finetune_engine.catalogue.ranges import Range
from finetune_engine.train.preflight import Check, Facts, disk_need, preflight, size
from finetune_engine.train.spec import BaseFacts, TrainingSpec

GOOD = Facts(
    base=BaseFacts(parameters=100_000_000, context_length=2048),
    base_status="available",
    min_examples=100,
    rows=1000,
    validation_rows=100,
    longest_tokens=400,
    trained=1_000_000,
    memory=Range(10**9, 2 * 10**9, 3 * 10**9),
    memory_free=8 * 10**9,
    disk_free=10**12,
)


def found(code: str, facts: Facts, **settings: Any) -> Check | None:
    checks = preflight(TrainingSpec.from_dict(settings), facts)
    return next((check for check in checks if check.code == code), None)


def test_a_training_with_nothing_wrong_is_told_what_is_well() -> None:
    checks = preflight(TrainingSpec(), GOOD)
    assert {check.level for check in checks} == {"ok"}
    assert {check.code for check in checks} == {"disk", "memory", "validation"}


def test_what_is_unknown_is_not_judged() -> None:
    assert preflight(TrainingSpec(), Facts()) == []


@pytest.mark.parametrize(
    ("code", "level", "change", "settings"),
    [
        ("disk_full", "error", {"disk_free": 10**7}, {}),
        ("disk_tight", "warning", {"disk_free": 10**8 - 10**6}, {}),
        ("disk_tight", "warning", {"trained": 10**9, "disk_free": 9 * 10**9}, {"peft": "full"}),
        ("memory", "error", {"memory_free": 10**8}, {}),
        ("memory", "warning", {"memory_free": 15 * 10**8}, {}),
        ("no_examples", "error", {"rows": 0}, {}),
        ("few_examples", "warning", {"rows": 60}, {}),
        ("batch_larger_than_data", "warning", {"rows": 10}, {}),
        ("no_validation", "warning", {"validation_rows": 0}, {}),
        ("few_validation_rows", "warning", {"validation_rows": 3}, {}),
        ("length_over_context", "warning", {}, {"max_length": 4096}),
        ("rows_over_context", "warning", {"longest_tokens": 3000}, {}),
        ("learning_rate_high", "warning", {}, {"learning_rate": 0.5}),
        ("learning_rate_low", "warning", {}, {"learning_rate": 1e-8}),
        ("base_deprecated", "warning", {"base_status": "deprecated"}, {}),
        ("base_closed", "error", {"base_status": "closed"}, {}),
    ],
)
def test_each_thing_that_may_go_wrong_is_said_with_its_way_out(
    code: str, level: str, change: dict[str, Any], settings: dict[str, Any]
) -> None:
    check = found(code, replace(GOOD, **change), **settings)
    assert check is not None
    assert check.level == level
    assert check.sentence.endswith(".")
    assert check.fix.endswith(".")


def test_errors_come_first() -> None:
    levels = [check.level for check in preflight(TrainingSpec(), replace(GOOD, disk_free=1, validation_rows=0))]
    assert levels == sorted(levels, key=["error", "warning", "ok"].index)


def test_the_usual_rate_follows_method_and_model() -> None:
    assert found("learning_rate_high", GOOD, learning_rate=5e-3) is None
    assert found("learning_rate_high", GOOD, learning_rate=5e-3, method="dpo") is not None


def test_room_is_asked_for_what_lies_on_the_disk_at_the_same_time() -> None:
    # Five checkpoints of weights and two moments, and the finished model twice (written and stored).
    assert disk_need(1_000_000) == 5 * 12_000_000 + 8_000_000 + 32_000_000


def test_sizes_are_told_in_units_that_people_read() -> None:
    assert [size(n) for n in (12, 1_500, 3_200_000, 7_000_000_000, 2 * 10**12)] == [
        "12 bytes",
        "1.5 kB",
        "3.2 MB",
        "7.0 GB",
        "2.0 TB",
    ]


def test_asking_needs_no_heavy_library() -> None:
    code = "import sys, finetune_engine.train.preflight; print([n for n in ('torch', 'numpy', 'pyarrow') if n in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
